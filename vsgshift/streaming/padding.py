"""Frames of any size in, frames of a size the network takes out, and back."""

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(frames: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of (T, C, H, W) until H and W are multiples of ``multiple``."""
    height, width = frames.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(frames, (0, right, 0, bottom), mode="replicate") if bottom or right else frames
