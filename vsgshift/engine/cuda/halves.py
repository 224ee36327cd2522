"""Read a temporal shift without carrying it out: pointers to the two halves of each frame.

A shifted frame is two halves of C/2 channels; each is contiguous in some frame, at channel 0 or C/2.
Kernels ask `bases` for pointers to both and read channel k of a pixel from the first half's pointer
if k < C/2, else from the second's. A frame that is not shifted is the same with both in itself.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.network import shifted
from vsgshift.network.shift import Direction
from vsgshift.network.shifted import Shifted

_EDGE = tl.constexpr(shifted.EDGE)
UNSHIFTED, PAST, FUTURE = 0, 1, 2
_PAST = tl.constexpr(PAST)


@triton.jit
def bases(
    frames, edge, own, neighbour, held, frame, pixels,
    C: tl.constexpr, EDGE_C: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """Pointers to pixel 0 of both halves of one frame, and the elements from pixel to pixel of each."""
    HALF: tl.constexpr = C // 2
    # 64 bits: a batch of large frames has more than 2^31 elements, a frame has not.
    size = pixels.to(tl.int64) * C
    if SHIFT == 0:
        first = frames + frame * size
        second = first + HALF
        first_stride = C
    else:
        mine_index = tl.load(own + frame)
        beside_index = tl.load(neighbour + frame)
        stays = tl.load(held + frame)
        mine = tl.where(mine_index == _EDGE, edge, frames + mine_index * size)
        at_edge = beside_index == _EDGE
        if SHIFT == _PAST:
            arriving = tl.where(at_edge, edge + (EDGE_C - HALF), frames + (beside_index * size + HALF))
            first = tl.where(stays, mine, arriving)
            second = tl.where(stays, mine + HALF, mine)
            first_stride = tl.where(at_edge & ~stays, EDGE_C, C)
        else:
            first = tl.where(stays, mine, mine + HALF)
            second = tl.where(stays, mine + HALF, frames + beside_index * size)
            first_stride = C
    return first, second, first_stride


@triton.jit
def load_row(
    first, second, first_stride, pixel, within, channel,
    C: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """Channels (N,) of pixels (M,): (M, N). Outside the frame or the C channels it is 0."""
    HALF: tl.constexpr = C // 2
    if SHIFT == 0:
        return tl.load(
            first + pixel[:, None] * C + channel[None, :], mask=within[:, None] & (channel < C)[None, :], other=0.0
        )
    else:
        # Of the two loads of an element at most one is carried out; the other gives 0.
        here = within[:, None] & (channel < HALF)[None, :]
        there = within[:, None] & ((channel >= HALF) & (channel < C))[None, :]
        return tl.load(first + pixel[:, None] * first_stride + channel[None, :], mask=here, other=0.0) + tl.load(
            second + pixel[:, None] * C + (channel - HALF)[None, :], mask=there, other=0.0
        )


@dataclass(frozen=True)
class Operand:
    """The arguments of `bases`, for a tensor or for a shift that is not carried out."""

    frames: Tensor
    edge: Tensor
    own: Tensor
    neighbour: Tensor
    held: Tensor
    shift: int
    count: int

    @staticmethod
    def of(x: Tensor | Shifted) -> "Operand":
        """The arguments for ``x``, which is copied if it is not channels-last."""
        if isinstance(x, Tensor):
            x = dense(x)
            return Operand(x, x, x, x, x, UNSHIFTED, len(x))
        frames = dense(x.frames)
        edge = frames if x.edge is None else dense(x.edge)
        shift = PAST if x.direction is Direction.PAST else FUTURE
        return Operand(frames, edge, x.own, x.neighbour, x.held, shift, len(x.own))

    @property
    def pointers(self) -> tuple[Tensor, ...]:
        return self.frames, self.edge, self.own, self.neighbour, self.held

    @property
    def constants(self) -> dict[str, int]:
        return {"C": self.frames.shape[1], "EDGE_C": self.edge.shape[1], "SHIFT": self.shift}

    @property
    def pixels(self) -> int:
        return self.frames.shape[2] * self.frames.shape[3]

    def empty(self, channels: int) -> Tensor:
        """A tensor for the outcome: as many frames as come out, of this many channels."""
        return empty(self.frames, self.count, channels)


def dense(x: Tensor) -> Tensor:
    """``x`` with the channels of a pixel side by side."""
    return x.contiguous(memory_format=torch.channels_last)


def empty(like: Tensor, frames: int, channels: int) -> Tensor:
    """(frames, channels, H, W) of the size, type and device of ``like``, channels-last, not filled."""
    shape = (frames, channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def columns(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A 1x1 convolution's weight (outputs, inputs) as the kernels read it: (inputs, outputs) of a data type."""
    return weight.T.contiguous().to(dtype)


def precision(dtype: torch.dtype) -> str:
    """The ``input_precision`` of ``tl.dot`` for this type: float32 is not to be rounded to tf32."""
    return "ieee" if dtype == torch.float32 else "tf32"


def kind(dtype: torch.dtype) -> str:
    """The short name of a data type, for keys."""
    return str(dtype).removeprefix("torch.")
