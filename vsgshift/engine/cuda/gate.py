"""The second gate: grouped 5x5 and 3x3 convolutions with their skip, the 1x1 after them, and the gate.

    m = q + conv5(q) + conv3(q)        (a, b) = W · m        g = a · sigmoid(b)        q = s · p

Both convolutions and the skip are one 5x5 convolution (`engine.folding`). The scale s is denoising's channel attention,
one number per frame and channel, applied here so that no pass over p is spent on it. The sum of g over each frame is
taken on the way, before g is rounded, as partial sums over fixed sets of tiles that `attention` adds up.

m is made for a few channels at a time and goes straight into the product, so it is never stored.
Depthwise (small, tiny), a tap is a multiplication in float32. In groups of 8 (plus), a tap is a small
matrix product of 16 channels, two groups on the diagonal: half of its operations are zeros, which a
tensor core has to spare.

Per pixel: reads C, writes C elements.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.attention import parts_of
from vsgshift.engine.cuda.halves import dense, empty, kind, precision
from vsgshift.engine.cuda.tuning import Kernel, measures
from vsgshift.engine.folding import taps

CHUNK = 16
"""Channels that a tap's matrix product takes at once: the smallest that a tensor core does."""


@triton.jit(do_not_specialize=["height", "width"])
def _gate(
    p, scale, mix, weight, out, partial, height, width,
    C: tl.constexpr, C_PADDED: tl.constexpr, GROUPED: tl.constexpr, SCALED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    BLOCK: tl.constexpr = BLOCK_H * BLOCK_W
    # The table of grouped weights is laid out for this chunk.
    tl.static_assert(BLOCK_K == 16)
    part = tl.program_id(0)
    parts = tl.num_programs(0)
    frame = tl.program_id(1)
    dtype = out.dtype.element_ty
    first = frame.to(tl.int64) * height * width * C
    source = p + first
    target = out + first
    tiles_x = tl.cdiv(width, BLOCK_W)
    tiles = tiles_x * tl.cdiv(height, BLOCK_H)
    index = tl.arange(0, BLOCK)
    column = tl.arange(0, C_PADDED)
    pooled = tl.zeros((C_PADDED,), tl.float32)
    for tile in range(part, tiles, parts):
        y = (tile // tiles_x) * BLOCK_H + index // BLOCK_W
        x = (tile % tiles_x) * BLOCK_W + index % BLOCK_W
        exists = (y < height) & (x < width)
        a = tl.zeros((BLOCK, C_PADDED), tl.float32)
        b = tl.zeros((BLOCK, C_PADDED), tl.float32)
        for k in range(0, C, BLOCK_K):
            channel = k + tl.arange(0, BLOCK_K)
            known = channel < C
            if SCALED:
                factor = tl.load(scale + frame * C + channel, mask=known, other=0.0)
            total = tl.zeros((BLOCK, BLOCK_K), tl.float32)
            # Rows one after the other, so that the loads of one at most wait for registers.
            for i in range(5):
                for j in tl.static_range(5):
                    tap = i * 5 + j
                    row = y + i - 2
                    col = x + j - 2
                    within = (row >= 0) & (row < height) & (col >= 0) & (col < width)
                    value = tl.load(
                        source + (row * width + col)[:, None] * C + channel[None, :],
                        mask=within[:, None] & known[None, :],
                        other=0.0,
                    )
                    if GROUPED:
                        if SCALED:
                            value = (value.to(tl.float32) * factor[None, :]).to(dtype)
                        # (25, C, CHUNK): the rows of two groups, and the outputs of both side by side.
                        block = tl.load(
                            mix + (tap * C + channel)[:, None] * BLOCK_K + tl.arange(0, BLOCK_K)[None, :],
                            mask=known[:, None],
                            other=0.0,
                        )
                        total = tl.dot(value, block, total, input_precision=PRECISION)
                    else:
                        weights = tl.load(mix + tap * C + channel, mask=known, other=0.0)
                        total += value.to(tl.float32) * weights[None, :]
            if SCALED and not GROUPED:
                total *= factor[None, :]
            mixed = total.to(dtype)
            both = known[:, None] & (column < C)[None, :]
            pointer = weight + channel[:, None] * (2 * C) + column[None, :]
            a = tl.dot(mixed, tl.load(pointer, mask=both, other=0.0), a, input_precision=PRECISION)
            b = tl.dot(mixed, tl.load(pointer + C, mask=both, other=0.0), b, input_precision=PRECISION)
        gated = a * tl.sigmoid(b)
        mask = exists[:, None] & (column < C)[None, :]
        tl.store(target + (y * width + x)[:, None] * C + column[None, :], gated.to(dtype), mask=mask)
        pooled += tl.sum(tl.where(mask, gated, 0.0), 0)
    tl.store(partial + (frame * parts + part) * C + column, pooled, mask=column < C)


KERNEL = Kernel(
    _gate,
    # One stage: with more, the compiler takes the loads of the taps through shared memory, a stage each. Tiles are
    # small for the registers: with more pixels a thread, or fewer registers by decree, it spills
    # (scripts/compile_kernels.py).
    [
        {"BLOCK_H": 4, "BLOCK_W": 8, "BLOCK_K": 16, "num_warps": 4, "num_stages": 1},
        {"BLOCK_H": 8, "BLOCK_W": 8, "BLOCK_K": 16, "num_warps": 8, "num_stages": 1},
    ],
)


def layout(mix: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight of the convolution, (C, channels of a group, 5, 5), in the layout that suits its groups.

    Returns:
        (25, C), float32, for depthwise ones, or (25, C, 16) of the data type for groups of 8: for each tap
        and input channel, what it gives to the 16 outputs of its chunk.

    Raises:
        ValueError: the groups are neither of 1 nor of 8 channels, or do not fill chunks of 16.
    """
    channels, size = mix.shape[:2]
    if size == 1:
        return taps(mix)
    if size != 8 or channels % CHUNK:
        raise ValueError(f"the gate kernel takes groups of 1 or 8 channels, not {channels} in groups of {size}")
    index = torch.arange(channels, device=mix.device)
    table = mix.new_zeros((25, channels, CHUNK))
    # Output o of a group reads the group's inputs, whose index within the group is the weight's axis 1.
    inputs = (index // size * size)[:, None] + torch.arange(size, device=mix.device)
    table[:, inputs, (index % CHUNK)[:, None]] = mix.flatten(2).permute(2, 0, 1)
    return table.to(dtype)


def gate(p: Tensor, scale: Tensor | None, mix: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve, widen and gate.

    Args:
        p: (T, C, H, W).
        scale: (T, C), float32, or None for no scaling.
        mix: from `layout`.
        weight: (C, 2C), from `halves.columns`.

    Returns:
        (T, C, H, W), and its partial sums (T, parts, C), float32.
    """
    p = dense(p)
    frames, channels, height, width = p.shape
    out = empty(p, frames, channels)
    parts = parts_of(height, width)
    partial = p.new_empty((frames, parts, channels), dtype=torch.float32)
    if not frames:
        return out, partial
    grouped = mix.ndim == 3
    how = f"{'grouped' if grouped else 'depthwise'}{'' if scale is None else ' scaled'}"
    KERNEL.launch(
        out,
        f"{measures(frames, height, width, channels)} {kind(out.dtype)} {how}",
        lambda config: (parts, frames),
        p, partial if scale is None else scale, mix, weight, out, partial, height, width,
        C=channels, C_PADDED=triton.next_power_of_2(channels), GROUPED=grouped, SCALED=scale is not None,
        PRECISION=precision(out.dtype),
    )  # fmt: skip
    return out, partial
