"""Motion between frames, and what it is found in: luma on three scales, and the samples that are merged.

`vsgshift.network.merge` is the definition, of the arithmetic too: vectors are the same to the bit. Of each frame
a pyramid of luma in bytes is kept, with a border so wide that no search has to look where the picture ends,
then the samples in opponent colours in 16 bits (`Layout`).

A vector for each cell is searched for on one scale after the other, and for one distance after the other, since each
search begins where the last one ended: three launches for each distance, for all frames, both sides and all cells.
"""

from dataclasses import dataclass
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from vsgshift.engine.cuda.tuning import Kernel, measures
from vsgshift.network.merge import CELL, OPPONENT, SAMPLE_SCALE, STEP_COST, steps

BORDER = 16
"""Pixels that each level goes on beyond the picture: a cell may leave it by its own size, with a window around it."""
CELLS = (8, 4, 4)
"""Pixels of a level across a cell; on the coarsest level, across two by two of them."""

_BORDER = tl.constexpr(BORDER)
_STEP_COST = tl.constexpr(STEP_COST)
_SAMPLE_SCALE = tl.constexpr(SAMPLE_SCALE)
_LUMA, _TILT, _GREEN = (tl.constexpr(float(row.max())) for row in OPPONENT)
_TO_WHOLE = tl.constexpr(1.5 * 2**23)
"""Added and taken away again, it rounds to a whole number, a half to the even one."""


