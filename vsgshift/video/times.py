"""When the frames of a film are shown, also where its file does not say so of every frame."""

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

UNKNOWN_RATE = Fraction(25)
"""Frames per second of a film that has neither timestamps nor a rate."""
ROOM = Fraction(1, 2000)
"""Seconds by which a time may miss a frame's: what a player shows as 1.000 may be 1.0004."""

STAYS = 12
"""Stamps on each side by which a clock that is set anew is told from stamps that are wrong; fewer at the ends."""
LONGEST_PAUSE = 10
"""Seconds up to which a step forward is nothing but a pause."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """When each frame is shown."""

    ticks: tuple[int, ...]
    """Increasing; at least one."""
    time_base: Fraction
    """Seconds of a tick."""
    placed: int = 0
    """How many frames have a time of ours, since the file has none for them or one that makes no sense."""
    stamped: bool = True
    """Whether the file has times at all; bare streams have none."""
    jumps: tuple[tuple[int, int], ...] = ()
    """Where the file's clock is set anew, as in films that were joined: the number of the first frame, and the ticks by
    which its stamp and those after it were moved."""

    @property
    def step(self) -> Fraction:
        """The usual time between two frames, in ticks; 0 of a single one."""
        gaps = [after - before for before, after in pairwise(self.ticks)]
        return Fraction(statistics.median(gaps)) if gaps else Fraction(0)

    def seconds(self, number: int) -> Fraction:
        """When a frame is shown, counted from the first one."""
        return (self.ticks[number] - self.ticks[0]) * self.time_base

    def shown_at(self, seconds: float) -> int:
        """The number of the frame that is on the screen at a time, counted from the first one."""
        return max(bisect_right(self.ticks, self._tick(Fraction(seconds) + ROOM)) - 1, 0)

    def first_from(self, seconds: float) -> int:
        """The number of the first frame that is shown at a time, counted from the first one, or later."""
        return bisect_left(self.ticks, self._tick(Fraction(seconds) - ROOM))

    def _tick(self, seconds: Fraction) -> Fraction:
        return self.ticks[0] + seconds / self.time_base


def complete(
    stamps: Sequence[int | None],
    time_base: Fraction,
    rate: Fraction,
    is_jump: Callable[[Fraction, Fraction], bool] = lambda before, after: False,
) -> Times:
    """Keep the timestamps that make sense, and place the other frames between them.

    What makes sense is the longest run of increasing ones, whatever lies between: a single wrong stamp costs that frame
    alone, and pauses stay. Where the clock is set anew, the stamps that follow are moved to those before.

    Args:
        stamps: of the frames, in the order in which they are shown, in ticks; None where the file has none.
        rate: frames per second that the file claims; 0 if it does not.
        is_jump: of a long step forward between two times in seconds, whether it is one of the clock, and no pause.
    """
    jumps = _jumps(stamps, LONGEST_PAUSE / time_base, lambda *edges: is_jump(*(edge * time_base for edge in edges)))
    stamps = list(stamps)
    for (start, shift), (stop, _) in pairwise([*jumps, (len(stamps), 0)]):
        stamps[start:stop] = [None if stamp is None else stamp + shift for stamp in stamps[start:stop]]
    kept = _increasing(stamps)
    if not kept:
        return Times(ticks=tuple(range(len(stamps))), time_base=1 / (rate or UNKNOWN_RATE), stamped=False)
    if len(kept) == len(stamps):
        ticks = [stamp for stamp in stamps if stamp is not None]
        return Times(ticks=tuple(ticks), time_base=time_base, jumps=tuple(jumps))
    known = [(number, stamp) for number in kept if (stamp := stamps[number]) is not None]
    steps = [Fraction(after - before, there - here) for (here, before), (there, after) in pairwise(known)]
    step = statistics.median(steps) if steps else 1 / ((rate or UNKNOWN_RATE) * time_base)
    # As many frames as lie between two stamps need as many ticks.
    finer = max([math.ceil(1 / gap) for gap in steps if gap < 1], default=1) if steps else 1
    finer = max(finer, math.ceil(1 / step))
    known, step = [(number, stamp * finer) for number, stamp in known], step * finer
    ticks = []
    first, stamp = known[0]
    ticks += [stamp - _nearest(step * (first - number)) for number in range(first)]
    for (here, before), (there, after) in pairwise(known):
        gap = Fraction(after - before, there - here)
        # At the usual rate after the one before, so that a pause stays a pause; or evenly, where there is no room.
        apart = min(step, gap)
        ticks += [before + _nearest(apart * index) for index in range(there - here)]
    last, stamp = known[-1]
    ticks += [stamp + _nearest(step * index) for index in range(len(stamps) - last)]
    return Times(
        ticks=tuple(ticks),
        time_base=time_base / finer,
        placed=len(stamps) - len(known),
        jumps=tuple((number, shift * finer) for number, shift in jumps),
    )


def _jumps(stamps: Sequence[int | None], limit: Fraction, is_jump: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """Where stamps go back and stay there, or forward by more than a limit, as `Times.jumps`."""
    known = [(number, stamp) for number, stamp in enumerate(stamps) if stamp is not None]
    if all(0 < after - before <= limit for (_, before), (_, after) in pairwise(known)):
        return []
    steps = [Fraction(after - before, there - here) for (here, before), (there, after) in pairwise(known)]
    step = statistics.median([step for step in steps if step > 0] or [Fraction(1)])
    values = [stamp for _, stamp in known]
    # Without one or two that are wrong: the median of five keeps every edge where it is.
    calm = [statistics.median_high(values[max(index - 2, 0) : index + 3]) for index in range(len(values))]
    # When the first frame would be shown, by each of them.
    begins = [stamp - step * number for (number, _), stamp in zip(known, calm, strict=True)]
    jumps, start, shift = list[tuple[int, int]](), 0, 0
    for index in range(1, len(values)):
        if 0 <= calm[index] - calm[index - 1] <= limit:
            continue
        old, new = begins[max(index - STAYS, start) : index], begins[index : index + STAYS]
        by = statistics.median(new) - statistics.median(old)
        if min(len(old), len(new)) < STAYS // 2 or -STAYS * step <= by <= limit:
            continue
        if by < 0 or is_jump(calm[index - 1], calm[index]):
            # Of the frames on both sides most agree; else the nearest decide.
            sides = product(reversed(known[max(index - 5, start) : index]), known[index : index + 5])
            votes = Counter(round(a + step * (there - here)) - b for (here, a), (there, b) in sides)
            shift += votes.most_common(1)[0][0]
            jumps.append((known[index][0], shift))
            start = index
    return jumps


def _nearest(ticks: Fraction) -> int:
    """Round half up: unlike half to even, what is a tick apart stays apart."""
    return math.floor(ticks + Fraction(1, 2))


def _increasing(stamps: Sequence[int | None]) -> list[int]:
    """Numbers of the stamps of the longest increasing run; of several, the one that is most even."""
    present = [(number, stamp) for number, stamp in enumerate(stamps) if stamp is not None]
    if all(before < after for (_, before), (_, after) in pairwise(present)):
        return [number for number, _ in present]
    values = [stamp for _, stamp in present]
    before, after = _lengths(values), _lengths([-value for value in reversed(values)])[::-1]
    longest = max(before)
    levels: list[list[int]] = [[] for _ in range(longest)]
    for index, (up_to, from_here) in enumerate(zip(before, after, strict=True)):
        if up_to + from_here - 1 == longest:
            levels[up_to - 1].append(index)
    gaps = [b - a for a, b in pairwise(values) if b > a]
    step = statistics.median(gaps) if gaps else 1
    chosen = [levels[0][0]]
    for level in levels[1:]:
        last = chosen[-1]
        fits = [index for index in level if index > last and values[index] > values[last]]
        chosen.append(min(fits, key=lambda index: abs(values[index] - values[last] - step * (index - last))))
    return [present[index][0] for index in chosen]


def _lengths(values: Sequence[int]) -> list[int]:
    """Length of the longest increasing run that ends at each value."""
    ends: list[int] = []
    lengths = []
    for value in values:
        index = bisect_left(ends, value)
        ends[index : index + 1] = [value]
        lengths.append(index + 1)
    return lengths


def clock(seconds: Fraction | float, *, milliseconds: bool = False) -> str:
    """A time in a film, or a length of time, as 1:02:03 or 1:02:03.040."""
    whole, rest = divmod(round(1000 * seconds), 1000) if milliseconds else (round(seconds), 0)
    minutes, left = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}" + (f".{rest:03}" if milliseconds else "")
