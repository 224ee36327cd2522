"""Grouped spatial shift and 3x3 depthwise convolution of the channels that a temporal shift brought.

    out[t, c, y, x] = sum over taps (i, j) of w[c, i, j] * shifted[t, c, y + i, x + j]
    shifted[t, c, y, x] = arrived[t, c, y - dy(c), x - dx(c)]

with zero wherever an index leaves the frame, in either line; dy, dx are `network.shift.OFFSETS`
(Li et al., CVPR 2023). The arrived half is read from the neighbouring frame itself.

A program works on a tile of *source* pixels: the nine loads take neighbouring channels of a pixel
at once, and only the store, once per channel group, goes where the group is shifted to. The other
way round all nine loads would be scattered. Source positions reach 8 pixels past the frame, so that
every output is written exactly once, the vacated ones as zero.

Per pixel: reads C/2, writes C/2 elements.
"""

import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.halves import PAST, Operand, bases, kind
from vsgshift.engine.cuda.tuning import Config, Kernel, measures
from vsgshift.network.shift import MARGIN
from vsgshift.network.shifted import Shifted

_PAST = tl.constexpr(PAST)


@triton.jit(do_not_specialize=["height", "width"])
def _align(
    frames, edge, own, neighbour, held, offsets, weight, out, height, width,
    C: tl.constexpr, EDGE_C: tl.constexpr, SHIFT: tl.constexpr, TAKE_FIRST: tl.constexpr, MARGIN: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    HALF: tl.constexpr = C // 2
    # Blocks of the channels of a tile one after the other: they share cache lines.
    BLOCKS: tl.constexpr = (HALF + BLOCK_C - 1) // BLOCK_C
    tile = tl.program_id(0) // BLOCKS
    tiles_x = tl.cdiv(width + 2 * MARGIN, BLOCK_W)
    frame = tl.program_id(1)
    first, second, first_stride = bases(frames, edge, own, neighbour, held, frame, height * width, C, EDGE_C, SHIFT)
    if TAKE_FIRST:
        arrived = first
        stride = first_stride
    else:
        arrived = second
        stride = C
    index = tl.arange(0, BLOCK_H * BLOCK_W)
    y = (tile // tiles_x) * BLOCK_H - MARGIN + index // BLOCK_W
    x = (tile % tiles_x) * BLOCK_W - MARGIN + index % BLOCK_W
    channel = (tl.program_id(0) % BLOCKS) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channel < HALF
    dy = tl.load(offsets + channel, mask=known, other=0)
    dx = tl.load(offsets + HALF + channel, mask=known, other=0)
    to_y = y[:, None] + dy[None, :]
    to_x = x[:, None] + dx[None, :]

    total = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), tl.float32)
    for i in tl.static_range(-1, 2):
        for j in tl.static_range(-1, 2):
            within = (y + i >= 0) & (y + i < height) & (x + j >= 0) & (x + j < width)
            value = tl.load(
                arrived + ((y + i) * width + x + j)[:, None] * stride + channel[None, :],
                mask=within[:, None] & known[None, :],
                other=0.0,
            ).to(tl.float32)
            # The tap must not look past the frame where the pixel is going either.
            stays = (to_y + i >= 0) & (to_y + i < height) & (to_x + j >= 0) & (to_x + j < width)
            taps = tl.load(weight + ((i + 1) * 3 + j + 1) * HALF + channel, mask=known, other=0.0)
            total += tl.where(stays, value, 0.0) * taps[None, :]
    arrives = (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width) & known[None, :]
    target = out + frame.to(tl.int64) * height * width * HALF
    tl.store(target + (to_y * width + to_x) * HALF + channel[None, :], total.to(out.dtype.element_ty), mask=arrives)


KERNEL = Kernel(
    _align,
    [
        {"BLOCK_H": 4, "BLOCK_W": 16, "BLOCK_C": 16, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 4, "BLOCK_W": 16, "BLOCK_C": 32, "num_warps": 8, "num_stages": 1},
        {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_C": 8, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 2, "BLOCK_W": 16, "BLOCK_C": 64, "num_warps": 4, "num_stages": 1},
    ],
)


def align(x: Shifted | Tensor, offsets: Tensor, weight: Tensor, *, past: bool) -> Tensor:
    """The side channels of a shift step.

    Args:
        x: the temporal shift, or the shifted tensor, (T, C, H, W).
        offsets: (2, C/2), `network.shift.channel_offsets` transposed, on the device.
        weight: (9, C/2), float32, from `folding.taps`.
        past: whether the arrived half are the first C/2 channels (else the last).

    Returns:
        (T, C/2, H, W).
    """
    operand = Operand.of(x)
    channels, height, width = operand.frames.shape[1:]
    half = channels // 2
    out = operand.empty(half)
    if not operand.count:
        return out
    tall, wide = height + 2 * MARGIN, width + 2 * MARGIN

    def grid(config: Config) -> tuple[int, ...]:
        tiles = triton.cdiv(tall, config["BLOCK_H"]) * triton.cdiv(wide, config["BLOCK_W"])
        return tiles * triton.cdiv(half, config["BLOCK_C"]), operand.count

    KERNEL.launch(
        out,
        f"{measures(operand.count, height, width, channels)} {kind(out.dtype)}",
        grid,
        *operand.pointers, offsets, weight, out, height, width,
        TAKE_FIRST=past, MARGIN=MARGIN, **operand.constants,
    )  # fmt: skip
    return out
