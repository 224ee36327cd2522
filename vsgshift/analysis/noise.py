"""How much noise there is: what changes from frame to frame once motion is taken away, where little else does.

Blocks are found again in the frames before and after (`motion`). What is left of a block between two frames, or
between it and the mean of both, is noise at all frequencies, also the low ones that grain, demosaicing and codecs leave
it at; and so is, where the picture is flat, what is left of the block beside a plane. Picture content can only add to
each, so the least of them counts, and of all blocks one in the middle.

For weak noise, what a block has of its own is the covariance of its differences from the frame before and from
the one after. What a motion between pixels leaves mostly has the opposite sign in both, so that less of moving
texture is taken for noise, and livelier blocks can count: those from which an encoder has not taken the noise.

The level is that of white noise as strong as this one is where it is strongest, at low frequencies for the most part:
with less, what merges and restores frames by their differences takes part of the noise for the picture.

Where no neighbour helps, the noise is the variance of the smoothest blocks. The high-pass for it is Immerkaer's (Fast
Noise Variance Estimation, Computer Vision and Image Understanding 64, 1996), a 3x3 mask that is blind to planes and
edges' slopes. His mean over the whole picture counts texture as noise; here its square is averaged over blocks, and
the level is read off the smoothest of them, as in Amer and Dubois (Fast and Reliable Structure-Oriented Video Noise
Estimation, IEEE Transactions on Circuits and Systems for Video Technology 15, 2005). The variances of noise-only
blocks are spread in a known way, so a low quantile of them gives the level without bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .motion import Blocks, Pyramid, Samples, Whole, gathered, laid_blocks, scaled, vectors
from .samples import PlaneScale

CALM = 0.4
"""The quantile of the blocks' variances that counts: a little more than half of the picture may be water or crowds."""
LIVELY = 0.7
"""The quantile of the blocks' own noise that counts if it is weak: an encoder removes it where the picture is flat."""
WEAK = 3.0
"""Of 255: up to here `LIVELY` counts. Nearly a third of a picture, if water or crowds, is taken for this at most."""
OWN = 1.03
"""What `LIVELY` is of white noise, relative to its deviation."""
DOUBTED = 1.0, 2.5
"""Of 255: from the first level on confidence counts for what is removed, from the second on it counts fully."""
LEAST_OF = {(4, 1): 0.848, (8, 1): 0.929, (16, 1): 0.969, (4, 2): 0.796, (8, 2): 0.903, (16, 2): 0.956}
"""What is measured of white noise, relative to its deviation, by the side of blocks and the number of neighbours."""
COARSE_CELL = 4
"""Pixels: noise of lower frequencies than such cells have is about as strong as in their means."""
COARSE_FREE = 0.1
"""By how much noise may be stronger at low frequencies, relatively, and still pass for white."""
LEAST_READ = 0.3
"""Deviations below this, of 255, may be what rounding to 8 bits leaves."""
ALIKE = 3.0
"""Blocks whose variance is the measured one but for this factor show the same noise."""
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
    """The standard deviation of white noise that is removed by what removes this noise, in the unit of the samples."""
    confidence: float
    """0 to 1: the share of the picture that shows this noise and nothing else."""


UNKNOWN = Level(0.0, 0.0)
type Planes = Sequence[NDArray[Any]]


def level(planes: Sequence[NDArray[Any]], neighbours: Sequence[Planes], scales: Sequence[PlaneScale]) -> Level:
    """The noise of one frame: the root of its mean variance in R, G and B, on the 8-bit scale.

    Args:
        planes: (H, W) each, of any real type: R, G and B, or luma and perhaps chroma, that smaller.
        neighbours: the planes of the frame before and of that after, those of them that are in the same scene. One
            that equals the frame, as repeated frames do, says nothing.
        scales: of the planes; noise near the ends of their range may be clipped and is left out if the rest of the
            picture suffices.

    Planes of fewer than 6 pixels across have no level; nor have those that are black or white all over.
    """
    blocks = laid_blocks(planes[0].shape)
    offsets = []
    if neighbours and min(planes[0].shape) >= blocks.side:
        pyramid = Pyramid(_brightness(planes, scales), blocks.side)
        offsets = [vectors(pyramid, Pyramid(_brightness(other, scales), blocks.side), blocks) for other in neighbours]
    levels = [
        _plane_level(plane, [other[index] for other in neighbours], scale, planes[0].shape, blocks, offsets)
        for index, (plane, scale) in enumerate(zip(planes, scales, strict=True))
    ]
    return combined(levels, [scale.share for scale in scales])


