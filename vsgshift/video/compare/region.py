"""The region in which before and after differ most tellingly."""

from dataclasses import dataclass

import numpy as np

from vsgshift.video.compare.pairs import Picture

type Plane = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
LUMA = np.array([0.2126, 0.7152, 0.0722])
"""Weights of R, G and B in brightness, ITU-R BT.709."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of pixels in a frame."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: Picture) -> Picture:
        """That part of a picture."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def around(self, size: tuple[int, int], within: tuple[int, int]) -> "Box":
        """A box of another height and width with the same middle, moved to lie within a frame that is not smaller."""
        top = self.top + (self.height - size[0]) // 2
        left = self.left + (self.width - size[1]) // 2
        return Box(
            top=min(max(top, 0), within[0] - size[0]),
            left=min(max(left, 0), within[1] - size[1]),
            height=size[0],
            width=size[1],
        )


def most_telling(before: Picture, after: Picture, size: tuple[int, int]) -> Box:
    """The box of a height and width where much has changed and there is something to be seen.

    Noise goes everywhere alike, but that it went is only worth looking at where detail had to stay; blur goes where
    there are edges. So a box counts by the mean change of its pixels, times the square root of the mean contrast
    between neighbours that it has afterwards.
    """
    change = np.abs(after.astype(np.float64) - before).mean(-1)
    brightness = after.astype(np.float64) @ LUMA
    contrast = np.zeros_like(brightness)
    contrast[1:] += np.abs(np.diff(brightness, axis=0))
    contrast[:, 1:] += np.abs(np.diff(brightness, axis=1))
    # If nothing changed at all, contrast alone decides; if nothing is to be seen, change alone.
    score = (_means(change, size) + 1e-3) * np.sqrt(_means(contrast, size) + 1e-3)
    top, left = np.unravel_index(int(score.argmax()), score.shape)
    return Box(top=int(top), left=int(left), height=size[0], width=size[1])


def _means(values: Plane, size: tuple[int, int]) -> Plane:
    """The mean of every box of a size, by the position of its top left corner."""
    height, width = size
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    boxes = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    means: Plane = boxes / (height * width)
    return means
