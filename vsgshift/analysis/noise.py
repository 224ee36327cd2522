"""How much noise there is: the variance of the smoothest blocks, in space and in time.

The high-pass is Immerkaer's (Fast Noise Variance Estimation, Computer Vision and Image Understanding
64, 1996), a 3x3 mask that is blind to planes and edges' slopes. His mean over the whole picture
counts texture as noise; here its square is averaged over blocks, and the level is read off the
smoothest of them, as in Amer and Dubois (Fast and Reliable Structure-Oriented Video Noise Estimation,
IEEE Transactions on Circuits and Systems for Video Technology 15, 2005). The variances of noise-only
blocks are spread in a known way, so a low quantile of them gives the level without bias.

What is still has its texture taken away by the difference to a neighbouring frame, where the same
measurement is made. Picture content can only add to either, so the smaller of both is the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Samples = NDArray[np.float32]

LARGEST_BLOCK, SMALLEST_BLOCK = 16, 4
"""Sides in pixels; small planes have small blocks, so that there are some."""
SAMPLES_READ, WIDTH_READ = 1 << 17, 640
"""Of larger planes, bands of blocks with about this many samples are read, so that the cost of a frame is bounded."""
GOLDEN = (sqrt(5) - 1) / 2
SMOOTHEST = 0.05
"""The quantile of block variances that the level is read from."""
EXPLAINED = 0.99
"""Noise alone keeps this share of blocks below the limit for blocks that show nothing else."""
NEAR_END = 4 / 255
"""Share of the range next to black and white where a block says nothing: letterboxes, burnt skies."""
CLEAR_OF_ENDS = 1.5
"""Standard deviations between a block's mean and black or white, that little of its noise be clipped."""
FEWEST = 8
"""Blocks that have to change between two frames for their difference to be believed."""
SECOND, THIRD = (35 / 18) ** 2, (77 / 18) ** 2
"""Mean square and cube of the high-pass's power over all frequencies, where its mean is 1."""


@dataclass(frozen=True)
class Level:
    """A noise level and how far it can be trusted."""

    sigma: float
    """Standard deviation, in the unit of the samples."""
    confidence: float
    """0 to 1: the share of the picture that shows this noise and nothing else."""


UNKNOWN = Level(0.0, 0.0)


def level(plane: NDArray[Any], neighbours: Sequence[NDArray[Any]] = (), *, black: float, white: float) -> Level:
    """The noise of one plane.

    Args:
        plane: (H, W), of any real type.
        neighbours: planes of the same shape from the same scene, the best first: if one equals the
            plane, as repeated frames do, it says nothing and the next is taken.
        black, white: the range of the samples; noise near its ends may be clipped and is left out
            if the rest of the picture suffices.

    Planes of fewer than 6 pixels across have no level; nor have those that are black or white all over.
    """
    side = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, min(plane.shape) // 8))
    if min(plane.shape) < side + 2:
        return UNKNOWN
    bands = _band_slices(plane.shape, side)
    with np.errstate(invalid="ignore", over="ignore"):
        here = _bands(plane, bands)
        rows, columns = _lines(here[:, 1:-1, 1:-1], side)
        lines = np.concatenate((rows, columns), 1)
        room = np.minimum(lines.min(1) - black, white - lines.max(1)).ravel()
        # A block that a letterbox reaches into has less noise than others.
        usable = room > NEAR_END * (white - black)
        means = rows.mean(1).ravel()
        ends = np.minimum(means - black, white - means)
        variances, _ = _variances(here, side)
        levels = [_level(variances, usable, ends, side)]
        for neighbour in neighbours:
            change = (here - _bands(neighbour, bands)) * np.float32(sqrt(0.5))
            variances, changed = _variances(change, side)
            # What a codec has copied, or an editor has repeated, has no noise of its own.
            changed &= usable
            if np.count_nonzero(changed) >= FEWEST:
                levels.append(_level(variances, changed, ends, side))
                break
    known = [each for each in levels if each.confidence > 0]
    return min(known, key=lambda each: each.sigma) if known else UNKNOWN


