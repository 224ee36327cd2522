"""Modules that run the compiled kernels in place of the plain ones. Outputs are channels-last.

The kernels compute in float32; a shift step in a network of bfloat16 converts what it is given and what it gives.
"""

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.engine import folding
from vsgshift.engine.cpu.library import Align, Attention, Gated, Half, Merge, Residual, kernels
from vsgshift.network import merge as definition
from vsgshift.network.gated import GatedBlock, ShiftStep
from vsgshift.network.layers import ChannelAttention, ResidualBlock
from vsgshift.network.merged import LARGEST, MOST_NOISE, SHUFFLE, MergedInput, MergedOutput
from vsgshift.network.shift import Direction, channel_offsets
from vsgshift.network.shifted import EDGE, Shifted
from vsgshift.network.timeline import LazyTimeline, Timeline, Window


def _empty(frames: int, channels: int, height: int, width: int) -> Tensor:
    return torch.empty((frames, channels, height, width), memory_format=torch.channels_last)


class _Native(nn.Module):
    """Owns the tensors that the library's structures point to."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []

    def keep(self, tensor: Tensor) -> int:
        """Return the address of a float32 copy that lives as long as this module."""
        own = tensor.detach().to(torch.float32).contiguous().clone()
        self._kept.append(own)
        return own.data_ptr()

    def attention(self, module: nn.Module) -> Attention:
        if not isinstance(module, ChannelAttention):
            return Attention(0, None, None)
        squeeze, excite = module.squeeze.weight.flatten(1), module.excite.weight.flatten(1)
        return Attention(len(squeeze), self.keep(squeeze), self.keep(excite))


def _library() -> ctypes.CDLL:
    library = kernels()
    assert library is not None
    return library


def _done(result: int) -> None:
    """Raise MemoryError if a kernel says that there was not enough memory."""
    if not result:
        raise MemoryError("not enough memory")


Halves = ctypes.Array[Half]
"""Two for each frame."""


def _call(function: str, block: ctypes.Structure, size: torch.Size, *operands: Tensor | Halves | None) -> None:
    """Run a kernel on all of torch's threads, for frames of size (T, ..., H, W). Raises MemoryError."""
    frames, height, width = size[0], size[-2], size[-1]
    pointers = [operand.data_ptr() if isinstance(operand, Tensor) else operand for operand in operands]
    run = getattr(_library(), function)
    _done(run(ctypes.byref(block), frames, height, width, *pointers, torch.get_num_threads()))


def _half(x: Tensor, frame: int, first: int) -> Half:
    """Half of the channels, from `first` on, of one frame of a channels-last (T, C, H, W)."""
    return Half(x.data_ptr() + x.element_size() * (frame * x.stride(0) + first), x.stride(3))


def halves_of(x: Tensor) -> Halves:
    """The halves of each frame of (T, C, H, W)."""
    half = x.shape[1] // 2
    return (Half * (2 * len(x)))(*(_half(x, frame, first) for frame in range(len(x)) for first in (0, half)))


def shifted_halves(shifted: Shifted) -> Halves:
    """The halves of shifted frames, in place. Frames and edge are channels-last."""
    frames, edge = shifted.frames, shifted.edge
    half = frames.shape[1] // 2

    def half_of(index: int, first: int) -> Half:
        if index != EDGE:
            return _half(frames, index, first)
        assert edge is not None
        return _half(edge, 0, first if edge.shape[1] == frames.shape[1] else 0)

    halves: list[Half] = []
    past = shifted.direction is Direction.PAST
    indices = zip(shifted.own.tolist(), shifted.neighbour.tolist(), shifted.held.tolist(), strict=True)
    for own, neighbour, held in indices:
        if held:
            halves += [half_of(own, 0), half_of(own, half)]
        elif past:
            halves += [half_of(neighbour, half), half_of(own, 0)]
        else:
            halves += [half_of(own, half), half_of(neighbour, 0)]
    return (Half * len(halves))(*halves)


