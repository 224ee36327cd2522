"""What a sample of a plane is worth once the picture is RGB: its range, and what its noise becomes.

The network's noise level is one number for all three colours of RGB, while a clip's noise sits in
the planes it is stored in: chroma at a lower resolution, each plane on its own scale. Measured in
those planes, noise is still the white noise it was when it came in, which is what estimators expect;
interpolated chroma noise is smooth, and they would miss most of it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from vsgshift.h273 import BT709, IDENTITY, YCGCO

LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Shares of red and blue in luma, by the matrix's number (ITU-T H.273, table 4)."""


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How a picture is stored."""

    family: Literal["YUV", "RGB", "GRAY"]
    bits: int | None
    """Of an integer sample; None for floating point numbers."""
    subsampling: tuple[int, int] = (0, 0)
    """log2 of chroma's, horizontally and vertically."""
    matrix: int = BT709
    """As H.273 numbers them; YUV only. An unknown one counts as BT.709."""
    full_range: bool = False
    """Integer samples only."""
    siting: int = 0
    """Of chroma, as H.273 numbers it."""


@dataclass(frozen=True, kw_only=True)
class PlaneScale:
    """One plane's scale."""

    black: float
    white: float
    """Smallest and largest nominal value, in the plane's own unit."""
    share: float
    """What variance 1 in this plane alone adds to the mean variance of R, G and B on the 8-bit scale."""


@cache
def plane_scales(coding: Coding) -> tuple[PlaneScale, ...]:
    """The scale of each plane, in order.

    The shares are those of an exact matrix and of chroma interpolated by a Catmull-Rom bicubic, as
    VapourSynth's resizer does by default, for noise that is white and independent between planes.
    """
    luma = _luma_range(coding)
    step = 255 / (luma[1] - luma[0])
    if coding.family == "GRAY":
        return (PlaneScale(black=luma[0], white=luma[1], share=step**2),)
    if coding.family == "RGB" or coding.matrix == IDENTITY:
        return tuple(PlaneScale(black=luma[0], white=luma[1], share=step**2 / 3) for _ in range(3))
    chroma = _chroma_range(coding)
    chroma_step = 255 / (chroma[1] - chroma[0])
    kept = _kept_by_interpolation(coding.subsampling, coding.siting)
    return (
        PlaneScale(black=luma[0], white=luma[1], share=step**2),
        *(
            PlaneScale(black=chroma[0], white=chroma[1], share=gain * kept * chroma_step**2)
            for gain in _chroma_gains(coding.matrix)
        ),
    )


def _luma_range(coding: Coding) -> tuple[float, float]:
    if coding.bits is None:
        return 0.0, 1.0
    if coding.full_range:
        return 0.0, 2.0**coding.bits - 1
    return 16.0 * 2 ** (coding.bits - 8), 235.0 * 2 ** (coding.bits - 8)


def _chroma_range(coding: Coding) -> tuple[float, float]:
    if coding.bits is None:
        return -0.5, 0.5
    if coding.full_range:
        return 0.0, 2.0**coding.bits - 1
    return 16.0 * 2 ** (coding.bits - 8), 240.0 * 2 ** (coding.bits - 8)


def _chroma_gains(matrix: int) -> tuple[float, float]:
    """Mean over R, G and B of the squared coefficients of both colour differences, each 1 wide."""
    if matrix == YCGCO:
        return 1.0, 2 / 3
    red, blue = LUMA_WEIGHTS.get(matrix, LUMA_WEIGHTS[BT709])
    green = 1 - red - blue

    def gain(own: float) -> float:
        return ((2 * (1 - own)) ** 2 + (2 * own * (1 - own) / green) ** 2) / 3

    return gain(blue), gain(red)


def _kept_by_interpolation(subsampling: tuple[int, int], siting: int) -> float:
    """Share of chroma's variance that is left after interpolation to luma's resolution."""
    centred = siting in (1, 3, 5), siting in (0, 1)
    kept = 1.0
    for log2, middle in zip(subsampling, centred, strict=True):
        samples = 1 << log2
        phases = [(index + 0.5 * middle) / samples if log2 else 0.0 for index in range(samples)]
        kept *= sum(sum(weight**2 for weight in _catmull_rom(phase)) for phase in phases) / samples
    return kept


def _catmull_rom(phase: float) -> tuple[float, float, float, float]:
    """Weights of the four samples around a position ``phase`` after the second (Keys 1981, a = -1/2)."""
    t, u = phase, 1 - phase
    return -0.5 * t * u**2, 1 - 2.5 * t**2 + 1.5 * t**3, 1 - 2.5 * u**2 + 1.5 * u**3, -0.5 * u * t**2
