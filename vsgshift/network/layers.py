"""Building blocks that work on single frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.variants import Task


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool = False, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the frame's size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, groups=groups)


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """(T, C, H, W) -> (T, C * factor**2, H / factor, W / factor); T may be 0."""
    if len(x):
        return F.pixel_unshuffle(x, factor)
    channels, height, width = x.shape[1:]
    return x.new_empty((0, channels * factor**2, height // factor, width // factor))


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """(T, C, H, W) -> (T, C / factor**2, H * factor, W * factor); T may be 0."""
    if len(x):
        return F.pixel_shuffle(x, factor)
    channels, height, width = x.shape[1:]
    return x.new_empty((0, channels // factor**2, height * factor, width * factor))


class ChannelAttention(nn.Module):
    """Scale each channel by a gate computed from the frame's channel means: (T, C, H, W) -> same."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = conv(width, width // reduction, 1)
        self.excite = conv(width // reduction, width, 1)

    def gate(self, x: Tensor) -> Tensor:
        """(T, C, H, W) -> (T, C, 1, 1), in (0, 1)."""
        mean = x.mean((2, 3), keepdim=True)
        return torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with channel attention and a skip: the paper's CAB.

    The PReLU slope is an argument: all residual blocks of one frame-UNet share one, and so do those of the core.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = conv(width, width, 3)
        self.conv2 = conv(width, width, 3)
        self.attention = ChannelAttention(width, reduction)

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        out: Tensor = x + self.attention(self.conv2(F.prelu(self.conv1(x), slope)))
        return out


class ResidualBlocks(nn.ModuleList):
    """Residual blocks in sequence, sharing a slope."""

    def __init__(self, count: int, width: int, reduction: int) -> None:
        super().__init__(ResidualBlock(width, reduction) for _ in range(count))

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        for block in self:
            x = block(x, slope)
        return x


class Down(nn.Module):
    """Halve the resolution: (T, A, H, W) -> (T, B, H/2, W/2). Denoising adds an activation, deblurring a bias."""

    def __init__(self, inputs: int, outputs: int, task: Task) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=task == "deblur")
        self.activation = nn.PReLU() if task == "denoise" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv(x))
        return out


class Up(nn.Module):
    """Double the resolution: (T, A, H, W) -> (T, B, 2H, 2W).

    The published order is interpolate, then convolve. A 1x1 convolution and an interpolation whose
    weights sum to one commute, and the convolution is four times cheaper at the lower resolution.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)


class SplitConv(nn.Module):
    """A 3x3 convolution of concatenated parts, taken apart.

    A convolution is linear in its input channels, so the share of parts that are known early can
    be summed up early, and only that sum has to wait for the part that comes late.
    """

    def __init__(self, parts: tuple[int, ...], outputs: int, *, late: int, bias: bool) -> None:
        super().__init__()
        if late not in (0, len(parts) - 1):
            raise ValueError("the late part must be the first or the last one")
        split = parts[0] if late == 0 else sum(parts[:-1])
        head, tail = slice(None, split), slice(split, None)
        self.late_channels: slice = head if late == 0 else tail
        self.early_channels: slice = tail if late == 0 else head
        self.conv = conv(sum(parts), outputs, 3, bias=bias)

    def early(self, *parts: Tensor) -> Tensor:
        """The share of every part but the late one, bias included."""
        # One by one: joining them first takes longer.
        weights = self.conv.weight[:, self.early_channels].split([part.shape[1] for part in parts], 1)
        out = F.conv2d(parts[0], weights[0], self.conv.bias, padding=1)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            out = out + F.conv2d(part, weight, padding=1)
        return out

    def late(self, early: Tensor, part: Tensor) -> Tensor:
        """Complete the convolution with the share of the late part."""
        return early + F.conv2d(part, self.conv.weight[:, self.late_channels], padding=1)