def _brightness(planes: Planes, scales: Sequence[PlaneScale]) -> Samples:
    """Luma on the 8-bit scale; of R, G and B, their mean."""
    count = 3 if len(planes) == 3 and planes[0].shape == planes[2].shape and scales[0] == scales[2] else 1
    total = np.zeros(planes[0].shape, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for plane, scale in zip(planes[:count], scales[:count], strict=True):
            step = np.float32(255 / (count * (scale.white - scale.black)))
            total += (plane.astype(np.float32) - np.float32(scale.black)) * step
    luma: Samples = np.clip(np.nan_to_num(total, copy=False), -255, 510)
    return luma


def _plane_level(
    plane: NDArray[Any],
    others: Sequence[NDArray[Any]],
    scale: PlaneScale,
    first: tuple[int, ...],
    blocks: Blocks,
    offsets: Sequence[tuple[Whole, Whole]],
) -> Level:
    """The noise of one plane, in its unit; ``first``, ``blocks`` and ``offsets`` the first plane's shape, blocks and
    vectors."""
    with np.errstate(invalid="ignore", over="ignore"):
        own = laid_blocks(plane.shape)
        if offsets and min(plane.shape) >= own.side:
            nearest = _nearest(own, plane.shape, blocks, first)
            moved = [scaled(down[nearest], right[nearest], plane.shape, first) for down, right in offsets]
            known = _through_time(plane, others, moved, own, scale)
            if known is not None:
                return known
        return _through_space(plane, scale)


def _nearest(own: Blocks, shape: tuple[int, ...], blocks: Blocks, first: tuple[int, ...]) -> Whole:
    """For each block of a plane the one of the first plane whose middle is nearest."""
    lines = []
    for mine, length, theirs, whole in zip((own.top, own.left), shape, (blocks.top, blocks.left), first, strict=True):
        middles = (mine + own.side / 2) * (whole / length) - blocks.side / 2
        starts = np.unique(theirs)
        lines.append(np.abs(middles[:, None] - starts).argmin(1))
    return lines[0] * len(np.unique(blocks.left)) + lines[1]


def _through_time(
    plane: NDArray[Any],
    others: Sequence[NDArray[Any]],
    moved: Sequence[tuple[Whole, Whole]],
    own: Blocks,
    scale: PlaneScale,
) -> Level | None:
    """The noise by what changes between frames; None if nothing does."""
    here = gathered(plane, own.top, own.left, own.side)
    variances = [_beside_plane(here)]
    changes: list[Samples] = []
    for other, (down, right) in zip(others, moved, strict=True):
        change = gathered(other, own.top + down, own.left + right, own.side) - here
        variance_of_change = _variance(change) * np.float32(0.5)
        # What a codec has copied, or an editor has repeated, has no noise of its own.
        if np.count_nonzero(variance_of_change > 0) >= FEWEST:
            variances.append(variance_of_change)
            changes.append(change)
    if not changes:
        return None
    if len(changes) == 2:
        variances.append(_variance(changes[0] + changes[1]) * np.float32(1 / 6))
    least = np.min(variances, 0)
    lines = np.concatenate((here.mean(2), here.mean(1)), 1)
    room = np.minimum(lines.min(1) - scale.black, scale.white - lines.max(1))
    # A block that a letterbox reaches into has less noise than others.
    usable = (room > NEAR_END * (scale.white - scale.black)) & np.isfinite(least)
    if not usable.any():
        return UNKNOWN
    means = here.mean((1, 2))
    ends = np.minimum(means - scale.black, scale.white - means)
    clear = usable & (ends > CLEAR_OF_ENDS * sqrt(np.quantile(least[usable], CALM, method="lower")))
    if np.count_nonzero(clear) >= SMOOTHEST * len(least):
        usable = clear
    variance = float(np.quantile(least[usable], CALM, method="lower"))
    alike = usable & (least <= ALIKE * variance) & (ALIKE * least >= variance)
    deviation = sqrt(variance) / LEAST_OF[own.side, len(changes)]
    step = (scale.white - scale.black) / 255
    if len(changes) == 2:
        own_noise = _covariance(*changes)[usable]
        weak = sqrt(max(float(np.quantile(own_noise, LIVELY, method="lower")), 0.0)) / OWN
        deviation = weak if weak < WEAK * step else max(deviation, WEAK * step)
    least_read = LEAST_READ * step
    deviation *= sqrt(max(1 - (least_read / deviation) ** 6, 0)) if deviation else 0
    calm = alike & (least <= variance)
    coarse = coarseness(np.mean([change[calm] for change in changes], 0))
    return Level(coarse * deviation, float(np.count_nonzero(alike) / len(least)))


def coarseness(blocks: Samples) -> float:
    """How much stronger noise (N, side, side) is at low frequencies than white noise of its deviation; at least 1."""
    if not len(blocks):
        return 1.0
    cell = min(COARSE_CELL, max(blocks.shape[1] // 4, 2))
    cells = blocks.shape[1] // cell
    means = blocks.reshape(-1, cells, cell, cells, cell).mean((2, 4))
    fine, coarse = float(_variance(blocks).mean()), cell**2 * float(_variance(means).mean())
    return max(sqrt(coarse / fine) - COARSE_FREE, 1.0) if fine > 0 else 1.0


def _variance(blocks: Samples) -> Samples:
    """Of each block of (N, side, side)."""
    flat = blocks.reshape(len(blocks), -1)
    centred = flat - flat.mean(1, keepdims=True)
    squares: Samples = np.einsum("ns,ns->n", centred, centred) / np.float32(flat.shape[1] - 1)
    return squares


def _covariance(a: Samples, b: Samples) -> Samples:
    """Of each pair of blocks of (N, side, side)."""
    a, b = (x.reshape(len(x), -1) - x.mean((1, 2))[:, None] for x in (a, b))
    products: Samples = np.einsum("ns,ns->n", a, b) / np.float32(a.shape[1] - 1)
    return products


def _beside_plane(blocks: Samples) -> Samples:
    """The mean square of what is left of each block of (N, side, side) beside the plane that fits it best."""
    side = blocks.shape[1]
    slope = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    norm = np.float32(np.square(slope).mean())
    rows, columns = blocks.mean(2), blocks.mean(1)
    explained = (np.square((rows * slope).mean(1)) + np.square((columns * slope).mean(1))) / norm
    samples = side * side
    left = _variance(blocks) * np.float32(samples - 1) - explained * np.float32(samples)
    beside: Samples = (np.maximum(left, 0) / (samples - 3)).astype(np.float32)
    return beside


def _through_space(plane: NDArray[Any], scale: PlaneScale) -> Level:
    """The noise of the smoothest blocks."""
    side = laid_blocks(plane.shape).side
    if min(plane.shape) < side + 2:
        return UNKNOWN
    here = _bands(plane, _band_slices(plane.shape, side))
    rows, columns = _lines(here[:, 1:-1, 1:-1], side)
    lines = np.concatenate((rows, columns), 1)
    room = np.minimum(lines.min(1) - scale.black, scale.white - lines.max(1)).ravel()
    usable = room > NEAR_END * (scale.white - scale.black)
    means = rows.mean(1).ravel()
    ends = np.minimum(means - scale.black, scale.white - means)
    return _level(_variances(here, side), usable, ends, side)


def combined(levels: Sequence[Level], shares: Sequence[float]) -> Level:
    """The level of independent noises whose variances are weighted and added; its confidence is the mean by what each
    adds."""
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


def level_to_remove(levels: Sequence[Level]) -> float:
    """The sigma with which to restore frames that have these levels, all on the 8-bit scale; 0 if none is known.

    It is their weighted median, and up to twice that the less of the picture shows the noise. An encoder leaves noise
    in places and takes it from others; a sigma that is too low leaves it there, and one that is too high costs little.
    Very low levels, which may be texture, stay.
    """
    sigma = weighted_median(levels)
    if not sigma:
        return 0.0
    confidence = fmean(each.confidence for each in levels if each.confidence > 0)
    return sigma * (1 + (1 - confidence) * float(np.interp(sigma, DOUBTED, (0, 1))))


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


def _variances(bands: Samples, side: int) -> Samples:
    """The noise's variance in each block of (bands, side + 2, W): (blocks,)."""
    down = bands[:, :-2] + bands[:, 2:]
    down -= 2 * bands[:, 1:-1]
    both = down[:, :, :-2] + down[:, :, 2:]
    both -= 2 * down[:, :, 1:-1]
    np.square(both, out=both)
    # The mask's squares add up to 36.
    return _lines(both, side)[0].mean(1).ravel() / np.float32(36)


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

    A chi-squared variable, scaled and shifted to have the mean, variance and skewness of the block's correlated squares
    (Pearson, Biometrika 46, 1959); its quantile is Wilson and Hilferty's (Proceedings of the National Academy of
    Sciences 17, 1931).
    """
    samples = side * side
    freedom = samples * SECOND**3 / THIRD**2
    scale = sqrt(SECOND * freedom / samples)
    cube = 2 / (9 * freedom)
    return 1 - scale + scale * (1 - cube + NormalDist().inv_cdf(probability) * sqrt(cube)) ** 3
