"""The aligned merge: what bundled denoising networks see of a frame beside the frame itself.

Each frame is averaged with its neighbours after they have been moved onto it, block by block and frequency by
frequency, so that a neighbour helps where it agrees up to noise and is left out where it does not. The network
then gets the average, and how much noise is left in it. Nothing here is learned.

Motion is one whole-pixel vector for each cell of 8x8 pixels and each neighbour, found from coarse to fine on a
pyramid of 8-bit luma, by the sum of absolute differences. It is integer arithmetic, so that every way of running it
finds the same vectors.

The average follows the pairwise temporal merge of Hasinoff et al., "Burst photography for high dynamic range and
low-light imaging on mobile cameras" (2016): overlapping blocks are transformed, and in each frequency the neighbour's
weight falls with the squared difference from the frame, on the scale of the noise. Here the transform is the DCT of
4x4 blocks that begin two pixels apart, in opponent colours.
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.timeline import Window

CELL = 8
"""Pixels across a cell, which has one motion vector for each neighbour."""
SAMPLE_SCALE = 8192
"""Opponent colours are kept in steps of one part of this, and end at 32767 of them."""
STEP_COST = 64
"""A candidate vector's cost grows by one part of this for each pixel between it and the vector it was tried around."""

FALL = 1.0
"""How steeply a weight falls with the difference."""
FREE = 1.15
"""Squared difference, in units of what noise alone makes of it, below which a neighbour has full weight."""
COMMON = 0.5
"""Share of the mean over the three colours in the difference of each."""
DOUBT = 0.25
"""Neighbours' weight that the noise map has beside the noise that neighbours' differences show."""

OPPONENT = torch.tensor(
    ((1 / 3**0.5, 1 / 3**0.5, 1 / 3**0.5), (1 / 2**0.5, 0.0, -1 / 2**0.5), (1 / 6**0.5, -2 / 6**0.5, 1 / 6**0.5))
)
"""Luma, red minus blue, and green against both: orthonormal, so that white noise stays what it is."""
DCT = torch.tensor([[0.5**0.5 * (1 if row else 0.5**0.5) * math.cos(math.pi * row * (2 * column + 1) / 8)
                     for column in range(4)] for row in range(4)])  # fmt: skip
WINDOW = torch.tensor((0.25, 0.75, 0.75, 0.25))


class Merge(nn.Module):
    """Merge frames with up to ``reach`` neighbours on each side. Has no parameters.

    Attributes:
        on_device: whether the numbers of a window are read on the device alone (`Window.tensors`), so that a CUDA graph
            may be replayed with others.
    """

    on_device = False

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def keep(self, clip: Tensor) -> Sequence[Tensor]:
        """What is needed later of each frame of (T, 3, H, W); H and W are multiples of 8."""
        return clip.unbind()

    def forward(self, window: Window, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Merge the outgoing frames of a window.

        Args:
            window: N outgoing frames of 3 channels, H x W pixels.
            noise: (N, 1, H / 2, W / 2), standard deviation of the noise on the scale of the frames.

        Returns:
            (N, 3, H, W), what the merge adds to each frame; and (N, 3, H / 2, W / 2), the variance of the noise that
            is left, in units of ``noise`` squared: in luma's low and high frequencies, and in the colours. It goes by
            the noise that the differences from neighbours show, so that a wrong ``noise`` is seen through.
        """
        if not window.own:
            height, width = noise.shape[2:]
            return noise.new_empty(0, 3, 2 * height, 2 * width), noise.new_empty(0, 3, height, width)
        pyramids = [pyramid(frame) for frame in window.frames]
        samples = [_samples(frame) for frame in window.frames]
        merged = []
        for own, before, after, level in zip(window.own, window.before, window.after, noise, strict=True):
            neighbours = []
            for direction, count in ((-1, before), (1, after)):
                vectors = None
                for distance in range(1, count + 1):
                    index = own + direction * distance
                    vectors = motion(pyramids[own], pyramids[index], distance, vectors)
                    neighbours.append((samples[index], vectors))
            merged.append(merge(samples[own], neighbours, level[0]))
        changes, remaining = zip(*merged, strict=True)
        return torch.stack(changes).to(noise.dtype), torch.stack(remaining).to(noise.dtype)


# ---- motion --------------------------------------------------------------------------------------


def pyramid(frame: Tensor) -> list[Tensor]:
    """Luma of (3, H, W) in whole steps of 1/255, as int32: (H, W), then halved, and halved again."""
    luma = (((frame[0] + frame[2]) + 2 * frame[1]).float() * 63.75).nan_to_num(0.0).clamp(0, 255).round().int()
    levels = [luma]
    for _ in range(2):
        x = levels[-1]
        levels.append((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] + 2) >> 2)
    return levels


Vectors = tuple[Tensor, Tensor]
"""Pixels down and right from a place in the frame to the same in the neighbour: (rows, columns) each, int64."""


def motion(frame: list[Tensor], neighbour: list[Tensor], distance: int, previous: Vectors | None) -> Vectors:
    """The vectors of each cell, from the frame to a neighbour.

    Args:
        frame, neighbour: their pyramids.
        distance: frames between them; with 1 the search is wide, else it begins at the ``previous`` vectors,
            those to the frame between at one less, made longer.
    """
    rows, columns = (size // CELL for size in frame[0].shape)
    if previous is None:
        start = torch.zeros(2, -(-rows // 2), -(-columns // 2), dtype=torch.long, device=frame[0].device)
    else:
        # times distance / (distance - 1), and a quarter of it, to the next whole number; a half upwards
        over = 4 * (distance - 1)
        start = (2 * distance * torch.stack(previous)[:, ::2, ::2] + over).div(2 * over, rounding_mode="floor")
    vectors = _search(frame[2], neighbour[2], start, reach=6 if distance == 1 else 2, cell=4, window=8)
    for level, cell in ((1, 4), (0, 8)):
        candidates = torch.stack((vectors, *_around(vectors)))
        if level == 1:
            candidates = candidates.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., :rows, :columns]
        vectors = _search(
            frame[level],
            neighbour[level],
            2 * candidates[0],
            reach=1,
            cell=cell,
            window=2 * cell,
            others=2 * candidates[1:],
        )
    return vectors[0], vectors[1]


def _around(vectors: Tensor) -> tuple[Tensor, ...]:
    """The vectors of the cells above, below, left and right of each; at the border the cell's own."""
    padded = F.pad(vectors[None].float(), (1, 1, 1, 1), mode="replicate")[0].long()
    return padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]