def _at_once(size: torch.Size) -> int:
    """Frames that a gated block takes through its passes together."""
    return int(_library().vsgshift_frames_at_once(size[0], size[-2], size[-1], torch.get_num_threads()))


MOST_CHANNELS = 192
"""The kernels' own limit."""


def _check_widths(*channels: int, whole: bool) -> None:
    """Raise ValueError for widths that the kernels do not take; every variant of the family is within."""
    if max(channels) > MOST_CHANNELS or (whole and any(width % 8 for width in channels)):
        raise ValueError(f"the kernels for the CPU take up to {MOST_CHANNELS} channels, not {channels}")


PANEL, HALF_PANEL = 16, 8


def panels(weight: Tensor) -> Tensor:
    """(outputs, inputs) in the order in which the tiles of `native/vectors.h` read it, flat.

    For each 16 outputs, and for each input, 16 weights; 8 if no more than 8 outputs are left.
    """
    parts = []
    outputs = len(weight)
    first = 0
    while first < outputs:
        width = PANEL if outputs - first > HALF_PANEL else HALF_PANEL
        panel = weight[first : first + width]
        parts.append(F.pad(panel, (0, 0, 0, width - len(panel))).t().reshape(-1))
        first += width
    return torch.cat(parts)


def tap_major(weight: Tensor) -> Tensor:
    """(outputs, inputs, K, K) as (outputs, K * K * inputs): the order of channels-last pixels."""
    return weight.detach().permute(0, 2, 3, 1).flatten(1)


