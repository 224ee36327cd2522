"""Frames to RGB and back in float64 NumPy, written from the standards, without VapourSynth's resizer or the plugin.

Sources: ITU-T H.273 (matrices, ranges and the positions of chroma samples); Mitchell and Netravali, 1988, for the
bicubic kernel, which is Catmull-Rom here. Past a border samples are mirrored, as zimg does.
"""

from dataclasses import dataclass

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

type Array = NDArray[np.float64]

KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""The weights of red and blue in luma, by the number of the matrix."""
YCGCO = 8
LEFT, CENTRE, TOP_LEFT, TOP, BOTTOM_LEFT, BOTTOM = range(6)
"""Positions of chroma samples, as `_ChromaLocation` numbers them."""


@dataclass(frozen=True, kw_only=True)
class Colour:
    """How the samples of a frame are to be read."""

    format: vs.VideoFormat
    matrix: int = 1
    full: bool = False
    siting: int = LEFT

    def to_rgb(self, planes: list[Array]) -> Array:
        """The planes of a frame as RGB (3, H, W), or GRAY (1, H, W), on the [0, 1] scale."""
        height, width = planes[0].shape
        values = [self._levels(plane, index) for index, plane in enumerate(planes)]
        if self._is_yuv:
            values[1:] = [self._rows(height) @ chroma @ self._columns(width).T for chroma in values[1:]]
            rgb: Array = np.tensordot(np.linalg.inv(self._rgb_to_yuv()), np.stack(values), 1)
            return rgb
        return np.stack(values)

    def from_rgb(self, picture: Array) -> list[Array]:
        """Planes of a picture as `to_rgb` returns it, in the format's samples, not rounded."""
        if self._is_yuv:
            luma, *chroma = np.tensordot(self._rgb_to_yuv(), picture, 1)
            height, width = luma.shape
            rows, columns = self._rows(height, down=True), self._columns(width, down=True)
            planes = [luma, *(rows @ plane @ columns.T for plane in chroma)]
        else:
            planes = list(picture)
        return [self._samples(plane, index) for index, plane in enumerate(planes)]

    @property
    def _is_yuv(self) -> bool:
        return bool(self.format.color_family == vs.YUV)

    def _rgb_to_yuv(self) -> Array:
        if self.matrix == YCGCO:
            return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
        red, blue = KR_KB[self.matrix]
        luma = np.array([red, 1 - red - blue, blue])
        return np.stack(
            [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
        )

    def _scale_and_offset(self, index: int) -> tuple[float, float]:
        bits, chroma = self.format.bits_per_sample, self._is_yuv and index > 0
        offset = 2 ** (bits - 1) if chroma else 0 if self.full else 16 << (bits - 8)
        # The differences of YCgCo are those of RGB samples, which span 219 steps.
        steps = 224 if chroma and self.matrix != YCGCO else 219
        return (2**bits - 1 if self.full else steps << (bits - 8)), offset

    def _levels(self, plane: Array, index: int) -> Array:
        if self.format.sample_type == vs.FLOAT:
            return plane
        scale, offset = self._scale_and_offset(index)
        return (plane - offset) / scale

    def _samples(self, plane: Array, index: int) -> Array:
        if self.format.sample_type == vs.FLOAT:
            return plane
        scale, offset = self._scale_and_offset(index)
        return np.clip(plane * scale + offset, 0, 2**self.format.bits_per_sample - 1)

    def _rows(self, size: int, *, down: bool = False) -> Array:
        position = {TOP_LEFT: 0, TOP: 0, BOTTOM_LEFT: 1, BOTTOM: 1}.get(self.siting, 0.5)
        return _resampling(size, self.format.subsampling_h, position, down=down)

    def _columns(self, size: int, *, down: bool = False) -> Array:
        position = 0 if self.siting in (LEFT, TOP_LEFT, BOTTOM_LEFT) else 0.5
        return _resampling(size, self.format.subsampling_w, position, down=down)


def _resampling(size: int, halvings: int, position: float, *, down: bool) -> Array:
    """The matrix that takes one row of chroma to ``size`` samples of luma, or back.

    position: of a chroma sample among its 2 ** halvings samples of luma: 0 on the first, 1 on the last.
    """
    if not halvings:
        return np.eye(size)
    ratio = 1 << halvings
    coarse = size >> halvings
    first = position * (ratio - 1)
    if down:
        return _bicubic(np.arange(coarse) * ratio + first, size, ratio)
    return _bicubic((np.arange(float(size)) - first) / ratio, coarse, 1)


def _bicubic(places: NDArray[np.floating], size: int, width: float) -> Array:
    """Weights (len(places), size) of samples 0, 1, ..., size - 1 for values between them; the kernel spans 4 width."""
    weights = np.zeros((len(places), size))
    reach = int(2 * width)
    for row, place in zip(weights, places, strict=True):
        near = np.arange(np.floor(place) - reach, np.floor(place) + reach + 2)
        values = _catmull_rom(np.abs(near - place) / width)
        mirrored = np.where(near < 0, -1 - near, np.where(near >= size, 2 * size - 1 - near, near))
        np.add.at(row, np.clip(mirrored, 0, size - 1).astype(int), values / values.sum())
    return weights


def _catmull_rom(x: Array) -> Array:
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
