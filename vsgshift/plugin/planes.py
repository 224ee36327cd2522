"""Planes of frames: sizes, sample values, gaps, borders."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vsgshift.plugin._bridge import Frame

type Size = tuple[int, int]
"""Height and width in pixels."""
type Samples = tuple[NDArray[np.bool_], NDArray[Any]]
"""Some samples of a plane: where they are, (height, width), and their values."""


def peak(frame: Frame) -> float:
    """The sample value that counts as 1."""
    return 1.0 if frame.format.sample_type == "float" else float((1 << frame.format.bits) - 1)


def into_planes(frame: Frame, planes: NDArray[Any]) -> None:
    """Copy (planes, H, W) into the planes of a new frame."""
    for index, plane in enumerate(planes):
        np.copyto(np.asarray(frame.plane(index)), plane)


def fill_border(tensor: Tensor, size: Size) -> None:
    """Repeat the last row and column of the upper left ``size`` to the ends of a tensor (T, C, H, W)."""
    height, width = size
    if width < tensor.shape[3]:
        tensor[:, :, :height, width:] = tensor[:, :, :height, width - 1 : width]
    if height < tensor.shape[2]:
        tensor[:, :, height:] = tensor[:, :, height - 1 : height]


def is_finite(plane: NDArray[Any]) -> bool:
    """Whether no sample of a plane is NaN or infinite."""
    # The sum is quicker than a look at each, and is finite unless a sample is not, or many are huge.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(plane.sum())) or bool(np.isfinite(plane).all())


def not_finite(plane: NDArray[Any]) -> Samples:
    """The samples of a plane that are NaN or infinite."""
    where = ~np.isfinite(plane)
    return where, plane[where]


def filled(plane: NDArray[Any]) -> NDArray[Any]:
    """A copy of a plane whose samples that are not finite repeat the next finite one of the row; else they are 0."""
    columns = np.arange(plane.shape[1])
    for step in (1, -1):
        turned = plane[:, ::step]
        nearest = np.maximum.accumulate(np.where(np.isfinite(turned), columns, 0), axis=1)
        plane = np.take_along_axis(turned, nearest, axis=1)[:, ::step]
    return np.where(np.isfinite(plane), plane, 0)
