"""The aligned average: each frame's blocks and those of its neighbours, weighed frequency by frequency.

`vsgshift.network.merge` is the definition. Blocks of 4x4 begin two pixels apart and lie over each other; those that
begin four apart do not. So there are four launches, and each adds its blocks to the picture where no other program of
it does. A block is a row of 16 numbers for each colour: its transform, the pooling over frequencies, and the way back
are products with 16x16 matrices. Tensor cores take 11 bits of each number: numbers are given to them in two parts,
so that the products have the precision of float32.

For each pixel and launch: reads 6 bytes of each neighbour and of the frame, and of the result, three float32, reads
and writes.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.motion import Layout
from vsgshift.engine.cuda.tuning import Kernel
from vsgshift.network.merge import COMMON, DCT, DOUBT, FALL, FREE, OPPONENT, SAMPLE_SCALE

_FALL, _FREE, _COMMON, _DOUBT = (tl.constexpr(value) for value in (FALL, FREE, COMMON, DOUBT))
_SAMPLE_SCALE = tl.constexpr(SAMPLE_SCALE)
_LUMA, _TILT, _GREEN = (tl.constexpr(float(row.max())) for row in OPPONENT)


@triton.jit
def _high(x):  # type: ignore[no-untyped-def]
    """The bits of a float32 that a tensor core takes."""
    return (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def _product(x, high, low):  # type: ignore[no-untyped-def]
    upper = _high(x)
    product = tl.dot(x - upper, high, input_precision="tf32")
    product = tl.dot(upper, low, product, input_precision="tf32")
    return tl.dot(upper, high, product, input_precision="tf32")


@triton.jit
def _difference(own, other, place, high, low):  # type: ignore[no-untyped-def]
    difference = tl.load(other + place).to(tl.int32) - tl.load(own)
    return _product(difference.to(tl.float32), high, low) * (1 / _SAMPLE_SCALE)


@triton.jit
def _weighed(difference, common, inverse, pool, total, weights, squares):  # type: ignore[no-untyped-def]
    square = (difference * difference * (1 - _COMMON) + common) * inverse
    upper = _high(square)
    square = tl.dot(square - upper, pool, input_precision="tf32")
    square = tl.dot(upper, pool, square, input_precision="tf32") * (1 / 9)
    weight = tl.minimum(tl.maximum(1 - (square - _FREE) * (_FALL / 8), 0.0), 1.0)
    weight *= weight
    weight *= weight
    weight *= weight
    return total + weight * difference, weights + weight, squares + weight * weight, weight * square


@triton.jit
def _mean(x, chosen, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where(chosen[None, :], x, 0.0), 1) / COUNT


@triton.jit
def _remaining(share, others, seen, chosen, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    more = (seen + _DOUBT) / (_mean(others, chosen, COUNT) + _DOUBT)
    return _mean(share, chosen, COUNT) * more


@triton.jit
def _add(out, value, mask):  # type: ignore[no-untyped-def]
    tl.store(out, tl.load(out, mask=mask, other=0.0) + value, mask=mask)


@triton.jit(do_not_specialize=["size", "first", "height", "width", "down", "right", "reach"])
def _merge(
    samples, order, window, vectors, noise, dct_matrix, pool_matrix, change, remaining,
    size, first, height, width, down, right, reach, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(1)
    frames = tl.num_programs(1)
    plane = height * width
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < plane // 16
    # Numbers of blocks; those beyond the last one are one of them, and not stored.
    index = tl.minimum(index, plane // 16 - 1)
    row = index // (width // 4) * 2 + down
    column = index % (width // 4) * 2 + right
    block = row * (width // 2) + column
    k = tl.arange(0, 16)
    y = (2 * row - 1)[:, None] + (k // 4)[None, :]
    x = (2 * column - 1)[:, None] + (k % 4)[None, :]

    position = tl.load(window + frame)
    before = tl.load(window + frames + frame)
    after = tl.load(window + 2 * frames + frame)
    mine = samples + (tl.load(order + position).to(tl.int64) * size + first) // 2
    place = tl.minimum(tl.maximum(y, 0), height - 1) * width + tl.minimum(tl.maximum(x, 0), width - 1)
    own = mine + place
    matrix = k[:, None] * 16 + k[None, :]
    dct = tl.load(dct_matrix + matrix)
    high = _high(dct)
    low = dct - high
    pool = tl.load(pool_matrix + matrix)
    sigma = tl.load(noise + frame.to(tl.int64) * (plane // 4) + block).to(tl.float32)
    inverse = (1 / (2 * sigma * sigma + 1.5e-12))[:, None]
    nothing = tl.zeros((BLOCK, 16), tl.float32)
    total_0, weights_0, squares_0 = nothing, nothing + 1, nothing + 1
    total_1, weights_1, squares_1 = nothing, nothing + 1, nothing + 1
    total_2, weights_2, squares_2 = nothing, nothing + 1, nothing + 1
    seen_slow = tl.zeros((BLOCK,), tl.float32)
    seen_fast = tl.zeros((BLOCK,), tl.float32)
    seen_colours = tl.zeros((BLOCK,), tl.float32)
    # Of luma the low frequencies.
    slow = (k < 8) & (k % 4 < 2)
    cells = plane // 64
    cell = row // 4 * (width // 8) + column // 4
    for number in range(before + after):
        side = (number >= before).to(tl.int32)
        distance = number - side * before + 1
        other = samples + (tl.load(order + position + (2 * side - 1) * distance).to(tl.int64) * size + first) // 2
        vector = vectors + ((frame * 2 + side) * reach + distance - 1).to(tl.int64) * cells * 2 + cell * 2
        there_y = y + tl.load(vector).to(tl.int32)[:, None]
        there_x = x + tl.load(vector + 1).to(tl.int32)[:, None]
        place = tl.minimum(tl.maximum(there_y, 0), height - 1) * width
        place += tl.minimum(tl.maximum(there_x, 0), width - 1)
        difference_0 = _difference(own, other, place, high, low)
        difference_1 = _difference(own + plane, other + plane, place, high, low)
        difference_2 = _difference(own + 2 * plane, other + 2 * plane, place, high, low)
        common = difference_0 * difference_0 + difference_1 * difference_1 + difference_2 * difference_2
        common *= _COMMON / 3
        total_0, weights_0, squares_0, seen = _weighed(
            difference_0, common, inverse, pool, total_0, weights_0, squares_0
        )
        seen_slow += _mean(seen, slow, 4)
        seen_fast += _mean(seen, slow == 0, 12)
        total_1, weights_1, squares_1, seen = _weighed(
            difference_1, common, inverse, pool, total_1, weights_1, squares_1
        )
        seen_colours += tl.sum(seen, 1) / 32
        total_2, weights_2, squares_2, seen = _weighed(
            difference_2, common, inverse, pool, total_2, weights_2, squares_2
        )
        seen_colours += tl.sum(seen, 1) / 32

    share = squares_0 / (weights_0 * weights_0)
    to = remaining + frame.to(tl.int64) * 3 * (plane // 4) + block
    tl.store(to, _remaining(share, weights_0 - 1, seen_slow, slow, 4), mask=exists)
    tl.store(to + plane // 4, _remaining(share, weights_0 - 1, seen_fast, slow == 0, 12), mask=exists)
    share = squares_1 / (weights_1 * weights_1) + squares_2 / (weights_2 * weights_2)
    others = weights_1 + weights_2 - 2
    tl.store(to + plane // 2, _remaining(share, others, seen_colours, k >= 0, 32), mask=exists)

    # The way back, in the window, of which only three quarters reach the outermost pixels.
    high = tl.trans(high)
    low = tl.trans(low)
    factor_y = tl.where((y == 0) | (y == height - 1), 4 / 3, 1.0)
    factor_x = tl.where((x == 0) | (x == width - 1), 4 / 3, 1.0)
    middle_y = tl.where((k // 4 == 0) | (k // 4 == 3), 0.25, 0.75)
    middle_x = tl.where((k % 4 == 0) | (k % 4 == 3), 0.25, 0.75)
    factor = factor_y * factor_x * (middle_y * middle_x)[None, :]
    luma = _product(total_0 / weights_0, high, low) * factor * _LUMA
    tilt = _product(total_1 / weights_1, high, low) * factor * _TILT
    green = _product(total_2 / weights_2, high, low) * factor * _GREEN
    within = exists[:, None] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    out = change + frame.to(tl.int64) * 3 * plane + y * width + x
    _add(out, luma + tilt + green, within)
    _add(out + plane, luma - 2 * green, within)
    _add(out + 2 * plane, luma - tilt + green, within)


# One configuration: a launch adds to what is there, so that it cannot be run again to be timed.
KERNEL = Kernel(_merge, [{"BLOCK": 32, "num_warps": 4, "num_stages": 1}])


@cache
def matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """For rows of 16 numbers: the transform, and the sums of 3x3 frequencies."""
    pool = torch.tensor([[2.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 2]])
    return torch.kron(DCT, DCT).T.contiguous().to(device), torch.kron(pool, pool).to(device)


def merge(
    kept: Tensor, order: Tensor, window: Tensor, vectors: Tensor, noise: Tensor, layout: Layout
) -> tuple[Tensor, Tensor]:
    """What merging adds to frames (T, 3, H, W), and what remains of the noise (T, 3, H / 2, W / 2); float32.

    Args:
        kept, order, window: as of `motion.motion`.
        vectors: what it gave.
        noise: (T, 1, H / 2, W / 2).
    """
    frames, height, width = len(noise), layout.height, layout.width
    change = noise.new_zeros((frames, 3, height, width), dtype=torch.float32)
    remaining = noise.new_empty((frames, 3, height // 2, width // 2), dtype=torch.float32)
    for down in (0, 1):
        for right in (0, 1):
            KERNEL.launch(
                change,
                "",
                lambda config: (triton.cdiv(height * width // 16, config["BLOCK"]), frames),
                kept.view(torch.int16), order, window, vectors, noise.contiguous(), *matrices(noise.device),
                change, remaining, layout.size, layout.level(3), height, width, down, right, vectors.shape[2],
            )  # fmt: skip
    return change, remaining
