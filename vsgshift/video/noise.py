"""What is said to the user about the noise that was measured."""

import shlex
from collections.abc import Sequence
from fractions import Fraction
from statistics import median

from vsgshift.video.times import clock

LITTLE = 1.0
"""A level below which no difference is seen."""
ALIKE = 1.4
"""Levels that differ by less than this factor, or by less than `LITTLE`, count as one."""


def noise_words(levels: Sequence[tuple[Fraction, float]], name: str) -> str:
    """What was measured, where it changes, and what to try if next to nothing is changed by it.

    Args:
        levels: seconds into the film, and the sigma there, in order; at least one.
        name: of the film.
    """
    runs: list[list[tuple[Fraction, float]]] = []
    for at, sigma in levels:
        before = median(level for _, level in runs[-1]) if runs else 0.0
        if runs and (abs(sigma - before) < LITTLE or max(sigma, before) < ALIKE * min(sigma, before)):
            runs[-1].append((at, sigma))
        else:
            runs.append([(at, sigma)])
    read = [
        f"{'' if run is runs[0] else f'from {clock(run[0][0])} on '}{median(s for _, s in run):.1f}" for run in runs
    ]
    words = f"noise of sigma {', '.join(read)}"
    if max(sigma for _, sigma in levels) >= LITTLE:
        return words
    return (
        f"{words}, so next to nothing will change: "
        f"if there is noise to see, choose --sigma by vsgshift compare {shlex.quote(name)} --sigma 4 8 16 auto"
    )
