"""Who makes which parts of a film, of several that work at it."""

from collections import Counter
from collections.abc import Collection, Sequence

FEWEST_PARTS = 8
"""For each place, if films are long enough: who is free soon finds something to help with."""


def next_stretch(left: Collection[int], running: Sequence[list[int]], places: int) -> list[int]:
    """Parts that follow each other for one who is free: the fewer the stretches, the fewer frames are made twice.

    Args:
        left: numbers of the parts that are not there.
        running: what each of the others is to make still, the one in the making first. Who helps another takes the
            later half of that, and what is taken is removed here.
        places: how many can work at once.

    Returns:
        Their numbers; none if there is nothing to help with.
    """
    taken = Counter(number for own in running for number in own)
    free = [number for number in sorted(left) if not taken[number]]
    if free:
        stretches: list[list[int]] = []
        for number in free:
            if not stretches or number != stretches[-1][-1] + 1:
                stretches.append([])
            stretches[-1].append(number)
        return max(stretches, key=len)[: -(-len(left) // places)]
    longest = max(running, key=len, default=[])
    if len(longest) > 1:
        middle = -(-len(longest) // 2)
        share = longest[middle:]
        del longest[middle:]
        return share
    # The last ones are tried twice: one may be slow, or gone without a word.
    return next(([number] for own in running for number in own if taken[number] < 2 and number in left), [])
