"""Frames that have no time, or a senseless one, get theirs from their neighbours, and the others keep theirs."""

from fractions import Fraction
from itertools import pairwise
from operator import eq

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from vsgshift.video.times import Times, complete

MS = Fraction(1, 1000)
STEADY = [0, 40, 80, 120, 160, 200]


def ticks(stamps: list[int | None], rate: int = 25) -> list[int]:
    times = complete(stamps, MS, Fraction(rate))
    assert times.time_base == MS
    return list(times.ticks)


@pytest.mark.parametrize(
    "stamps",
    [
        [0, 40, None, 120, 160, 200],
        [None, None, 80, 120, 160, 200],
        [0, 40, 80, 120, None, None],
        [0, 40, 40, 120, 160, 200],
        [0, 40, 80, 80, 80, 200],
        [0, 40, 80, 60, 160, 200],
        [0, 40, 80, 20, 160, 200],
        [0, 40, 9_999_999, 120, 160, 200],
        [9_999_999, 40, 80, 120, 160, 200],
        [0, 40, 80, 120, 0, 40],
        [None, 40, None, None, 160, None],
    ],
)
def test_one_or_many_that_are_wrong(stamps: list[int | None]) -> None:
    assert ticks(stamps) == STEADY


def test_what_is_right_stays() -> None:
    odd = [7, 8, 50, 3000, 3001]
    assert ticks([*odd]) == odd
    assert complete(odd, MS, Fraction(0)) == Times(ticks=tuple(odd), time_base=MS)


def test_a_pause_stays_a_pause() -> None:
    assert ticks([0, 33, 33, 100, 1633, 1667], 30) == [0, 33, 67, 100, 1633, 1667]
    # The frame without a stamp stands before it.
    assert ticks([0, 40, 80, None, 3000, 3040]) == [0, 40, 80, 120, 3000, 3040]


def test_frames_are_counted() -> None:
    assert complete([0, None, 0, 120], MS, Fraction(25)).placed == 2
    assert complete([0, 40, 80], MS, Fraction(25)).placed == 0


def test_ticks_are_made_finer_where_there_are_too_few() -> None:
    times = complete([0, None, None, 1, 2], Fraction(1, 25), Fraction(25))
    assert [75 * tick * times.time_base for tick in times.ticks] == [0, 1, 2, 3, 6]


def test_without_any_there_is_the_rate() -> None:
    bare = complete([None] * 3, MS, Fraction(30))
    assert (bare.ticks, bare.time_base, bare.stamped) == ((0, 1, 2), Fraction(1, 30), False)
    assert complete([None] * 3, MS, Fraction(0)).time_base == Fraction(1, 25)
    assert ticks([None, 500, None], 50) == [480, 500, 520]


def test_frames_of_a_time() -> None:
    times = complete([100, 140, 180, 3000], MS, Fraction(25))
    assert [times.shown_at(seconds) for seconds in (0, 0.039, 0.04, 1, 2.9, 99)] == [0, 0, 1, 2, 3, 3]
    assert [times.first_from(seconds) for seconds in (0, 0.0004, 0.01, 0.04, 1, 99)] == [0, 0, 1, 1, 3, 4]
    assert times.seconds(3) == Fraction(29, 10)
    assert times.step == 40


@given(some.lists(some.none() | some.integers(-(2**62), 2**62), min_size=1, max_size=40), some.integers(0, 100))
def test_whatever_the_file_says_they_increase(stamps: list[int | None], rate: int) -> None:
    times = complete(stamps, MS, Fraction(rate))
    assert len(times.ticks) == len(stamps)
    assert all(before < after for before, after in zip(times.ticks, times.ticks[1:], strict=False))
    scale, shifts = MS / times.time_base, [0] * len(stamps)
    for number, shift in times.jumps:
        shifts[number:] = [shift] * (len(stamps) - number)
    moved = [stamp if stamp is None else stamp * scale + shift for stamp, shift in zip(stamps, shifts, strict=True)]
    assert sum(map(eq, times.ticks, moved)) >= len(stamps) - times.placed or not times.stamped


@given(
    some.lists(some.tuples(some.integers(20, 90), some.integers(0, 10**6)), min_size=1, max_size=4),
    some.lists(some.tuples(some.integers(0, 10**6), some.none() | some.integers(0, 10**7)), max_size=3),
)
def test_films_that_were_joined(films: list[tuple[int, int]], wrong: list[tuple[int, int | None]]) -> None:
    """Each goes on where the one before ends, and single wrong stamps cost their frames alone."""
    stamps: list[int | None] = [start + 40 * n for length, start in films for n in range(length)]
    joints = [sum(length for length, _ in films[:count]) for count in range(1, len(films))]
    # A clock that jumps forward by less tells nothing from a pause.
    ahead = [stamps[joint] - stamps[joint - 1] for joint in joints]  # type: ignore[operator]
    assume(all(step < -2000 or step > 20_000 for step in ahead))
    places = sorted({place % len(stamps) for place, _ in wrong} - {0, len(stamps) - 1})
    assume(all(after - before > 5 for before, after in pairwise(places)))
    for place, (_, stamp) in zip(places, wrong, strict=False):
        stamps[place] = stamp
    times = complete(stamps, MS, Fraction(25), lambda before, after: True)
    assert len(times.jumps) == len(joints)
    # A frame that is wrong right at a joint may take its neighbour with it, which is placed where it was.
    assert times.placed <= len(places) + len(joints)
    begins = [times.ticks[n] * times.time_base / MS - 40 * n for n in range(len(stamps)) if n not in places]
    assert len({*begins}) == 1


def test_a_clock_that_starts_over_or_jumps() -> None:
    first, second = [40 * n for n in range(50)], [7 + 40 * n for n in range(75)]
    for film in (first + second, [90_000 + stamp for stamp in first] + second):
        times = complete(film, MS, Fraction(25))
        assert times.ticks == tuple(film[0] + 40 * n for n in range(125))
        assert (times.placed, times.jumps) == (0, ((50, film[0] + 2000 - 7),))
    late = first + [90_000 + stamp for stamp in second]
    assert complete(late, MS, Fraction(25)).ticks == tuple(late)
    times = complete(late, MS, Fraction(25), lambda before, after: before < 2 and after > 90)
    assert times.ticks == tuple(40 * n for n in range(125))
    # One film after another with less than half a second in common is one with wrong stamps, and the sound stays.
    assert complete([*first, 1880, 1920, 1960, *(2000 + stamp for stamp in first)], MS, Fraction(25)).jumps == ()
