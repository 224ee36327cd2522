"""Planes of frames: sizes, sample values, borders."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vsgshift.plugin._bridge import Frame

type Size = tuple[int, int]
"""Height and width in pixels."""


def peak(frame: Frame) -> float:
    """The sample value that counts as 1."""
    return 1.0 if frame.format.sample_type == "float" else float((1 << frame.format.bits) - 1)


def into_planes(frame: Frame, planes: NDArray[np.float32]) -> None:
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
