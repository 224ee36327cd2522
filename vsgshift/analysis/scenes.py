"""Where one scene ends and the next begins, from small copies of the frames' luma.

Cuts are recognised by block means, as in Yeo and Liu (Rapid Scene Analysis on Compressed Video, IEEE
Transactions on Circuits and Systems for Video Technology 5, 1995): so few that neither noise nor
motion counts for much. The difference of two frames is that of their structure, one minus the
correlation of their means, much as in SSIM (Wang et al., Image Quality Assessment, IEEE Transactions
on Image Processing 13, 2004), plus that of their histograms, as the mean distance of the sorted means.

A cut is where both frames before differ from both frames after by more than neighbours do on the
calmer side. A flash differs from what is around it, but that stays the same, so it is no cut; fast
motion makes neighbours differ on both sides.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .samples import PlaneScale

type Thumbnail = NDArray[np.float32]
"""Block means of luma on the 8-bit scale, (rows, columns)."""

CELLS = 9
"""Along the shorter side."""
ROWS_READ = 8
"""Rows of samples that are read of each cell, about."""
RGB_TO_LUMA = (0.299, 0.587, 0.114)
FLAT = 16.0
"""Added to variances, so that two nearly flat thumbnails are alike, and a flat one and a varied one are not."""
HISTOGRAM_UNIT = 64.0
"""A shift of all values by this much counts as much as having nothing in common."""
THRESHOLD = 0.42
"""Between the weakest cut and the strongest change within a scene, over spliced clips with noise of sigma 0 to 50."""


def thumbnail(planes: Sequence[NDArray[Any]], scales: Sequence[PlaneScale]) -> Thumbnail:
    """Block means of a frame's luma, from planes (H, W): R, G and B, or luma alone."""
    weights = RGB_TO_LUMA if len(planes) == 3 else (1.0,)
    means = np.zeros((1, 1), np.float32)
    for plane, scale, weight in zip(planes, scales, weights, strict=True):
        means = means + np.float32(weight * 255 / (scale.white - scale.black)) * (_cells(plane) - scale.black)
    return np.clip(np.nan_to_num(means), -255, 510)


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """How much two thumbnails of one size differ: about 0 for the same picture, 1 and more across a cut."""
    histogram = float(np.abs(np.sort(a, axis=None) - np.sort(b, axis=None)).mean())
    a, b = a - a.mean(), b - b.mean()
    common, spread_a, spread_b = (float((x * y).mean()) for x, y in ((a, b), (a, a), (b, b)))
    alike = (common + FLAT) / sqrt((spread_a + FLAT) * (spread_b + FLAT))
    return 1 - alike + histogram / HISTOGRAM_UNIT


def is_cut(before: Sequence[Thumbnail], after: Sequence[Thumbnail]) -> bool:
    """Whether a scene ends between two frames, by one or two frames before and after it, in order."""
    across = min(difference(a, b) for a in before for b in after)
    within = min((difference(a, b) for side in (before, after) for a, b in pairwise(side)), default=0.0)
    return across - within > THRESHOLD


def _cells(plane: NDArray[Any]) -> Thumbnail:
    """Means of square cells, whole ones only; of large cells not every row is read."""
    side = -(-min(plane.shape) // CELLS)
    down, across = (length // side for length in plane.shape)
    step = max(1, side // ROWS_READ)
    rows = plane[: down * side, : across * side].reshape(down, side, across * side)[:, ::step].astype(np.float32)
    return rows.mean(1).reshape(down, across, side).mean(2)
