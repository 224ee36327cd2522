"""The residual block: two 3x3 convolutions, each with what follows it, and the scaled sum.

    h = prelu(conv1(x))        g = conv2(h), and its sums        out = x + s · g

The scale s is the channel attention that `attention` makes of the sums, taken before g is rounded. A tap is a matrix
product over the channels of the pixels beside; sums are float32.

Per pixel: the convolutions read and write C elements each, the sum reads 2C and writes C.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.attention import parts_of
from vsgshift.engine.cuda.halves import dense, empty, kind, precision
from vsgshift.engine.cuda.tuning import Config, Kernel, measures


@triton.jit(do_not_specialize=["height", "width"])
def _convolve(
    x, weight, slope, out, partial, height, width,
    C: tl.constexpr, POOL: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # Blocks of the channels of a tile one after the other: they read the same pixels.
    BLOCKS: tl.constexpr = (C + BLOCK_N - 1) // BLOCK_N
    CHUNKS: tl.constexpr = (C + BLOCK_K - 1) // BLOCK_K
    part = tl.program_id(0) // BLOCKS
    parts = tl.num_programs(0) // BLOCKS
    frame = tl.program_id(1)
    column = (tl.program_id(0) % BLOCKS) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = frame.to(tl.int64) * height * width * C
    tiles_x = tl.cdiv(width, BLOCK_W)
    tiles = tiles_x * tl.cdiv(height, BLOCK_H)
    index = tl.arange(0, BLOCK_H * BLOCK_W)
    pooled = tl.zeros((BLOCK_N,), tl.float32)
    for tile in range(part, tiles, parts):
        top = (tile // tiles_x) * BLOCK_H + index // BLOCK_W
        left = (tile % tiles_x) * BLOCK_W + index % BLOCK_W
        total = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_N), tl.float32)
        for step in range(9 * CHUNKS):
            tap = step // CHUNKS
            channel = step % CHUNKS * BLOCK_K + tl.arange(0, BLOCK_K)
            known = channel < C
            row = top + tap // 3 - 1
            col = left + tap % 3 - 1
            within = (row >= 0) & (row < height) & (col >= 0) & (col < width)
            value = tl.load(
                x + first + (row * width + col)[:, None] * C + channel[None, :],
                mask=within[:, None] & known[None, :],
                other=0.0,
            )
            matrix = tl.load(
                weight + (tap * C + channel)[:, None] * C + column[None, :],
                mask=known[:, None] & (column < C)[None, :],
                other=0.0,
            )
            total = tl.dot(value, matrix, total, input_precision=PRECISION)
        mask = ((top < height) & (left < width))[:, None] & (column < C)[None, :]
        if POOL:
            pooled += tl.sum(tl.where(mask, total, 0.0), 0)
        else:
            total = tl.where(total > 0, total, total * tl.load(slope).to(tl.float32))
        target = out + first + (top * width + left)[:, None] * C + column[None, :]
        tl.store(target, total.to(out.dtype.element_ty), mask=mask)
    if POOL:
        tl.store(partial + (frame * parts + part) * C + column, pooled, mask=column < C)


@triton.jit(do_not_specialize=["size"])
def _scaled_sum(x, g, scale, out, size, C: tl.constexpr, BLOCK: tl.constexpr):
    frame = tl.program_id(1)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = index < size
    factor = tl.load(scale + frame * C + index % C, mask=known, other=0.0)
    place = frame.to(tl.int64) * size + index
    added = tl.load(g + place, mask=known, other=0.0).to(tl.float32) * factor
    total = tl.load(x + place, mask=known, other=0.0).to(tl.float32) + added
    tl.store(out + place, total.to(out.dtype.element_ty), mask=known)


CONVOLVE = Kernel(
    _convolve,
    [
        {"BLOCK_H": 4, "BLOCK_W": 16, "BLOCK_N": 32, "BLOCK_K": 16, "num_warps": 4, "num_stages": 3},
        {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4, "num_stages": 2},
        {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_N": 16, "BLOCK_K": 16, "num_warps": 8, "num_stages": 3},
    ],
    BLOCK_K="C",
)
SCALED_SUM = Kernel(_scaled_sum, [{"BLOCK": 2048, "num_warps": 4}, {"BLOCK": 1024, "num_warps": 4}])


def layout(weight: Tensor) -> Tensor:
    """A 3x3 convolution's weight, (C, C, 3, 3), as (9, C, C): for each tap, what each channel gives to the outputs."""
    return weight.detach().permute(2, 3, 1, 0).flatten(0, 1).contiguous()


def convolve(x: Tensor, weight: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Convolve, and then activate or sum.

    Args:
        x: (T, C, H, W), T at least 1.
        weight: from `layout`, of the type of ``x``.
        slope: (1,), of the PReLU; or None for sums.

    Returns:
        (T, C, H, W), and without a slope its partial sums (T, parts, C), float32.
    """
    x = dense(x)
    frames, channels, height, width = x.shape
    out = empty(x, frames, channels)
    parts = parts_of(height, width)
    partial = x.new_empty((frames, parts, channels), dtype=torch.float32) if slope is None else None

    def grid(config: Config) -> tuple[int, ...]:
        tiles = triton.cdiv(height, config["BLOCK_H"]) * triton.cdiv(width, config["BLOCK_W"])
        return (tiles if partial is None else parts) * triton.cdiv(channels, config["BLOCK_N"]), frames

    CONVOLVE.launch(
        out,
        f"{measures(frames, height, width, channels)} {kind(out.dtype)}{' pooled' if slope is None else ''}",
        grid,
        x, weight, weight if slope is None else slope, out, out if partial is None else partial, height, width,
        C=channels, POOL=slope is None, PRECISION=precision(out.dtype),
    )  # fmt: skip
    return out, partial


def scaled_sum(x: Tensor, g: Tensor, scale: Tensor) -> Tensor:
    """``x + scale * g`` of (T, C, H, W), with scale (T, C), float32."""
    x = dense(x)
    frames, channels, height, width = x.shape
    out = empty(x, frames, channels)
    size = channels * height * width
    SCALED_SUM.launch(
        out,
        f"{measures(frames, height, width, channels)} {kind(out.dtype)}",
        lambda config: (triton.cdiv(size, config["BLOCK"]), frames),
        x, dense(g), scale, out, size,
        C=channels,
    )  # fmt: skip
    return out
