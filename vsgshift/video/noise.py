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
    read = [(run[0][0], median(sigma for _, sigma in run)) for run in runs]
    said = [f"{f'from {clock(at)} on ' if n else ''}{sigma:.1f}" for n, (at, sigma) in enumerate(read)]
    words = f"noise of sigma {', '.join(said)}"
    if max(sigma for _, sigma in read) >= LITTLE:
        return words
    return (
        f"{words}, so next to nothing will change: "
        f"if there is noise to see, choose --sigma by vsgshift compare {shlex.quote(name)} --sigma 4 8 16 auto"
    )
