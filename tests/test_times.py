"""Frames that have no time, or a senseless one, get theirs from their neighbours, and the others keep theirs."""

from fractions import Fraction

import pytest
from hypothesis import given
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
    scale = MS / times.time_base
    kept = sum(tick == stamp * scale for tick, stamp in zip(times.ticks, stamps, strict=True) if stamp is not None)
    assert kept >= len(stamps) - times.placed or not times.stamped
