"""PSNR, flicker, and two kinds of SSIM, which must not be compared with each other.

All take a restored clip and its target, each (T, 3, H, W), RGB, clamp the former to [0, 1] as a
file would, and give one number a frame, (T,), in double precision on the clips' device; flicker one
for each two that follow each other. Nothing is rounded: a restored frame keeps what 8 bits could not hold.
"""

import math
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from vsgshift.video.quality import psnr as decibels

C1, C2 = 0.01**2, 0.03**2
"""What keeps SSIM's quotients finite, for a data range of 1 (Wang et al., 2004)."""
SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, pixels."""
RADIUS = 5
"""Pixels on each side of the centre of the standard window, which is 11 x 11."""
AUTHORS_RADIUS = 6
"""The same of the authors' window: they cut the Gaussian at four standard deviations."""


def psnr(restored: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB, infinite for equal ones.

    10 log10(1 / MSE) over a frame's pixels and channels: the authors' measure, for whom both are multiplied by 255.
    Raises ValueError if the shapes differ or are not those of clips.
    """
    _check(restored, target)
    error = restored.clamp(0, 1).double() - target.double()
    errors = error.square().mean((1, 2, 3))
    return torch.tensor([decibels(value) for value in errors.tolist()], dtype=torch.float64, device=errors.device)


def flicker(restored: Tensor, target: Tensor) -> Tensor:
    """By how much the error of each frame differs from that of the frame before, (T - 1,), on the 8-bit scale.

    The root mean square over pixels and channels. An error that stays as it is does not count; independent noise of
    sigma scores sigma * sqrt(2).
    """
    _check(restored, target)
    error = restored.clamp(0, 1).double() - target.double()
    return 255 * error.diff(dim=0).square().mean((1, 2, 3)).sqrt()


def ssim(restored: Tensor, target: Tensor) -> Tensor:
    """The standard structural similarity of each frame, at most 1.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: in
    each channel alone, an 11 x 11 Gaussian window of deviation 1.5, population variances, averaged
    over the places where the window lies within the frame. scikit-image's `structural_similarity`
    gives the same with `gaussian_weights=True, use_sample_covariance=False, data_range=1`.

    Raises:
        ValueError: as for `psnr`, or the frames are smaller than the window.
    """
    _check(restored, target)
    if min(restored.shape[2:]) <= 2 * RADIUS:
        side = 2 * RADIUS + 1
        raise ValueError(f"SSIM needs frames of at least {side}x{side}, not {restored.shape[3]}x{restored.shape[2]}")
    weights = _gaussian(RADIUS)

    def blur(x: Tensor) -> Tensor:
        return _slid(_slid(x, weights, -1), weights, -2)

    return _mean_ssim(restored, target, blur)


def authors_ssim(restored: Tensor, target: Tensor) -> Tensor:
    """The SSIM that the authors report, of each frame; comparable with no other.

    Their window is a Gaussian of deviation 1.5 along *all three* axes of the (3, H, W) array, so that
    the channels are mixed; 13 wide, the array mirrored at its edges, averaged over the whole frame.

    Raises:
        ValueError: as for `psnr`.
    """
    _check(restored, target)
    weights = _gaussian(AUTHORS_RADIUS)

    def blur(x: Tensor) -> Tensor:
        return reduce(lambda out, axis: _slid(_mirrored(out, AUTHORS_RADIUS, axis), weights, axis), (-1, -2, -3), x)

    return _mean_ssim(restored, target, blur)


def _check(restored: Tensor, target: Tensor) -> None:
    if restored.shape != target.shape or restored.ndim != 4:
        raise ValueError(f"two clips (T, 3, H, W) of one shape are compared, not {restored.shape} with {target.shape}")


def _mean_ssim(restored: Tensor, target: Tensor, blur: Callable[[Tensor], Tensor]) -> Tensor:
    means = []
    # Frame by frame, since each needs five blurred copies of itself in double precision.
    for x, y in zip(restored.clamp(0, 1).double(), target.double(), strict=True):
        mean_x, mean_y = blur(x), blur(y)
        variance_x, variance_y = blur(x * x) - mean_x.square(), blur(y * y) - mean_y.square()
        covariance = blur(x * y) - mean_x * mean_y
        light = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
        structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
        means.append((light * structure).mean())
    return torch.stack(means)


def _gaussian(radius: int) -> list[float]:
    """Samples of the Gaussian, 2 * radius + 1 of them, with sum 1."""
    samples = [math.exp(-0.5 * (x / SIGMA) ** 2) for x in range(-radius, radius + 1)]
    return [sample / math.fsum(samples) for sample in samples]


def _slid(x: Tensor, weights: list[float], axis: int) -> Tensor:
    """The weighted sum under a window slid along an axis, which grows shorter by what the window covers."""
    length = x.shape[axis] - len(weights) + 1
    out = weights[0] * x.narrow(axis, 0, length)
    for start, weight in enumerate(weights[1:], start=1):
        out.add_(x.narrow(axis, start, length), alpha=weight)
    return out


def _mirrored(x: Tensor, margin: int, axis: int) -> Tensor:
    """An axis continued on both sides as by a mirror at its edge: b a | a b c d | d c."""
    length = x.shape[axis]
    indices = torch.arange(-margin, length + margin, device=x.device) % (2 * length)
    return x.index_select(axis, torch.where(indices < length, indices, 2 * length - 1 - indices))
