"""Restoring a clip in tiles, each a stream of its own, whose results are blended where they overlap.

Tiles bound what one run of the network needs to a part of the picture, and with offloading the state of
the stream too. They begin at multiples of the network's own grid, so that inside a tile every layer sees
what it would see in the whole picture, up to two things: the tile's border, which the overlap hides, and
the channel means of the attentions, which are those of the tile. The second makes the result depend on
the tiles, a little and everywhere, and the more the smaller they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, product

import torch
from torch import Tensor

from vsgshift.network import ShiftNet
from vsgshift.network.variants import Variant
from vsgshift.streaming.stream import Stream

OVERLAP = 64
"""Pixels of the default overlap. Wider ones change little: what is left is the channel means of the attentions."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How large tiles may be (width and height, overlap included; 0 does not divide that way), and how far neighbours
    must overlap at least. Raises ValueError for what makes no sense."""

    size: tuple[int, int]
    overlap: tuple[int, int] = (OVERLAP, OVERLAP)

    @classmethod
    def chosen(cls, size: tuple[int, int], overlap: tuple[int, int] | None = None) -> "Tiling | None":
        """With the default overlap if none is given; None if nothing is divided."""
        tiling = cls(size=size) if overlap is None else cls(size=size, overlap=overlap)
        return tiling if any(size) else None

    def __post_init__(self) -> None:
        for size, overlap in zip(self.size, self.overlap, strict=True):
            if size < 0:
                raise ValueError(f"tilesize={size} is out of range; a number of pixels, or 0 for the whole picture")
            if overlap < 0:
                raise ValueError(f"overlap={overlap} is out of range; a number of pixels, 0 or more")

    def check(self, variant: Variant) -> None:
        """Raise ValueError if no such tiles can be laid for a network."""
        multiple, grid = variant.multiple, variant.grid
        for size, overlap in zip(self.size, self.overlap, strict=True):
            common = _up(overlap, multiple)
            # With less, a tile's two borders would meet in its middle, or tiles would not come forward.
            least = max(2 * common, common + grid) + grid - multiple
            if 0 < size < least:
                raise ValueError(
                    f"tilesize={size} is too small for overlap={overlap}; at least {least}, or 0 for the whole picture"
                )

    def lines(self, height: int, width: int, variant: Variant) -> "tuple[Line, Line]":
        """The rows and the columns of tiles for a picture."""
        across, down = self.size
        multiple, grid = variant.multiple, variant.grid
        return (
            Line.laid(height, down, self.overlap[1], multiple, grid),
            Line.laid(width, across, self.overlap[0], multiple, grid),
        )


@dataclass(frozen=True)
class Line:
    """Tiles along one direction of a picture: all of one size, the last of which may reach beyond the picture by less
    than the network's multiple."""

    length: int
    size: int
    starts: tuple[int, ...]

    @classmethod
    def laid(cls, length: int, size: int, overlap: int, multiple: int, grid: int) -> "Line":
        """As few tiles of at most ``size`` as overlap by at least ``overlap``; equally large, and evenly spread.

        They begin at multiples of ``grid``, and end at multiples of ``multiple``, which divides it.
        """
        whole = _up(length, multiple)
        most, overlap = size // multiple * multiple or whole, _up(overlap, multiple)
        if most >= whole:
            return cls(length, whole, (0,))
        # So large that the last one, too, begins on the grid and ends with the picture.
        sizes = range(overlap + grid + (whole - overlap) % grid, most + 1, grid)
        for gaps in count(1):
            for size in sizes:
                room = (whole - size) // grid
                if room <= gaps * ((size - overlap) // grid):
                    return cls(length, size, tuple(index * room // gaps * grid for index in range(gaps + 1)))
        raise AssertionError

    @property
    def spans(self) -> list[slice]:
        """The pixels of each tile that lie in the picture."""
        return [slice(start, min(start + self.size, self.length)) for start in self.starts]

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """What each tile counts for at its pixels: 1 where it is alone, a ramp over each overlap; they add up to 1."""
        ends = [start + self.size for start in self.starts]
        total = torch.zeros(self.length)
        raw = []
        for index, span in enumerate(self.spans):
            centre = torch.arange(span.start, span.stop) + 0.5
            weight = torch.ones(len(centre))
            if index:
                weight *= ((centre - span.start) / (ends[index - 1] - span.start)).clamp(0, 1)
            if index + 1 < len(self.starts):
                weight *= ((ends[index] - centre) / (ends[index] - self.starts[index + 1])).clamp(0, 1)
            total[span] += weight
            raw.append(weight)
        return tuple(weight / total[span] for weight, span in zip(raw, self.spans, strict=True))


def _up(number: int, multiple: int) -> int:
    """The next multiple, or the number itself if it is one."""
    return -(-number // multiple) * multiple


class TiledStream:
    """A `Stream` that works tile by tile: the same calls, and nearly the same result, which depends on the tiles alone.

    The mean of a channel, which the attention is computed from, is that of a tile. With ``offload``, what the shifts of
    a tile keep goes to the host too while others are worked on. Raises ValueError as `Stream`, or if the tiles do not
    fit.
    """

    def __init__(
        self,
        network: ShiftNet,
        tiling: Tiling,
        *,
        block: int = 4,
        midway: bool = False,
        strength: float = 1.0,
        offload: bool = False,
    ) -> None:
        tiling.check(network.variant)
        self._network, self._strength = network, strength
        self._block, self._midway, self._offload = block, midway, offload
        self._tiling = tiling
        # One stands for all of them until the picture's size is known.
        self._streams = [self._stream()]
        self._lines: tuple[Line, Line] | None = None
        self._weights: list[Tensor] = []

    @property
    def restored(self) -> range:
        return self._streams[0].restored

    def push(self, frames: Tensor, noise: Tensor | None = None, cuts: Sequence[bool] | None = None) -> Tensor:
        """Add frames at the end of the stream; see `Stream.push`."""
        lines = self._lines or self._lay(frames)
        if tuple(frames.shape[2:]) != tuple(line.length for line in lines):
            before = tuple(line.length for line in lines)
            raise ValueError(f"frames of one stream must have one size: {before} before, now {tuple(frames.shape[2:])}")
        parts = []
        for stream, (rows, columns) in zip(self._streams, self._areas(lines), strict=True):
            level = None if noise is None else noise[..., rows, columns]
            parts.append(stream.push(frames[..., rows, columns], level, cuts))
            if len(self._streams) > 1:
                stream.rest()
        return self._blended(parts, lines)

    def finish(self) -> Tensor:
        """End the stream, as a cut would. Returns the frames not returned yet, (T, 3, H, W)."""
        parts = [stream.finish() for stream in self._streams]
        assert self._lines is not None
        return self._blended(parts, self._lines)

    def _stream(self) -> Stream:
        # A graph for each tile would hold memory for a run of each.
        return Stream(
            self._network,
            block=self._block,
            midway=self._midway,
            strength=self._strength,
            offload=self._offload,
            execution="pipeline",
        )

    def _lay(self, frames: Tensor) -> tuple[Line, Line]:
        height, width = frames.shape[-2:]
        rows, columns = self._lines = self._tiling.lines(height, width, self._network.variant)
        self._streams = [self._stream() for _ in product(rows.starts, columns.starts)]
        self._weights = [
            (down[:, None] * across).to(frames.device) for down, across in product(rows.weights, columns.weights)
        ]
        return rows, columns

    def _areas(self, lines: tuple[Line, Line]) -> list[tuple[slice, slice]]:
        return list(product(lines[0].spans, lines[1].spans))

    def _blended(self, parts: list[Tensor], lines: tuple[Line, Line]) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        # In single precision: the ramps of half precision would round each overlap three times.
        whole = first.new_zeros((*first.shape[:2], lines[0].length, lines[1].length), dtype=torch.float32)
        for index, (weight, (rows, columns)) in enumerate(zip(self._weights, self._areas(lines), strict=True)):
            whole[..., rows, columns] += weight * parts[index]
        return whole.to(first.dtype)
