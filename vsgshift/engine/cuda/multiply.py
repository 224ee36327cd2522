"""The first gate: 3x3 depthwise convolution with its skip, and the product of the two halves.

    h = z + depthwise3(z)        p[c] = h[c] · h[C + c]

The skip is folded into the kernel (`engine.folding`). Where channel attention follows, the sum of p over
each frame is taken on the way, before p is rounded to storage precision, as partial sums over fixed
sets of tiles that `attention` adds up.

A program works on one block of the channels of a two-dimensional tile: its rim is the part that is
read again by neighbours, and a square has little.

Per pixel: reads 2C, writes C elements.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.attention import parts_of
from vsgshift.engine.cuda.halves import dense, empty, kind
from vsgshift.engine.cuda.tuning import Config, Kernel, measures


@triton.jit(do_not_specialize=["height", "width"])
def _multiply(
    z, weight, out, partial, height, width,
    C: tl.constexpr, POOL: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    # Blocks of the channels of a tile one after the other: they share cache lines.
    BLOCKS: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    part = tl.program_id(0) // BLOCKS
    parts = tl.num_programs(0) // BLOCKS
    frame = tl.program_id(1)
    channel = (tl.program_id(0) % BLOCKS) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channel < C
    source = z + frame.to(tl.int64) * height * width * (2 * C)
    target = out + frame.to(tl.int64) * height * width * C
    tiles_x = tl.cdiv(width, BLOCK_W)
    tiles = tiles_x * tl.cdiv(height, BLOCK_H)
    index = tl.arange(0, BLOCK_H * BLOCK_W)
    pooled = tl.zeros((BLOCK_C,), tl.float32)
    for tile in range(part, tiles, parts):
        y = (tile // tiles_x) * BLOCK_H + index // BLOCK_W
        x = (tile % tiles_x) * BLOCK_W + index % BLOCK_W
        a = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), tl.float32)
        b = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), tl.float32)
        for i in tl.static_range(3):
            for j in tl.static_range(3):
                row = y + i - 1
                col = x + j - 1
                within = (row >= 0) & (row < height) & (col >= 0) & (col < width)
                mask = within[:, None] & known[None, :]
                pointer = source + (row * width + col)[:, None] * (2 * C) + channel[None, :]
                taps = weight + (i * 3 + j) * (2 * C) + channel
                a += tl.load(pointer, mask=mask, other=0.0).to(tl.float32) * tl.load(taps, known, other=0.0)[None, :]
                b += tl.load(pointer + C, mask=mask, other=0.0).to(tl.float32) * tl.load(taps + C, known, 0.0)[None, :]
        product = a * b
        mask = ((y < height) & (x < width))[:, None] & known[None, :]
        tl.store(target + (y * width + x)[:, None] * C + channel[None, :], product.to(out.dtype.element_ty), mask=mask)
        if POOL:
            pooled += tl.sum(tl.where(mask, product, 0.0), 0)
    if POOL:
        tl.store(partial + (frame * parts + part) * C + channel, pooled, mask=known)


KERNEL = Kernel(
    _multiply,
    [
        {"BLOCK_H": 4, "BLOCK_W": 8, "BLOCK_C": 64, "num_warps": 8, "num_stages": 1},
        {"BLOCK_H": 4, "BLOCK_W": 8, "BLOCK_C": 64, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 4, "BLOCK_W": 8, "BLOCK_C": 32, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 8, "BLOCK_W": 8, "BLOCK_C": 16, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_C": 32, "num_warps": 8, "num_stages": 1},
    ],
)


def multiply(z: Tensor, weight: Tensor, *, pool: bool) -> tuple[Tensor, Tensor | None]:
    """Convolve and gate.

    Args:
        z: (T, 2C, H, W).
        weight: (9, 2C), float32, from `folding.taps`; the skip is in it.
        pool: whether to sum over each frame.

    Returns:
        (T, C, H, W), and the partial sums (T, parts, C), float32, if asked for.
    """
    z = dense(z)
    frames, doubled, height, width = z.shape
    channels = doubled // 2
    out = empty(z, frames, channels)
    parts = parts_of(height, width)
    partial = z.new_empty((frames, parts, channels), dtype=torch.float32) if pool else None
    if not frames:
        return out, partial

    def grid(config: Config) -> tuple[int, ...]:
        tiles = triton.cdiv(height, config["BLOCK_H"]) * triton.cdiv(width, config["BLOCK_W"])
        return (parts if pool else tiles) * triton.cdiv(channels, config["BLOCK_C"]), frames

    KERNEL.launch(
        out,
        f"{measures(frames, height, width, channels)} {kind(out.dtype)}{' pooled' if pool else ''}",
        grid,
        z, weight, out, out if partial is None else partial, height, width,
        C=channels, POOL=pool,
    )  # fmt: skip
    return out, partial
