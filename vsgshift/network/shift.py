"""Temporal shift and grouped spatial shift, the paper's two operations without parameters."""

from enum import Enum
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Direction(Enum):
    """Where the shifted half of the channels comes from."""

    PAST = "past"
    FUTURE = "future"


def shift_past(previous: Tensor, frame: Tensor) -> Tensor:
    """The second half of the channels of each frame's predecessor, then the first half of its own.

    ``previous`` holds those second halves, (T, C/2, H, W); ``frame`` is (T, C, H, W).
    """
    return torch.cat((previous, frame[:, : frame.shape[1] // 2]), 1)


def shift_future(frame: Tensor, following: Tensor) -> Tensor:
    """The second half of the channels of each frame, then the first half of its successor's.

    ``following`` holds those first halves, (T, C/2, H, W); ``frame`` is (T, C, H, W).
    """
    return torch.cat((frame[:, frame.shape[1] // 2 :], following), 1)


STEP = 4
_OUTER = tuple((dy * STEP, dx * STEP) for dy, dx in (
    (2, 2), (2, 1), (2, 0), (2, -1), (2, -2),
    (-2, 2), (-2, 1), (-2, 0), (-2, -1), (-2, -2),
    (1, 2), (1, -2), (0, 2), (0, -2), (-1, 2), (-1, -2),
))  # fmt: skip
_INNER = tuple((dy * STEP, dx * STEP) for dy, dx in (
    (1, 1), (1, 0), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, 0), (-1, -1),
))  # fmt: skip
OFFSETS = _OUTER + _INNER
"""Translation (dy, dx) in pixels, down and right, of each of the 24 channel groups, in order."""
MARGIN = 2 * STEP


def group_sizes(channels: int) -> tuple[int, ...]:
    """Channels in each of the 24 groups, for the shifted half of 2 * ``channels`` channels."""
    unit = channels // 8
    outer = (unit - 1) // 2
    inner = unit - 2 * outer
    return (outer,) * len(_OUTER) + (inner,) * len(_INNER)


def channel_offsets(channels: int) -> Tensor:
    """(channels, 2), int32: the translation (down, right) of each channel of the shifted half."""
    sizes = group_sizes(channels)
    return torch.tensor([offset for offset, size in zip(OFFSETS, sizes, strict=True) for _ in range(size)]).int()


class _Translation(torch.autograd.Function):
    """Translate the channel groups; the gradient is translated back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _translated(x, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Left to itself, autograd would fill and add up one padded tensor for each of the 24 groups.
        return _translated(gradients[0], -1)


def _translated(x: Tensor, sign: int) -> Tensor:
    padded = F.pad(x, (MARGIN,) * 4)
    sizes = group_sizes(x.shape[1])
    starts = accumulate(sizes, initial=0)
    parts = []
    for start, size, (dy, dx) in zip(starts, sizes, OFFSETS, strict=False):
        if size:
            rows, columns = _inside(MARGIN - sign * dy), _inside(MARGIN - sign * dx)
            parts.append(padded[:, start : start + size, rows, columns])
    return torch.cat(parts, 1)


def _inside(first: int) -> slice:
    """A frame's rows or columns in a padded one. Counted from the end, so that a trace has no sizes in it."""
    return slice(first, first - 2 * MARGIN or None)


def spatial_shift(x: Tensor) -> Tensor:
    """Translate 24 groups of the channels of (T, C, H, W), each by its own offset; vacated pixels are zero."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _translated(x, 1)
    out: Tensor = _Translation.apply(x)  # type: ignore[no-untyped-call]
    return out
