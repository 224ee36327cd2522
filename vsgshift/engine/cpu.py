"""Blocks that run the compiled kernels. Inputs and outputs are float32, channels last."""

import ctypes

import torch
from torch import Tensor, nn

from vsgshift.engine import folding
from vsgshift.engine.library import Align, Attention, Gated, Residual, kernels
from vsgshift.network.gated import GatedBlock, ShiftStep
from vsgshift.network.layers import ChannelAttention, ResidualBlock
from vsgshift.network.shift import OFFSETS, Direction, group_sizes
from vsgshift.network.timeline import Timeline


def _empty(frames: int, channels: int, height: int, width: int) -> Tensor:
    return torch.empty((frames, channels, height, width), memory_format=torch.channels_last)


class _Native(nn.Module):
    """Keeps what the library's structures point to."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []

    def keep(self, tensor: Tensor) -> int:
        """The address of a float32 copy that lives as long as this module."""
        own = tensor.detach().to(torch.float32).contiguous().clone()
        self._kept.append(own)
        return own.data_ptr()

    def attention(self, module: nn.Module) -> Attention:
        if not isinstance(module, ChannelAttention):
            return Attention(0, None, None)
        squeeze, excite = module.squeeze.weight.flatten(1), module.excite.weight.flatten(1)
        return Attention(len(squeeze), self.keep(squeeze), self.keep(excite))


def _call(function: str, block: ctypes.Structure, like: Tensor, *tensors: Tensor | None) -> None:
    """Run one of the kernels on all of torch's threads, over frames of the size of `like`.

    Raises:
        MemoryError: there was none left.
    """
    frames, _, height, width = like.shape
    places = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    library = kernels()
    assert library is not None
    if not getattr(library, function)(ctypes.byref(block), frames, height, width, *places, torch.get_num_threads()):
        raise MemoryError("not enough memory")


def _at_once(like: Tensor) -> int:
    """Frames that a gated block takes through its passes together."""
    frames, _, height, width = like.shape
    library = kernels()
    assert library is not None
    return int(library.vsgshift_frames_at_once(frames, height, width, torch.get_num_threads()))


MOST_CHANNELS = 192
"""The kernels' own limit."""


def _check_widths(*channels: int, whole: bool) -> None:
    """Raise ValueError for what the kernels cannot do; every member of the family is within."""
    if max(channels) > MOST_CHANNELS or (whole and any(width % 8 for width in channels)):
        raise ValueError(f"the kernels for the CPU take up to {MOST_CHANNELS} channels, not {channels}")


class FastGatedBlock(_Native):
    """`GatedBlock`: (T, C, H, W), side (T, S, H, W) -> (T, C, H, W)."""

    def __init__(self, block: GatedBlock) -> None:
        super().__init__()
        with torch.no_grad():
            expand, expand_bias = folding.normalised_expansion(block)
            project, project_bias = folding.scaled_projection(block)
            mix = folding.mixing_kernel(block)
            channels, group = len(project), mix.shape[1]
            _check_widths(expand.shape[1], channels, expand.shape[1] - channels, whole=True)
            if group == 1:
                mix = mix.flatten(1).t()
            else:
                # For each group: taps in order, of each the group's inputs, of each its outputs.
                mix = mix.view(channels // group, group, group, 25).permute(0, 3, 2, 1)
            self.block = Gated(
                channels=channels,
                side=expand.shape[1] - channels,
                group=group,
                expand=self.keep(folding.panels(expand)),
                expand_bias=self.keep(expand_bias),
                depthwise=self.keep(folding.expansion_taps(block)),
                first=self.attention(block.gate_attention),
                mix=self.keep(mix),
                gate=self.keep(folding.panels(block.gate.weight.flatten(1))),
                second=self.attention(block.attention),
                project=self.keep(folding.panels(project)),
                project_bias=self.keep(project_bias),
            )

    def forward(self, x: Tensor, side: Tensor | None = None) -> Tensor:
        out = _empty(*x.shape)
        if len(x):
            _call("vsgshift_gated", self.block, x, x, side, _empty(_at_once(x), *x.shape[1:]), out)
        return out


class FastShiftStep(_Native):
    """`ShiftStep`: (T, C, H, W) -> same."""

    def __init__(self, step: ShiftStep) -> None:
        super().__init__()
        self.direction, self.arriving = step.direction, step.arriving
        offsets = [
            offset for size, offset in zip(group_sizes(step.arriving), OFFSETS, strict=True) for _ in range(size)
        ]
        self._offsets = torch.tensor(offsets, dtype=torch.int16)
        with torch.no_grad():
            self.align = Align(
                channels=step.arriving,
                stride=2 * step.arriving,
                offsets=self._offsets.data_ptr(),
                weights=self.keep(folding.depthwise_taps(step.align)),
            )
        self.fuse, self.refine = FastGatedBlock(step.fuse), FastGatedBlock(step.refine)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        x = time.shift(x, self.direction).contiguous(memory_format=torch.channels_last)
        side = _empty(len(x), self.arriving, *x.shape[2:])
        if len(x):
            first = 0 if self.direction is Direction.PAST else self.arriving
            _call("vsgshift_align", self.align, x, x[:, first:], side)
        out: Tensor = self.refine(self.fuse(x, side))
        return out


class FastResidualBlock(_Native):
    """`ResidualBlock`: (T, C, H, W) -> same."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        channels = len(block.conv1.weight)
        _check_widths(channels, whole=False)
        with torch.no_grad():
            self.block = Residual(
                channels=channels,
                first=self.keep(folding.panels(folding.tap_major(block.conv1))),
                second=self.keep(folding.panels(folding.tap_major(block.conv2))),
                attention=self.attention(block.attention),
            )

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = _empty(*x.shape)
        if len(x):
            self.block.slope = slope.data_ptr()
            _call("vsgshift_residual", self.block, x, x, out)
        return out
