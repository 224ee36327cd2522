"""The end of a gated block: channel attention's scale, the 1x1 convolution, and the skip.

    out = x + W · (s · g) + b

The block's beta, one number per channel, scales the rows of W and b beforehand (`engine.folding`). x is the block's own
input: for the first block of a step a temporal shift, whose halves are read in place. The sum is float32, rounded once.

Per pixel: reads 2C, writes C elements.
"""

import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.halves import Operand, bases, dense, kind, load_row, precision
from vsgshift.engine.cuda.tuning import Kernel, measures
from vsgshift.network.shifted import Shifted


@triton.jit(do_not_specialize=["pixels"])
def _project(
    frames, edge, own, neighbour, held, g, scale, weight, bias, out, pixels,
    C: tl.constexpr, EDGE_C: tl.constexpr, SHIFT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1)
    pixel = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    within = pixel < pixels
    first, second, first_stride = bases(frames, edge, own, neighbour, held, frame, pixels, C, EDGE_C, SHIFT)
    start = frame.to(tl.int64) * pixels * C
    source = g + start
    target = out + start
    dtype = out.dtype.element_ty
    for n in tl.static_range(0, C, BLOCK_N):
        column = n + tl.arange(0, BLOCK_N)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for k in range(0, C, BLOCK_K):
            channel = k + tl.arange(0, BLOCK_K)
            known = channel < C
            value = tl.load(
                source + pixel[:, None] * C + channel[None, :], mask=within[:, None] & known[None, :], other=0.0
            )
            factor = tl.load(scale + frame * C + channel, mask=known, other=0.0)
            value = (value.to(tl.float32) * factor[None, :]).to(dtype)
            matrix = tl.load(
                weight + channel[:, None] * C + column[None, :], mask=known[:, None] & (column < C)[None, :], other=0.0
            )
            total = tl.dot(value, matrix, total, input_precision=PRECISION)
        total += tl.load(bias + column, mask=column < C, other=0.0)[None, :]
        total += load_row(first, second, first_stride, pixel, within, column, C, SHIFT).to(tl.float32)
        tl.store(
            target + pixel[:, None] * C + column[None, :], total.to(dtype), mask=within[:, None] & (column < C)[None, :]
        )


KERNEL = Kernel(
    _project,
    [
        {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4, "num_stages": 3},
        {"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 8, "num_stages": 3},
        {"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 16, "num_warps": 4, "num_stages": 3},
        {"BLOCK_M": 64, "BLOCK_N": 16, "BLOCK_K": 16, "num_warps": 4, "num_stages": 3},
        {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 128, "num_warps": 4, "num_stages": 2},
    ],
    BLOCK_N="C",
    BLOCK_K="C",
)


def project(x: Shifted | Tensor, g: Tensor, scale: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Scale, project, and add to the block's input.

    Args:
        x: the block's input, (T, C, H, W), or a temporal shift.
        g: (T, C, H, W).
        scale: (T, C), float32.
        weight: (C, C), from `halves.columns`; beta is in it.
        bias: (C,), float32, likewise.

    Returns:
        (T, C, H, W).
    """
    operand = Operand.of(x)
    channels, height, width = operand.frames.shape[1:]
    out = operand.empty(channels)
    if operand.count:
        KERNEL.launch(
            out,
            f"{measures(operand.count, height, width, channels)} {kind(out.dtype)}",
            lambda config: (triton.cdiv(operand.pixels, config["BLOCK_M"]), operand.count),
            *operand.pointers, dense(g), scale, weight, bias, out, operand.pixels,
            PRECISION=precision(out.dtype), **operand.constants,
        )  # fmt: skip
    return out