def _search(
    frame: Tensor, neighbour: Tensor, start: Tensor, *, reach: int, cell: int, window: int,
    others: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The best of the vectors within ``reach`` of ``start`` (2, rows, columns), of the others, and of none."""
    rows, columns = start.shape[1:]
    device = start.device
    candidates = start + torch.tensor(steps(reach), device=device)[:, :, None, None]
    costs = torch.tensor([abs(y) + abs(x) for y, x in steps(reach)], device=device)
    if others is not None:
        candidates = torch.cat((candidates, others))
        costs = torch.cat((costs, torch.ones(len(others), dtype=torch.long, device=device)))
    candidates = torch.cat((candidates, torch.zeros_like(start)[None]))
    costs = torch.cat((costs, torch.zeros(1, dtype=torch.long, device=device))) + STEP_COST
    top = cell * torch.arange(rows, device=device)[:, None]
    left = cell * torch.arange(columns, device=device)
    # A cell may leave the picture by its own size, no further.
    down = torch.minimum(torch.maximum(candidates[:, 0], -top - cell), rows * cell - top)
    right = torch.minimum(torch.maximum(candidates[:, 1], -left - cell), columns * cell - left)
    here = _windows(frame, top.expand(rows, columns), left.expand(rows, columns), window)
    differences = torch.stack(
        [
            (_windows(neighbour, top + y, left + x, window) - here).abs().sum((-1, -2))
            for y, x in zip(down, right, strict=True)
        ]
    )
    total = differences.long() * costs[:, None, None]
    # The first of equal ones, which argmin does not promise.
    order = torch.arange(len(total), device=device)[:, None, None]
    best = (total * len(total) + order).argmin(0, keepdim=True)
    return torch.stack((down.gather(0, best)[0], right.gather(0, best)[0]))


def steps(reach: int) -> list[tuple[int, int]]:
    """Pixels down and right, up to ``reach`` of each, in the order in which they are tried."""
    around = range(-reach, reach + 1)
    return sorted(product(around, around), key=lambda step: (abs(step[0]) + abs(step[1]), step))


def _windows(picture: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """Squares around cells at (top, left), (rows, columns, size, size); the picture's border goes on for ever."""
    line = torch.arange(size, device=picture.device) - size // 4
    rows = (top[..., None] + line).clamp(0, picture.shape[0] - 1)
    columns = (left[..., None] + line).clamp(0, picture.shape[1] - 1)
    return picture[rows[..., :, None], columns[..., None, :]]


# ---- merging -------------------------------------------------------------------------------------


def _samples(frame: Tensor) -> Tensor:
    """Opponent colours of (3, H, W), rounded as they are kept."""
    red, green, blue = frame.float()
    # In the order in which the compiled form computes it: what lies between two steps must go to the same one.
    colours = (red + green + blue, red - blue, red - 2 * green + blue)
    opponent = torch.stack([colour * float(row.max()) for colour, row in zip(colours, OPPONENT, strict=True)])
    opponent = opponent * SAMPLE_SCALE
    return opponent.nan_to_num(-32767.0).clamp(-32767, 32767).round() / SAMPLE_SCALE


def _blocks(samples: Tensor, vectors: Vectors | None = None) -> Tensor:
    """The DCT of the 4x4 blocks that begin at -1, 1, 3, ...: (rows, columns, 4, 4, 3, 4, 4), 4x4 blocks in a cell."""
    height, width = samples.shape[1:]
    four = torch.arange(4, device=samples.device)
    within = 2 * four[:, None] + four - 1
    top = CELL * torch.arange(height // CELL, device=samples.device)[:, None].expand(-1, width // CELL)
    left = CELL * torch.arange(width // CELL, device=samples.device).expand(height // CELL, -1)
    if vectors is not None:
        top, left = top + vectors[0], left + vectors[1]
    rows = (top[..., None, None] + within).clamp(0, height - 1)[:, :, :, None, :, None]
    columns = (left[..., None, None] + within).clamp(0, width - 1)[:, :, None, :, None, :]
    dct = DCT.to(samples.device)
    return torch.einsum("ai,crxklij,bj->rxklcab", dct, samples[:, rows, columns], dct)


def _pooled(x: Tensor) -> Tensor:
    """Means of 3x3 over the last two axes, of 4 each; the border goes on."""
    padded = F.pad(x.reshape(-1, 1, 4, 4), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(padded, 3, 1).view(x.shape)


def _bands(x: Tensor) -> Tensor:
    """Means of (..., 3, 4, 4) over luma's low and high frequencies, and over the colours: (3, ...)."""
    luma, colours = x[..., 0, :, :], x[..., 1:, :, :]
    low = luma[..., :2, :2].sum((-1, -2))
    return torch.stack((low / 4, (luma.sum((-1, -2)) - low) / 12, colours.mean((-1, -2, -3))))


def weight(difference: Tensor) -> Tensor:
    """A neighbour's weight from a squared difference, in units of what noise alone makes of it.

    Close to ``exp(-FALL * max(difference - FREE, 0))``, and none at all beyond FREE + 8 / FALL.
    """
    out: Tensor = (1 - FALL / 8 * (difference - FREE)).clamp(0, 1) ** 8
    return out


def merge(samples: Tensor, neighbours: Sequence[tuple[Tensor, Vectors]], noise: Tensor) -> tuple[Tensor, Tensor]:
    """What the merge adds to one frame (3, H, W), and what remains of the noise (3, H / 2, W / 2); as `Merge.forward`.

    Args:
        samples: (3, H, W), the frame's opponent colours.
        neighbours: the same of each neighbour, with the vectors that lead there.
        noise: (H / 2, W / 2).
    """
    height, width = samples.shape[1:]
    rows, columns = height // CELL, width // CELL
    # One value for each block, between the pixels of its middle.
    variance = noise.float().view(rows, 4, columns, 4).transpose(1, 2).square()[..., None, None, None]
    own = _blocks(samples)
    total, weights, squares = torch.zeros_like(own), torch.ones_like(own), torch.ones_like(own)
    seen = torch.zeros_like(own)
    for other, vectors in neighbours:
        difference = _blocks(other, vectors) - own
        square = difference.square()
        square = (1 - COMMON) * square + COMMON * square.mean(-3, keepdim=True)
        square = _pooled(square / (2 * variance + 1.5e-12))
        w = weight(square)
        seen += w * square
        total += w * difference
        weights += w
        squares += w.square()
    remaining = _bands(squares / weights.square()) * _bands(DOUBT + seen) / _bands(DOUBT + weights - 1)
    remaining = remaining.transpose(2, 3).reshape(3, height // 2, width // 2)

    dct = DCT.to(samples.device)
    back = torch.einsum("ai,rxklcab,bj->rxklcij", dct, total / weights, dct)
    back = back * (WINDOW[:, None] * WINDOW).to(samples.device)
    # (rows, columns, k, l, c, a, b) -> (1, c * 16, blocks): what fold lays over each other, two pixels apart.
    back = back.permute(4, 5, 6, 0, 2, 1, 3).reshape(1, 48, -1)
    summed = F.fold(back, (height + 2, width + 2), 4, stride=2)[0, :, 1:-1, 1:-1].contiguous()
    # Only three quarters of a window reach the outermost pixels.
    summed[:, [0, -1]] *= 4 / 3
    summed[..., [0, -1]] *= 4 / 3
    return torch.einsum("ij,ihw->jhw", OPPONENT.to(samples.device), summed), remaining