def combined(levels: Sequence[Level], shares: Sequence[float]) -> Level:
    """Combine the levels of independent noises whose variances are weighted and added.

    Confidence is the mean by what each adds.
    """
    variances = [share * each.sigma**2 for each, share in zip(levels, shares, strict=True)]
    total = sum(variances)
    weights = variances if total > 0 else list(shares)
    confidence = sum(weight * each.confidence for weight, each in zip(weights, levels, strict=True)) / sum(weights)
    return Level(sqrt(total), confidence)


def weighted_median(levels: Sequence[Level]) -> float:
    """The median of sigma, weighted by confidence; 0 if all levels are unknown."""
    ordered = sorted((each for each in levels if each.confidence > 0), key=lambda each: each.sigma)
    half = sum(each.confidence for each in ordered) / 2
    passed = 0.0
    for each in ordered:
        passed += each.confidence
        if passed >= half:
            return each.sigma
    return 0.0


def _band_slices(shape: tuple[int, ...], side: int) -> list[tuple[slice, slice]]:
    """The bands that are read: rows of blocks with the mask's rim around them.

    They are spread evenly over the height; those narrower than the plane, by the golden ratio over the width.
    """
    height, width = shape
    read = min(width, WIDTH_READ)
    bands = max(1, min((height - 2) // side, SAMPLES_READ // (side * read)))
    top = np.linspace(0, height - 2 - side, bands).round().astype(int).tolist()
    left = (np.arange(bands) * GOLDEN % 1 * (width - read)).round().astype(int).tolist()
    return [(slice(y, y + side + 2), slice(x, x + read)) for y, x in zip(top, left, strict=True)]


def _bands(plane: NDArray[Any], bands: list[tuple[slice, slice]]) -> Samples:
    """(bands, side + 2, W)."""
    return np.stack([plane[band].astype(np.float32) for band in bands])


def _variances(bands: Samples, side: int) -> tuple[Samples, NDArray[np.bool_]]:
    """The noise's variance in each block of (bands, side + 2, W), and whether every line of it has some: (blocks,)."""
    down = bands[:, :-2] + bands[:, 2:]
    down -= 2 * bands[:, 1:-1]
    both = down[:, :, :-2] + down[:, :, 2:]
    both -= 2 * down[:, :, 1:-1]
    np.square(both, out=both)
    rows, columns = _lines(both, side)
    everywhere = (rows.min(1) > 0) & (columns.min(1) > 0)
    # The mask's squares add up to 36.
    return rows.mean(1).ravel() / np.float32(36), everywhere.ravel()


def _lines(bands: Samples, side: int) -> tuple[Samples, Samples]:
    """Means of the rows and of the columns of the blocks of (bands, side, W): both (bands, side, blocks a band)."""
    across = bands.shape[2] // side
    blocks = bands[:, :, : across * side].reshape(len(bands), side, across, side)
    return blocks.mean(3), blocks.mean(1).transpose(0, 2, 1)


def _level(variances: Samples, usable: NDArray[np.bool_], ends: Samples, side: int) -> Level:
    """The level from block variances, and the share of all blocks that it explains."""
    if not usable.any():
        return UNKNOWN
    variance = _smoothest(variances[usable], side)
    clear = usable & (ends > CLEAR_OF_ENDS * sqrt(variance))
    if np.count_nonzero(clear) >= SMOOTHEST * len(variances):
        usable = clear
        variance = _smoothest(variances[usable], side)
    explained = np.count_nonzero(variances[usable] <= variance * _spread(EXPLAINED, side))
    return Level(sqrt(variance), float(explained / len(variances)))


def _smoothest(variances: Samples, side: int) -> float:
    """The variance of which the low end of these is the low end."""
    count = len(variances)
    rank = min(int(SMOOTHEST * count), count - 1)
    return float(np.partition(variances, rank)[rank]) / _spread((rank + 1) / (count + 1), side)


def _spread(probability: float, side: int) -> float:
    """Quantile of a noise-only block's variance over the true one.

    A chi-squared variable, scaled and shifted to have the mean, variance and skewness of the block's
    correlated squares (Pearson, Biometrika 46, 1959); its quantile is Wilson and Hilferty's (Proceedings of
    the National Academy of Sciences 17, 1931).
    """
    samples = side * side
    freedom = samples * SECOND**3 / THIRD**2
    scale = sqrt(SECOND * freedom / samples)
    cube = 2 / (9 * freedom)
    return 1 - scale + scale * (1 - cube + NormalDist().inv_cdf(probability) * sqrt(cube)) ** 3
