"""The channel attention's gate: the second stage of a frame's sums, and the two small layers.

    s = sigmoid(E · relu(S · mean))        S: C -> C // r, E: C // r -> C, no biases

One program a frame. It adds up the partial sums in a fixed order; the frame's size, not the number
of threads, decides how many there are.

Per frame: reads parts · C float32 numbers, writes C.
"""

import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.tuning import Kernel
from vsgshift.network.layers import ChannelAttention

MOST_PARTS = 1024
SMALLEST_PART = 64
"""Pixels."""


def parts_of(height: int, width: int) -> int:
    """Partial sums of a frame: enough of them to keep a large card busy, few enough to add up at once."""
    return min(-(-height * width // SMALLEST_PART), MOST_PARTS)


@triton.jit(do_not_specialize=["parts", "pixels"])
def _attention(
    partial, squeeze, excite, out, parts, pixels,
    C: tl.constexpr, HIDDEN: tl.constexpr, C_PADDED: tl.constexpr, HIDDEN_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0)
    channel = tl.arange(0, C_PADDED)
    known = channel < C
    hidden = tl.arange(0, HIDDEN_PADDED)
    total = tl.zeros((BLOCK, C_PADDED), tl.float32)
    for start in range(0, parts, BLOCK):
        part = start + tl.arange(0, BLOCK)
        total += tl.load(
            partial + (frame * parts + part)[:, None] * C + channel[None, :],
            mask=(part < parts)[:, None] & known[None, :],
            other=0.0,
        )
    mean = tl.sum(total, 0) / pixels
    both = (hidden < HIDDEN)[:, None] & known[None, :]
    narrow = tl.load(squeeze + hidden[:, None] * C + channel[None, :], mask=both, other=0.0)
    active = tl.maximum(tl.sum(narrow * mean[None, :], 1), 0.0)
    wide = tl.load(excite + hidden[:, None] * C + channel[None, :], mask=both, other=0.0)
    tl.store(out + frame * C + channel, tl.sigmoid(tl.sum(wide * active[:, None], 0)), mask=known)


KERNEL = Kernel(_attention, [{"BLOCK": 64, "num_warps": 8, "num_stages": 2}])


def layout(attention: ChannelAttention) -> tuple[Tensor, Tensor]:
    """Both layers' weights as (C // r, C), float32."""
    squeeze = attention.squeeze.weight.detach().float().flatten(1).contiguous()
    excite = attention.excite.weight.detach().float().flatten(1).T.contiguous()
    return squeeze, excite


def attention(partial: Tensor, squeeze: Tensor, excite: Tensor, pixels: int) -> Tensor:
    """The gate of every channel.

    Args:
        partial: (T, parts, C), float32, sums over parts of each frame.
        squeeze, excite: from `layout`.
        pixels: number of pixels of a frame.

    Returns:
        (T, C), float32, in (0, 1).
    """
    frames, parts, channels = partial.shape
    out = partial.new_empty((frames, channels))
    if frames:
        KERNEL.launch(
            out,
            f"{channels}",
            lambda config: (frames,),
            partial, squeeze, excite, out, parts, pixels,
            C=channels, HIDDEN=len(squeeze), C_PADDED=triton.next_power_of_2(channels),
            HIDDEN_PADDED=triton.next_power_of_2(len(squeeze)),
        )  # fmt: skip
    return out
