"""Blocks that run the compiled kernels. Inputs and outputs are float32, channels last."""

import ctypes

import torch
from torch import Tensor, nn

from vsgshift.engine import folding
from vsgshift.engine.library import Align, Attention, Gated, Half, Residual, kernels
from vsgshift.network.gated import GatedBlock, ShiftStep
from vsgshift.network.layers import ChannelAttention, ResidualBlock
from vsgshift.network.shift import OFFSETS, Direction, group_sizes
from vsgshift.network.shifted import EDGE, Shifted
from vsgshift.network.timeline import LazyTimeline, Timeline


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


Halves = ctypes.Array[Half]
"""Two for each frame."""


def _call(function: str, block: ctypes.Structure, size: torch.Size, *places: Tensor | Halves | None) -> None:
    """Run one of the kernels on all of torch's threads.

    Args:
        size: (T, ..., H, W) of the frames.

    Raises:
        MemoryError: there was none left.
    """
    frames, height, width = size[0], size[-2], size[-1]
    pointers = [ctypes.c_void_p(place.data_ptr()) if isinstance(place, Tensor) else place for place in places]
    library = kernels()
    assert library is not None
    if not getattr(library, function)(ctypes.byref(block), frames, height, width, *pointers, torch.get_num_threads()):
        raise MemoryError("not enough memory")


def _half(x: Tensor, frame: int, first: int) -> Half:
    """Channels from `first` on of a frame of (T, C, H, W), which lies channels last, apart from its stride."""
    return Half(x.data_ptr() + x.element_size() * (frame * x.stride(0) + first), x.stride(3))


def halves_of(x: Tensor) -> Halves:
    """Where the halves of (T, C, H, W) lie."""
    half = x.shape[1] // 2
    return (Half * (2 * len(x)))(*(_half(x, frame, first) for frame in range(len(x)) for first in (0, half)))


def shifted_halves(shifted: Shifted) -> Halves:
    """Where the halves of shifted frames lie, which nobody has put together. Frames and edge lie channels last."""
    frames, edge = shifted.frames, shifted.edge
    half = frames.shape[1] // 2

    def place(index: int, first: int) -> Half:
        if index != EDGE:
            return _half(frames, index, first)
        assert edge is not None
        return _half(edge, 0, first if edge.shape[1] == frames.shape[1] else 0)

    found = []
    past = shifted.direction is Direction.PAST
    indices = zip(shifted.own.tolist(), shifted.neighbour.tolist(), shifted.held.tolist(), strict=True)
    for own, neighbour, held in indices:
        if held:
            found += [place(own, 0), place(own, half)]
        elif past:
            found += [place(neighbour, half), place(own, 0)]
        else:
            found += [place(own, half), place(neighbour, 0)]
    return (Half * len(found))(*found)


def _at_once(size: torch.Size) -> int:
    """Frames that a gated block takes through its passes together."""
    library = kernels()
    assert library is not None
    return int(library.vsgshift_frames_at_once(size[0], size[-2], size[-1], torch.get_num_threads()))


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
        return self.run(halves_of(x.contiguous(memory_format=torch.channels_last)), x.shape, side)

    def run(self, halves: Halves, size: torch.Size, side: Tensor | None) -> Tensor:
        """As `forward`, of frames (T, C, H, W) whose halves lie anywhere."""
        out = _empty(*size)
        if size[0]:
            _call("vsgshift_gated", self.block, size, halves, side, _empty(_at_once(size), *size[1:]), out)
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
            self._align = Align(
                channels=step.arriving,
                offsets=self._offsets.data_ptr(),
                weights=self.keep(folding.depthwise_taps(step.align)),
            )
        self.fuse, self.refine = FastGatedBlock(step.fuse), FastGatedBlock(step.refine)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        if isinstance(time, LazyTimeline):
            shifted = time.shift_lazily(x, self.direction)
            fused = self._fused(shifted_halves(shifted), torch.Size((len(shifted.own), *x.shape[1:])))
            shifted.done()
        else:
            whole = time.shift(x, self.direction).contiguous(memory_format=torch.channels_last)
            fused = self._fused(halves_of(whole), whole.shape)
        out: Tensor = self.refine(fused)
        return out

    def _fused(self, halves: Halves, size: torch.Size) -> Tensor:
        side = _empty(size[0], self.arriving, *size[2:])
        if size[0]:
            first = 0 if self.direction is Direction.PAST else 1
            arrived = (Half * size[0])(*halves[first::2])
            _call("vsgshift_align", self._align, size, arrived, side)
        return self.fuse.run(halves, size, side)


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
            _call("vsgshift_residual", self.block, x.shape, x, out)
        return out