@dataclass(frozen=True)
class Layout:
    """Where in the bytes that are kept of a frame everything is. Height and width are multiples of 8."""

    height: int
    width: int

    def cells(self, level: int) -> tuple[int, int]:
        """Rows and columns of cells that are searched for on a level."""
        rows, columns = self.height // CELL, self.width // CELL
        return (-(-rows // 2), -(-columns // 2)) if level == 2 else (rows, columns)

    def padded(self, level: int) -> tuple[int, int]:
        """Height and width of a level with its border."""
        rows, columns = self.cells(level)
        return rows * CELLS[level] + 2 * BORDER, columns * CELLS[level] + 2 * BORDER

    def level(self, level: int) -> int:
        """The first byte of a level; of number 3, of the samples (3, height, width)."""
        sizes = (height * width for height, width in map(self.padded, range(level)))
        return sum(-(-size // 16) * 16 for size in sizes)

    @property
    def size(self) -> int:
        return self.level(3) + 6 * self.height * self.width


@triton.jit
def _whole(x):  # type: ignore[no-untyped-def]
    return x + _TO_WHOLE - _TO_WHOLE


@triton.jit
def _store_samples(to, colour, mask):  # type: ignore[no-untyped-def]
    colour *= _SAMPLE_SCALE
    # What is no number becomes the lowest.
    colour = tl.minimum(tl.where(colour >= -32767, colour, -32767.0), 32767.0)
    tl.store(to, _whole(colour).to(tl.int16), mask=mask)


@triton.jit(do_not_specialize=["size", "first", "height", "width", "padded_height", "line"])
def _keep(
    frames, kept, samples, size, first, height, width, padded_height, line, BLOCK: tl.constexpr,
):  # fmt: skip
    """Luma at full size with its border, and the samples."""
    frame = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < padded_height * line
    row = index // line - _BORDER
    column = index % line - _BORDER
    inside = exists & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = tl.minimum(tl.maximum(row, 0), height - 1) * width + tl.minimum(tl.maximum(column, 0), width - 1)
    source = frames + frame * 3 * height * width + place
    red = tl.load(source, mask=exists, other=0.0).to(tl.float32)
    green = tl.load(source + height * width, mask=exists, other=0.0).to(tl.float32)
    blue = tl.load(source + 2 * height * width, mask=exists, other=0.0).to(tl.float32)
    luma = ((red + blue) + 2 * green) * 63.75
    luma = tl.minimum(tl.where(luma >= 0, luma, 0.0), 255.0)
    tl.store(kept + frame * size + index, _whole(luma).to(tl.uint8), mask=exists)
    target = samples + (frame * size + first) // 2 + place
    _store_samples(target, (red + green + blue) * _LUMA, inside)
    _store_samples(target + height * width, (red - blue) * _TILT, inside)
    _store_samples(target + 2 * height * width, (red - 2 * green + blue) * _GREEN, inside)


@triton.jit(do_not_specialize=["size", "above", "above_line", "level", "height", "width", "padded_height", "line"])
def _halve(
    kept, size, above, above_line, level, height, width, padded_height, line, BLOCK: tl.constexpr,
):  # fmt: skip
    """A level from the one above, with its border; height and width are those of the level without."""
    frame = kept + tl.program_id(1).to(tl.int64) * size
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < padded_height * line
    row = tl.minimum(tl.maximum(index // line - _BORDER, 0), height - 1)
    column = tl.minimum(tl.maximum(index % line - _BORDER, 0), width - 1)
    source = frame + above + (2 * row + _BORDER) * above_line + 2 * column + _BORDER
    total = tl.load(source, mask=exists, other=0).to(tl.int32) + tl.load(source + 1, mask=exists, other=0)
    total += tl.load(source + above_line, mask=exists, other=0)
    total += tl.load(source + above_line + 1, mask=exists, other=0)
    tl.store(frame + level + index, ((total + 2) >> 2).to(tl.uint8), mask=exists)


@triton.jit(
    do_not_specialize=[
        "size", "distance", "level", "line", "rows", "columns", "count",
        "parent_first", "parent_stride", "parent_rows", "parent_columns", "out_first", "out_stride",
    ]
)  # fmt: skip
def _motion(
    kept, order, window, table, parents, out, size, distance, level, line, rows, columns, count,
    parent_first, parent_stride, parent_rows, parent_columns, out_first, out_stride,
    COARSE: tl.constexpr, PER_PARENT: tl.constexpr, CELL: tl.constexpr, WINDOW: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    BLOCK: tl.constexpr = PIXELS // (WINDOW * WINDOW)
    frame = tl.program_id(1)
    side = tl.program_id(2)
    frames = tl.num_programs(1)
    position = tl.load(window + frame)
    if distance <= tl.load(window + (1 + side) * frames + frame):
        here = kept + tl.load(order + position).to(tl.int64) * size + level
        there = kept + tl.load(order + position + (2 * side - 1) * distance).to(tl.int64) * size + level
        cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        known = cell < rows * columns
        row = cell // columns
        column = cell % columns
        pixel = tl.arange(0, WINDOW * WINDOW)
        origin = (row * CELL - WINDOW // 4 + _BORDER) * line + column * CELL - WINDOW // 4 + _BORDER
        offset = origin[:, None] + (pixel // WINDOW * line + pixel % WINDOW)[None, :]
        mine = tl.load(here + offset, mask=known[:, None], other=0).to(tl.int32)
        # A cell may leave the picture by its own size, no further.
        top = -row * CELL - CELL
        left = -column * CELL - CELL
        bottom = (rows - row) * CELL
        right = (columns - column) * CELL
        best = tl.full((BLOCK,), 2**31 - 1, tl.int32)
        best_y = tl.zeros((BLOCK,), tl.int32)
        best_x = tl.zeros((BLOCK,), tl.int32)
        base_y = tl.zeros((BLOCK,), tl.int32)
        base_x = tl.zeros((BLOCK,), tl.int32)
        parent = parents + parent_first + (frame * 2 + side) * parent_stride
        if COARSE:  # noqa: SIM102 -- this is known to the compiler, the distance is not
            if distance > 1:
                # As far again for each frame more, in pixels of this level; a half upwards.
                previous = parent + (2 * row * parent_columns + 2 * column) * 2
                over = 4 * (distance - 1)
                base_y = 2 * distance * tl.load(previous, mask=known, other=0).to(tl.int32) + over
                base_x = 2 * distance * tl.load(previous + 1, mask=known, other=0).to(tl.int32) + over
                base_y = tl.where(base_y >= 0, base_y, base_y - 2 * over + 1) // (2 * over)
                base_x = tl.where(base_x >= 0, base_x, base_x - 2 * over + 1) // (2 * over)
        for index in range(count):
            step = table + 6 * index
            if not COARSE:
                above = tl.minimum(tl.maximum((row // PER_PARENT) + tl.load(step + 4), 0), parent_rows - 1)
                beside = tl.minimum(tl.maximum((column // PER_PARENT) + tl.load(step + 5), 0), parent_columns - 1)
                vector = parent + (above * parent_columns + beside) * 2
                base_y = tl.load(vector, mask=known, other=0).to(tl.int32)
                base_x = tl.load(vector + 1, mask=known, other=0).to(tl.int32)
            factor = tl.load(step + 3)
            y = tl.minimum(tl.maximum(factor * base_y + tl.load(step), top), bottom)
            x = tl.minimum(tl.maximum(factor * base_x + tl.load(step + 1), left), right)
            moved = there + offset + (y * line + x)[:, None]
            difference = tl.abs(tl.load(moved, mask=known[:, None], other=0).to(tl.int32) - mine)
            total = tl.sum(difference, 1) * (tl.load(step + 2) + _STEP_COST)
            # Of equal ones the earlier.
            better = total < best
            best = tl.where(better, total, best)
            best_y = tl.where(better, y, best_y)
            best_x = tl.where(better, x, best_x)
        to = out + out_first + (frame * 2 + side) * out_stride + cell * 2
        tl.store(to, best_y.to(tl.int16), mask=known)
        tl.store(to + 1, best_x.to(tl.int16), mask=known)


KEEP = Kernel(_keep, [{"BLOCK": 512, "num_warps": 4}])
HALVE = Kernel(_halve, [{"BLOCK": 512, "num_warps": 4}])
MOTION = Kernel(
    _motion, [{"PIXELS": 2048, "num_warps": 4, "num_stages": 1}, {"PIXELS": 1024, "num_warps": 4, "num_stages": 1}]
)


def keep(clip: Tensor) -> Tensor:
    """What is needed later of each frame of (T, 3, H, W): (T, bytes), see `Layout`."""
    clip = clip.contiguous()
    frames, _, height, width = clip.shape
    layout = Layout(height, width)
    kept = clip.new_empty((frames, layout.size), dtype=torch.uint8)
    if not frames:
        return kept
    padded = layout.padded(0)
    KEEP.launch(
        kept,
        "",
        lambda config: (triton.cdiv(padded[0] * padded[1], config["BLOCK"]), frames),
        clip, kept, kept.view(torch.int16), layout.size, layout.level(3), height, width, *padded,
    )  # fmt: skip
    for level in (1, 2):
        padded = layout.padded(level)
        HALVE.launch(
            kept,
            "",
            lambda config, padded=padded: (triton.cdiv(padded[0] * padded[1], config["BLOCK"]), frames),  # type: ignore[misc]
            kept, layout.size, layout.level(level - 1), layout.padded(level - 1)[1],
            layout.level(level), height >> level, width >> level, *padded,
        )  # fmt: skip
    return kept


@cache
def _table(level: int, reach: int, device: torch.device) -> Tensor:
    """The candidates of a search in the order in which they are tried: (candidates, 6), int32.

    Pixels down and right, and what they cost, of a vector times a factor: that which the search begins with, or that of
    the cell that many cells down and right of it.
    """
    rows = [(y, x, abs(y) + abs(x), 1 if level == 2 else 2, 0, 0) for y, x in steps(reach)]
    if level < 2:
        rows += [(0, 0, 1, 2, down, right) for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    return torch.tensor([*rows, (0, 0, 0, 0, 0, 0)], dtype=torch.int32, device=device)


def motion(kept: Tensor, order: Tensor, window: Tensor, layout: Layout, reach: int) -> Tensor:
    """The vectors from frames to their neighbours.

    Args:
        kept: (frames, bytes), from `keep`.
        order: int32, for each frame in the order of time, its row of ``kept``.
        window: (3, T), int32: for each outgoing frame its place in ``order``, and how many neighbours it has before
            and after it.
        reach: the most that any has.

    Returns:
        (T, 2, reach, rows, columns, 2), int16: before and after, by distance, for each cell pixels down and right.
        Of neighbours that there are not, anything.
    """
    frames = window.shape[1]
    cells = [rows * columns for rows, columns in map(layout.cells, range(3))]
    fine = window.new_empty((frames, 2, reach, *layout.cells(0), 2), dtype=torch.int16)
    middle = window.new_empty((frames, 2, cells[1], 2), dtype=torch.int16)
    coarse = window.new_empty((frames, 2, cells[2], 2), dtype=torch.int16)
    all_of = 2 * reach * cells[0]
    for distance in range(1, reach + 1):
        for level, parents, first, stride, out, out_first, out_stride in (
            # At the first distance there is nothing to begin with, and nothing is read.
            (2, fine, 2 * max(distance - 2, 0) * cells[0], all_of, coarse, 0, 2 * cells[2]),
            (1, coarse, 0, 2 * cells[2], middle, 0, 2 * cells[1]),
            (0, middle, 0, 2 * cells[1], fine, 2 * (distance - 1) * cells[0], all_of),
        ):
            around = (6 if distance == 1 else 2) if level == 2 else 1
            table = _table(level, around, kept.device)
            wide = 2 * CELLS[level]
            MOTION.launch(
                kept,
                f"{measures(frames, layout.height, layout.width, 1)} {level} {around}",
                lambda config, level=level, wide=wide: (  # type: ignore[misc]
                    triton.cdiv(cells[level], config["PIXELS"] // wide**2), frames, 2
                ),
                kept, order, window, table, parents, out, layout.size, distance, layout.level(level),
                layout.padded(level)[1], *layout.cells(level), len(table), first, stride,
                *layout.cells((level + 1) % 3), out_first, out_stride,
                COARSE=level == 2, PER_PARENT=1 + (level == 1), CELL=CELLS[level], WINDOW=wide,
            )  # fmt: skip
    return fine
