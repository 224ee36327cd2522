"""What a network that merges frames is given, and the frames that are made of what it gives. Neither has parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.layers import depth_to_space, space_to_depth

SHUFFLE = 2
"""Space-to-depth factor of the networks that merge frames."""
LARGEST = 4.5
"""Deviations of the noise by which a network that merges may change a value, at most; noise itself hardly ever does."""
MOST_NOISE = 2.0
"""Such a network takes the noise of a place to be at most this many times what its values deviate from their mean:
where nothing varies there is no noise, whatever the noise map says."""


def local_deviation(x: Tensor) -> Tensor:
    """Standard deviation of each channel within 6x6 pixels: (N, C, H, W) -> (N, C, H / 2, W / 2)."""

    def sums(x: Tensor) -> Tensor:
        # Slices are several times as fast as pooling on a CPU.
        rows = x[..., ::2, :] + x[..., 1::2, :]
        x = F.pad(rows[..., ::2] + rows[..., 1::2], (1, 1, 1, 1), mode="replicate")
        rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
        return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]

    mean = sums(x) / 36
    return torch.addcmul(sums(x * x) / 36, mean, mean, value=-1).clamp_(min=0).sqrt_()


class MergedInput(nn.Module):
    """The merged frame and the frame itself after space-to-depth, the noise, and what is left of it."""

    def forward(self, clip: Tensor, change: Tensor, noise: Tensor, left: Tensor) -> Tensor:
        """-> (T, 28, H / 2, W / 2).

        Args:
            clip: (T, 3, H, W).
            change: (T, 3, H, W), what merging adds to the frames.
            noise: (T, 1, H / 2, W / 2), the frames' noise standard deviation.
            left: (T, 3, H / 2, W / 2), what is left of it after merging.
        """
        return torch.cat((space_to_depth(clip + change, SHUFFLE), space_to_depth(clip, SHUFFLE), noise, left), 1)


class MergedOutput(nn.Module):
    """Add what merging and the network change to frames, within what their noise can be."""

    def forward(self, x: Tensor, source: Tensor, change: Tensor, noise: Tensor, strength: float) -> Tensor:
        """-> (T, 3, H, W), not clamped.

        Args:
            x: (T, 12, H / 2, W / 2), the network's output.
            source: (T, 3, H, W), the frames; ``change`` and ``noise`` as for `MergedInput`.
            strength: share of the change that is applied, 0 to 1.
        """
        most = LARGEST * torch.minimum(noise, MOST_NOISE * local_deviation(source))
        # Each for 2x2 pixels.
        count, colours, height, width = most.shape
        most = most[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(count, colours, 2 * height, 2 * width)
        change = torch.minimum(torch.maximum(depth_to_space(x, SHUFFLE) + change, -most), most)
        return torch.add(source, change, alpha=strength)