class FastGatedBlock(_Native):
    """`GatedBlock`: (T, C, H, W), side (T, S, H, W) -> (T, C, H, W)."""

    def __init__(self, block: GatedBlock) -> None:
        super().__init__()
        folded = folding.gated(block)
        channels, group = len(folded.project), folded.mix.shape[1]
        side = folded.expand.shape[1] - channels
        _check_widths(channels + side, channels, side, whole=True)
        # For each group: taps in order, of each the group's inputs, of each its outputs.
        mix = folded.mix.view(channels // group, group, group, 25).permute(0, 3, 2, 1)
        self.block = Gated(
            channels=channels,
            side=side,
            group=group,
            expand=self.keep(panels(folded.expand)),
            expand_bias=self.keep(folded.expand_bias),
            depthwise=self.keep(folding.taps(folded.depthwise)),
            first=self.attention(block.gate_attention),
            mix=self.keep(folding.taps(folded.mix) if group == 1 else mix),
            gate=self.keep(panels(folded.gate)),
            second=self.attention(block.attention),
            project=self.keep(panels(folded.project)),
            project_bias=self.keep(folded.project_bias),
        )

    def forward(self, x: Tensor, side: Tensor | None = None) -> Tensor:
        return self.run(halves_of(x.contiguous(memory_format=torch.channels_last)), x.shape, side)

    def run(self, halves: Halves, size: torch.Size, side: Tensor | None) -> Tensor:
        """As `forward`, of frames (T, C, H, W) whose halves are anywhere."""
        out = _empty(*size)
        if size[0]:
            _call("vsgshift_gated", self.block, size, halves, side, _empty(_at_once(size), *size[1:]), out)
        return out


class FastShiftStep(_Native):
    """`ShiftStep`: (T, C, H, W) -> same."""

    def __init__(self, step: ShiftStep) -> None:
        super().__init__()
        self.direction, self.arriving = step.direction, step.arriving
        self._offsets = channel_offsets(step.arriving).to(torch.int16)
        self._align = Align(
            channels=step.arriving, offsets=self._offsets.data_ptr(), weights=self.keep(folding.taps(step.align.weight))
        )
        self.fuse, self.refine = FastGatedBlock(step.fuse), FastGatedBlock(step.refine)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        dtype = x.dtype
        x = x.to(torch.float32, memory_format=torch.channels_last)
        if isinstance(time, LazyTimeline):
            shifted = time.shift_lazily(x, self.direction)
            fused = self._fused(shifted_halves(shifted), torch.Size((len(shifted.own), *x.shape[1:])))
            shifted.done()
        else:
            whole = time.shift(x, self.direction).contiguous(memory_format=torch.channels_last)
            fused = self._fused(halves_of(whole), whole.shape)
        out: Tensor = self.refine(fused)
        return out.to(dtype)

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
        self.block = Residual(
            channels=channels,
            first=self.keep(panels(tap_major(block.conv1.weight))),
            second=self.keep(panels(tap_major(block.conv2.weight))),
            attention=self.attention(block.attention),
        )

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = _empty(*x.shape)
        if len(x):
            self.block.slope = slope.data_ptr()
            _call("vsgshift_residual", self.block, x.shape, x, out)
        return out


class SingleConv(nn.Conv2d):
    """A convolution in float32 whose result is bfloat16: as the first of a network, so that frames are not rounded."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)  # type: ignore[arg-type]
        self.load_state_dict(conv.state_dict())
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).bfloat16()


class FastMerge(definition.Merge):
    """`vsgshift.network.merge.Merge`, of float32 frames on the CPU."""

    def keep(self, clip: Tensor) -> Sequence[Tensor]:
        height, width = clip.shape[2:]
        size = _library().vsgshift_kept_size(height, width)
        kept = []
        for frame in clip:
            planes = frame if frame.stride(2) == 1 else frame.contiguous()
            kept.append(torch.empty(size, dtype=torch.uint8))
            pointers = planes.data_ptr(), planes.stride(0), planes.stride(1), kept[-1].data_ptr()
            _done(_library().vsgshift_keep(height, width, *pointers, torch.get_num_threads()))
        return kept

    def forward(self, window: Window, noise: Tensor) -> tuple[Tensor, Tensor]:
        frames, _, half_height, half_width = noise.shape
        noise = noise.contiguous()
        change = noise.new_empty(frames, 3, 2 * half_height, 2 * half_width)
        remaining = noise.new_empty(frames, 3, half_height, half_width)
        for index, (own, before, after) in enumerate(zip(window.own, window.before, window.after, strict=True)):
            order = [*range(own - 1, own - before - 1, -1), *range(own + 1, own + after + 1), own]
            kept = (ctypes.c_void_p * len(order))(*(window.frames[number].data_ptr() for number in order))
            merge = Merge(
                height=2 * half_height,
                width=2 * half_width,
                before=before,
                after=after,
                fall=definition.FALL,
                free=definition.FREE,
                common=definition.COMMON,
                doubt=definition.DOUBT,
                kept=ctypes.addressof(kept),
                noise=noise[index].data_ptr(),
                change=change[index].data_ptr(),
                remaining=remaining[index].data_ptr(),
            )
            _done(_library().vsgshift_merge(ctypes.byref(merge), torch.get_num_threads()))
        return change, remaining


class FastMergedInput(MergedInput):
    """`MergedInput`, of float32 frames on the CPU."""

    def forward(self, clip: Tensor, change: Tensor, noise: Tensor, left: Tensor) -> Tensor:
        frames, _, height, width = left.shape
        channels = 2 * clip.shape[1] * SHUFFLE**2 + noise.shape[1] + left.shape[1]
        out = _empty(frames, channels, height, width)
        given = [each.contiguous() for each in (clip, change, noise, left)]
        pointers = [each.data_ptr() for each in (*given, out)]
        _done(_library().vsgshift_merged_input(frames, height, width, *pointers, torch.get_num_threads()))
        return out


class FastMergedOutput(MergedOutput):
    """`MergedOutput`, of float32 frames on the CPU."""

    def forward(self, x: Tensor, source: Tensor, change: Tensor, noise: Tensor, strength: float) -> Tensor:
        frames, _, height, width = x.shape
        x = x.to(torch.float32, memory_format=torch.channels_last)
        source = source.contiguous()
        out = torch.empty_like(source)
        given = [each.data_ptr() for each in (x, source, change.contiguous(), noise.contiguous())]
        strengths = (ctypes.c_float * 3)(LARGEST, MOST_NOISE, strength)
        size = frames, height, width
        _done(_library().vsgshift_merged_output(*size, *given, strengths, out.data_ptr(), torch.get_num_threads()))
        return out
