"""The gated block and the shift step built of two of them."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.layers import ChannelAttention, conv
from vsgshift.network.shift import Direction, spatial_shift
from vsgshift.network.timeline import Timeline
from vsgshift.network.variants import Variant

EPS = 1e-6


class LayerNorm(nn.Module):
    """Normalise over the channels of each pixel of (T, C, H, W); biased variance, `EPS`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)
        return F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, EPS).permute(0, 3, 1, 2)


def joined_weight(*weights: Tensor) -> Tensor:
    """The weight of ``x + conv0(x) + conv1(x) + ...`` as one convolution.

    The weights are (C, channels of a group, K, K) of convolutions that keep the frame's size, have no bias and the same
    groups; the first has the largest K.
    """
    joined = weights[0]
    for smaller in weights[1:]:
        margin = (joined.shape[2] - smaller.shape[2]) // 2
        joined = joined + F.pad(smaller, (margin,) * 4)
    channels, group = joined.shape[:2]
    # Output channel c of a group reads input channel c of it.
    identity = torch.eye(group, dtype=joined.dtype, device=joined.device)
    margin = joined.shape[2] // 2
    return joined + F.pad(identity.repeat(channels // group, 1)[:, :, None, None], (margin,) * 4)


def plus_identity(x: Tensor, *convs: nn.Conv2d) -> Tensor:
    """``x + convs[0](x) + convs[1](x) + ...`` by `joined_weight`."""
    weight = joined_weight(*(conv.weight for conv in convs))
    return F.conv2d(x, weight, padding=weight.shape[2] // 2, groups=convs[0].groups)


class GatedBlock(nn.Module):
    """``x + beta * body(norm(cat(x, side)))``: (T, C, H, W), side (T, S, H, W) -> (T, C, H, W)."""

    def __init__(self, variant: Variant, *, side: int = 0) -> None:
        super().__init__()
        width, denoise = variant.core_width, variant.task == "denoise"
        groups = width // variant.gate_group
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.norm = LayerNorm(width + side)
        self.expand = conv(width + side, 2 * width, 1)
        self.expand_depthwise = conv(2 * width, 2 * width, 3, groups=2 * width)
        self.gate_attention = ChannelAttention(width, variant.reduction) if denoise else nn.Identity()
        self.mix5 = conv(width, width, 5, groups=groups)
        self.mix3 = conv(width, width, 3, groups=groups)
        self.gate = conv(width, 2 * width, 1)
        self.attention = ChannelAttention(width, variant.reduction)
        self.project = conv(width, width, 1, bias=denoise)

    def body(self, x: Tensor) -> Tensor:
        a, b = plus_identity(self.expand(x), self.expand_depthwise).chunk(2, 1)
        x = plus_identity(self.gate_attention(a * b), self.mix5, self.mix3)
        a, b = self.gate(x).chunk(2, 1)
        out: Tensor = self.project(self.attention(a * torch.sigmoid(b)))
        return out

    def forward(self, x: Tensor, side: Tensor | None = None) -> Tensor:
        joined = x if side is None else torch.cat((x, side), 1)
        return x + self.beta * self.body(self.norm(joined))


class ShiftStep(nn.Module):
    """One temporal shift and two gated blocks: (T, C, H, W) -> same.

    The half of the channels that arrived from the neighbouring frame is shifted in space too,
    and enters the first block beside the main path.
    """

    def __init__(self, variant: Variant, direction: Direction) -> None:
        super().__init__()
        self.direction = direction
        self.arriving = half = variant.core_width // 2
        self.align = conv(half, half, 3, groups=half)
        self.fuse = GatedBlock(variant, side=half)
        self.refine = GatedBlock(variant)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        x = time.shift(x, self.direction)
        arrived = x[:, : self.arriving] if self.direction is Direction.PAST else x[:, self.arriving :]
        out: Tensor = self.refine(self.fuse(x, self.align(spatial_shift(arrived))))
        return out


def alternating(count: int) -> Iterator[Direction]:
    """Past, future, past, ..."""
    return (Direction.FUTURE if index % 2 else Direction.PAST for index in range(count))


class ShiftBlocks(nn.ModuleList):
    """Shift blocks in sequence; each is a list of shift steps in alternating directions."""

    def __init__(self, count: int, variant: Variant) -> None:
        super().__init__(
            nn.ModuleList(ShiftStep(variant, direction) for direction in alternating(variant.steps))
            for _ in range(count)
        )

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        for block in self:
            for step in block:  # type: ignore[attr-defined]
                x = step(x, time)
        return x
