"""The network with its shift steps, residual blocks and merge run by fused kernels, for inference on a CUDA device.

The shift steps are all but a few percent of the core, and plain they are a dozen operations that
each read and write whole tensors. Here a gated block is four kernels (and one or two that do little):

    expand    norm and 1x1 convolution        reads C (1.5 C with side channels), writes 2 C a pixel
    multiply  depthwise 3x3, product          reads 2 C, writes C
    gate      5x5 and 3x3, 1x1, gate          reads C, writes C
    project   scale, 1x1, beta, skip          reads 2 C, writes C

A residual block is three, the two convolutions and the sum (`residual`), and the frame-UNets' widths are padded with
zeros to what those like to read. The temporal shift is never carried out if the timeline is a `LazyTimeline`: the
kernels read the neighbour's half from the neighbour. Weights are folded once, when a module is made.

Needs Triton, which comes with torch's CUDA builds, and a card that is `supported`. Only `prepare` imports
this module. Kernels choose their configurations when they first see a size
(`vsgshift.engine.cuda.tuning`): run a size once before its run is captured as a CUDA graph.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.engine import folding
from vsgshift.engine.cuda import align, attention, expand, gate, merge, motion, multiply, project, residual
from vsgshift.engine.cuda.halves import columns
from vsgshift.network.gated import GatedBlock, ShiftStep
from vsgshift.network.layers import ChannelAttention, ResidualBlock
from vsgshift.network.merge import Merge
from vsgshift.network.shift import Direction, channel_offsets
from vsgshift.network.shifted import Shifted
from vsgshift.network.shiftnet import FrameUNets, ShiftNet
from vsgshift.network.timeline import LazyTimeline, Timeline, Window


class FusedAttention(nn.Module):
    """The gate of a `ChannelAttention` from partial sums: (T, parts, C) -> (T, C), float32."""

    if TYPE_CHECKING:
        squeeze: Tensor
        excite: Tensor

    def __init__(self, plain: ChannelAttention) -> None:
        super().__init__()
        squeeze, excite = attention.layout(plain)
        self.register_buffer("squeeze", squeeze)
        self.register_buffer("excite", excite)

    def forward(self, partial: Tensor, pixels: int) -> Tensor:
        return attention.attention(partial, self.squeeze, self.excite, pixels)


class FusedGatedBlock(nn.Module):
    """A `GatedBlock` in fused kernels; same arguments, and the main path may be a temporal shift.

    Args:
        plain: the block, on the device.
        dtype: storage precision; the depthwise kernels, biases and attention stay float32.
    """

    if TYPE_CHECKING:
        expand_weight: Tensor
        expand_bias: Tensor
        depthwise: Tensor
        mix: Tensor
        gate_weight: Tensor
        project_weight: Tensor
        project_bias: Tensor

    def __init__(self, plain: GatedBlock, dtype: torch.dtype) -> None:
        super().__init__()
        folded = folding.gated(plain)
        self.register_buffer("expand_weight", columns(folded.expand, dtype))
        self.register_buffer("expand_bias", folded.expand_bias)
        self.register_buffer("depthwise", folding.taps(folded.depthwise))
        first = plain.gate_attention
        self.gate_attention = FusedAttention(first) if isinstance(first, ChannelAttention) else None
        self.register_buffer("mix", gate.layout(folded.mix, dtype))
        self.register_buffer("gate_weight", columns(folded.gate, dtype))
        self.attention = FusedAttention(plain.attention)
        self.register_buffer("project_weight", columns(folded.project, dtype))
        self.register_buffer("project_bias", folded.project_bias)

    def forward(self, x: Tensor | Shifted, side: Tensor | None = None) -> Tensor:
        wide = expand.expand(x, side, self.expand_weight, self.expand_bias)
        pixels = wide.shape[2] * wide.shape[3]
        product, partial = multiply.multiply(wide, self.depthwise, pool=self.gate_attention is not None)
        scale = None
        if self.gate_attention is not None:
            scale = self.gate_attention(partial, pixels)
        gated, partial = gate.gate(product, scale, self.mix, self.gate_weight)
        return project.project(x, gated, self.attention(partial, pixels), self.project_weight, self.project_bias)


class FusedShiftStep(nn.Module):
    """A `ShiftStep` in fused kernels; arguments as of `FusedGatedBlock`."""

    if TYPE_CHECKING:
        offsets: Tensor
        align: Tensor

    def __init__(self, plain: ShiftStep, dtype: torch.dtype) -> None:
        super().__init__()
        self.direction = plain.direction
        offsets = channel_offsets(plain.arriving).T.contiguous()
        self.register_buffer("offsets", offsets.to(plain.align.weight.device))
        self.register_buffer("align", folding.taps(plain.align.weight))
        self.fuse = FusedGatedBlock(plain.fuse, dtype)
        self.refine = FusedGatedBlock(plain.refine, dtype)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        shift = time.shift_lazily if isinstance(time, LazyTimeline) else time.shift
        shifted = shift(x, self.direction)
        side = align.align(shifted, self.offsets, self.align, past=self.direction is Direction.PAST)
        x = self.fuse(shifted, side)
        if isinstance(shifted, Shifted):
            shifted.done()
        out: Tensor = self.refine(x)
        return out


class FusedMerge(Merge):
    """A `Merge` in fused kernels."""

    on_device = True

    def keep(self, clip: Tensor) -> Sequence[Tensor]:
        return motion.keep(clip).unbind()

    def forward(self, window: Window, noise: Tensor) -> tuple[Tensor, Tensor]:
        if not window.own:
            return super().forward(window, noise)
        kept, order, places = window.tensors()
        layout = motion.Layout(2 * noise.shape[2], 2 * noise.shape[3])
        vectors = motion.motion(kept, order, places, layout, min(self.reach, len(kept) - 1))
        change, remaining = merge.merge(kept, order, places, vectors, noise, layout)
        return change.to(noise.dtype), remaining.to(noise.dtype)


class FusedResidualBlock(nn.Module):
    """A `ResidualBlock` in fused kernels; same arguments."""

    if TYPE_CHECKING:
        first: Tensor
        second: Tensor

    def __init__(self, plain: ResidualBlock) -> None:
        super().__init__()
        self.register_buffer("first", residual.layout(plain.conv1.weight))
        self.register_buffer("second", residual.layout(plain.conv2.weight))
        self.attention = FusedAttention(plain.attention)

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        if not len(x):
            return x
        hidden, _ = residual.convolve(x, self.first, slope)
        g, partial = residual.convolve(hidden, self.second, None)
        assert partial is not None
        return residual.scaled_sum(x, g, self.attention(partial, x.shape[2] * x.shape[3]))


ALIGNED = 8
"""Channels of a pixel that are read at once; widths of the frame-UNets become multiples of it."""


class PaddedFrameUNets(nn.Module):
    """`FrameUNets` whose widths are multiples of `ALIGNED`: the channels beyond the plain ones are always zero."""

    def __init__(self, plain: FrameUNets) -> None:
        super().__init__()
        self.unets = copy.deepcopy(plain)
        for module in list(self.unets.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Conv2d):
                    module.register_module(name, padded(child))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        if channels % ALIGNED:
            x = F.pad(x, (0, 0, 0, 0, 0, -channels % ALIGNED))
        out: Tensor = self.unets(x)
        return out[:, :channels]


def padded(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with channels in and out that are multiples of `ALIGNED`; those beyond give zero."""
    outputs, inputs = (-count % ALIGNED for count in conv.weight.shape[:2])
    wide = copy.deepcopy(conv)
    wide.in_channels, wide.out_channels = conv.in_channels + inputs, conv.out_channels + outputs
    wide.weight = nn.Parameter(F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, inputs, 0, outputs)), requires_grad=False)
    if conv.bias is not None:
        wide.bias = nn.Parameter(F.pad(conv.bias.detach(), (0, outputs)), requires_grad=False)
    return wide


