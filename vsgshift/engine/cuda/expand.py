"""Layer normalisation over the channels of a pixel, and the 1x1 convolution after it.

    z = W · ((u - mean(u)) / sqrt(var(u) + eps)) + b        u = cat(x, side), var biased, eps = 1e-6

The norm's own weight and bias are folded into W and b (`engine.folding`). The parts of u are read
in place: the halves of a temporal shift from the frame and its neighbour, the side channels
from their own tensor; u is never stored. Mean and variance are taken in two passes over what is
in registers, in float32. The product is of storage precision with float32 sums.

Per pixel: reads C (and the side's C/2), writes 2C elements.
"""

import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.halves import Operand, bases, dense, kind, load_row, precision
from vsgshift.engine.cuda.tuning import Kernel, measures
from vsgshift.network.gated import EPS
from vsgshift.network.shifted import Shifted


@triton.jit
def _load(
    first, second, first_stride, side, pixel, within, channel,
    C: tl.constexpr, SIDE: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    row = load_row(first, second, first_stride, pixel, within, channel, C, SHIFT)
    if SIDE > 0:
        beside = within[:, None] & ((channel >= C) & (channel < C + SIDE))[None, :]
        row += tl.load(side + pixel[:, None] * SIDE + (channel - C)[None, :], mask=beside, other=0.0)
    return row.to(tl.float32)


@triton.jit(do_not_specialize=["pixels"])
def _expand(
    frames, edge, own, neighbour, held, side, weight, bias, out, pixels, eps,
    C: tl.constexpr, EDGE_C: tl.constexpr, SHIFT: tl.constexpr, SIDE: tl.constexpr, OUT: tl.constexpr,
    PADDED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    JOINED: tl.constexpr = C + SIDE
    frame = tl.program_id(1)
    pixel = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    within = pixel < pixels
    first, second, first_stride = bases(frames, edge, own, neighbour, held, frame, pixels, C, EDGE_C, SHIFT)
    side_frame = side + frame.to(tl.int64) * pixels * SIDE
    dtype = out.dtype.element_ty

    every = tl.arange(0, PADDED)
    row = _load(first, second, first_stride, side_frame, pixel, within, every, C, SIDE, SHIFT)
    mean = tl.sum(row, 1) / JOINED
    row = tl.where((every < JOINED)[None, :], row - mean[:, None], 0.0)
    scale = 1 / tl.sqrt(tl.sum(row * row, 1) / JOINED + eps)

    target = out + frame.to(tl.int64) * pixels * OUT
    for start in tl.static_range(0, OUT, BLOCK_N):
        column = start + tl.arange(0, BLOCK_N)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        if BLOCK_K >= PADDED:
            normal = (row * scale[:, None]).to(dtype)
            matrix = tl.load(
                weight + every[:, None] * OUT + column[None, :],
                mask=(every < JOINED)[:, None] & (column < OUT)[None, :],
                other=0.0,
            )
            total = tl.dot(normal, matrix, total, input_precision=PRECISION)
        else:
            # Padding the channels to a power of two would cost up to as many operations again; chunks
            # of them are read once more, from the cache.
            for k in range(0, JOINED, BLOCK_K):
                channel = k + tl.arange(0, BLOCK_K)
                part = _load(first, second, first_stride, side_frame, pixel, within, channel, C, SIDE, SHIFT)
                normal = ((part - mean[:, None]) * scale[:, None]).to(dtype)
                matrix = tl.load(
                    weight + channel[:, None] * OUT + column[None, :],
                    mask=(channel < JOINED)[:, None] & (column < OUT)[None, :],
                    other=0.0,
                )
                total = tl.dot(normal, matrix, total, input_precision=PRECISION)
        total += tl.load(bias + column, mask=column < OUT, other=0.0)[None, :]
        tl.store(
            target + pixel[:, None] * OUT + column[None, :],
            total.to(dtype),
            mask=within[:, None] & (column < OUT)[None, :],
        )


KERNEL = Kernel(
    _expand,
    [
        {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 128, "num_warps": 4, "num_stages": 2},
        {"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 128, "num_warps": 8, "num_stages": 2},
        {"BLOCK_M": 64, "BLOCK_N": 256, "BLOCK_K": 128, "num_warps": 8, "num_stages": 2},
        {"BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 16, "num_warps": 4, "num_stages": 3},
        {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4, "num_stages": 3},
    ],
    BLOCK_N="OUT",
)


def expand(x: Shifted | Tensor, side: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise and widen.

    Args:
        x: the main path, (T, C, H, W), or a temporal shift.
        side: (T, S, H, W), S <= C/2, or None.
        weight: (C + S, 2C), from `halves.columns`; the norm's weight is in it.
        bias: (2C,), float32.

    Returns:
        (T, 2C, H, W).
    """
    operand = Operand.of(x)
    channels, height, width = operand.frames.shape[1:]
    joined, outputs = weight.shape
    out = operand.empty(outputs)
    if not operand.count:
        return out
    beside = operand.frames if side is None else dense(side)

    KERNEL.launch(
        out,
        f"{measures(operand.count, height, width, channels)} to {joined} {kind(out.dtype)}",
        lambda config: (triton.cdiv(operand.pixels, config["BLOCK_M"]), operand.count),
        *operand.pointers, beside, weight, bias, out, operand.pixels, EPS,
        SIDE=joined - channels, OUT=outputs, PADDED=max(triton.next_power_of_2(joined), 16),
        PRECISION=precision(out.dtype), **operand.constants,
    )  # fmt: skip
    return out