def supported(device: torch.device) -> bool:
    """Whether a device is one that `fuse` is for: CUDA, with compute capability 8.0 or more.

    For older ones Triton makes no matrix instructions: the products would run out of registers.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def fuse(network: ShiftNet, dtype: torch.dtype | None = None) -> ShiftNet:
    """A copy of a network for inference whose shift steps, residual blocks and merge run fused kernels.

    Args:
        network: on the device.
        dtype: precision of the copy, float16, bfloat16 or float32; None keeps the network's. From a float32 network the
            folded weights are rounded once, after folding: better than to round the network before.

    Raises:
        ValueError: the network's gated blocks are of a shape that the kernels do not know.
    """
    dtype = dtype or next(network.parameters()).dtype
    steps = {name: module for name, module in network.named_modules() if isinstance(module, ShiftStep)}
    fused = {name: FusedShiftStep(step, dtype) for name, step in steps.items()}
    result = copy.deepcopy(network).requires_grad_(False).eval().to(dtype=dtype)
    for name, step in fused.items():
        parent, _, index = name.rpartition(".")
        result.get_submodule(parent)[int(index)] = step  # type: ignore[index,operator]
    for name in ("unets_before", "unets_after"):
        unets = result.get_submodule(name)
        if isinstance(unets, FrameUNets) and len(unets):
            result.register_module(name, PaddedFrameUNets(unets))
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ResidualBlock):
                module.register_module(name, FusedResidualBlock(child))
    if result.merger is not None:
        result.merger = FusedMerge(result.merger.reach)
    return result
