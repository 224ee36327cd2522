"""Where blocks of a frame are in a neighbouring one: whole-pixel vectors, from coarse to fine.

Enough for measuring: a few hundred blocks of a frame, each with the vector of the least sum of absolute differences.
Plain arithmetic in a fixed order, so that a frame's vectors are the same whenever they are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

type Samples = NDArray[np.float32]
type Whole = NDArray[np.intp]

LARGEST_SIDE, SMALLEST_SIDE = 16, 4
"""Of blocks, in pixels; small planes have small blocks, so that there are some."""
MOST_BLOCKS = 400
"""Of a plane; of larger ones this many are used, spread evenly."""
COARSE_WIDTH = 320
"""Pixels across that the coarsest level of a pyramid has, at most."""
REACH = 4
"""Pixels of the coarsest level that a vector reaches."""
DEARER = 1 / 64
"""How much dearer a vector is for each pixel between it and the one it was tried around."""
STILL = 1.5
"""To stay is cheaper by this over the block's side: noise alone makes some vector better than none."""


@dataclass(frozen=True)
class Blocks:
    """Square blocks of a plane."""

    top: Whole
    left: Whole
    """(N,) each, pixels."""
    side: int


def laid_blocks(shape: tuple[int, ...]) -> Blocks:
    """The blocks that are used of a plane (H, W): a grid of at most `MOST_BLOCKS`."""
    side = LARGEST_SIDE
    while side > SMALLEST_SIDE and min(shape) < 8 * side:
        side //= 2
    down, across = (length // side for length in shape)
    over = max(1.0, (down * across / MOST_BLOCKS) ** 0.5)
    top, left = (
        np.linspace(0, length - side, int(count / over)).round().astype(np.intp)
        for length, count in zip(shape, (down, across), strict=True)
    )
    return Blocks(np.repeat(top, len(left)), np.tile(left, len(top)), side)


def gathered(plane: NDArray[Any], top: Whole, left: Whole, side: int) -> Samples:
    """Squares of a plane as (N, side, side); its border goes on for ever."""
    line = np.arange(side)
    rows = np.clip(top[:, None] + line, 0, plane.shape[0] - 1)
    columns = np.clip(left[:, None] + line, 0, plane.shape[1] - 1)
    squares: Samples = plane[rows[:, :, None], columns[:, None, :]].astype(np.float32)
    return squares


class Pyramid:
    """A plane (H, W) of finite numbers, and means of 2x2, 4x4, ... of it, down to what is searched first."""

    def __init__(self, plane: Samples, side: int) -> None:
        self.levels = [plane]
        while 2 ** len(self.levels) <= side // 4 or self.levels[-1].shape[1] > COARSE_WIDTH:
            if 2 ** len(self.levels) > side or min(self.levels[-1].shape) < 4:
                break
            x = self.levels[-1]
            x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
            self.levels.append((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) * np.float32(0.25))


def vectors(frame: Pyramid, neighbour: Pyramid, blocks: Blocks) -> tuple[Whole, Whole]:
    """Pixels down and right from each block of the frame to the like in the neighbour: (N,) each."""
    coarsest = len(frame.levels) - 1
    scale = 1 << coarsest
    cell = blocks.side // scale
    down, right = _coarse(frame.levels[-1], neighbour.levels[-1], cell, blocks, scale)
    for level in range(coarsest - 1, -1, -1):
        down, right = 2 * down, 2 * right
        scale = 1 << level
        side = blocks.side // scale
        top, left = blocks.top // scale, blocks.left // scale
        here = gathered(frame.levels[level], top, left, side)
        around = gathered(neighbour.levels[level], top + down - 1, left + right - 1, side + 2)
        steps = _steps(1)
        costs = np.stack([_apart(around[:, 1 + y :, 1 + x :][:, :side, :side], here) for y, x in steps])
        costs *= np.array([1 + DEARER * (abs(y) + abs(x)) for y, x in steps], np.float32)[:, None]
        best = costs.argmin(0)
        moved = np.array(steps)[best]
        down, right = down + moved[:, 0], right + moved[:, 1]
        still = _apart(gathered(neighbour.levels[level], top, left, side), here) * _still(side)
        stays = still <= costs.min(0)
        down[stays] = right[stays] = 0
    return down, right


def _apart(a: Samples, b: Samples) -> Samples:
    """Sums of absolute differences of blocks (N, side, side): (N,)."""
    difference = np.abs(a - b)
    sums: Samples = difference.reshape(len(a), -1).sum(1)
    return sums


def _still(side: int) -> np.float32:
    return np.float32(max(1 - STILL / side, 0.5))


def _steps(reach: int) -> list[tuple[int, int]]:
    """All within reach, the shortest first."""
    line = range(-reach, reach + 1)
    return sorted(product(line, line), key=lambda step: (abs(step[0]) + abs(step[1]), step))


def _coarse(frame: Samples, neighbour: Samples, cell: int, blocks: Blocks, scale: int) -> tuple[Whole, Whole]:
    """The vectors of the cells that the blocks' middles are in; each is matched with half of the cells around it."""
    rows, columns = (max(length // cell, 1) for length in frame.shape)
    height, width = min(rows * cell, frame.shape[0]), min(columns * cell, frame.shape[1])
    padded = np.pad(neighbour, REACH, mode="edge")
    steps = _steps(REACH)
    costs = np.empty((len(steps), rows, columns), np.float32)
    for index, (y, x) in enumerate(steps):
        part = padded[REACH + y : REACH + y + height, REACH + x : REACH + x + width]
        difference = np.abs(part - frame[:height, :width])
        lines = np.add.reduce([difference[row :: height // rows] for row in range(height // rows)])
        costs[index] = np.add.reduce([lines[:, column :: width // columns] for column in range(width // columns)])
        costs[index] *= 1 + DEARER * (abs(y) + abs(x))
    costs = np.pad(costs, ((0, 0), (1, 1), (1, 1)), mode="edge")
    costs = costs[:, :-2] + 2 * costs[:, 1:-1] + costs[:, 2:]
    costs = costs[:, :, :-2] + 2 * costs[:, :, 1:-1] + costs[:, :, 2:]
    costs[0] *= _still(2 * cell)
    best = np.array(steps)[costs.argmin(0)]
    middle = blocks.side // 2
    row = np.minimum((blocks.top + middle) // (scale * cell), rows - 1)
    column = np.minimum((blocks.left + middle) // (scale * cell), columns - 1)
    chosen = best[row, column]
    return chosen[:, 0].astype(np.intp), chosen[:, 1].astype(np.intp)


def scaled(down: Whole, right: Whole, plane: Sequence[int], of: Sequence[int]) -> tuple[Whole, Whole]:
    """Vectors in a plane of another size: rounded to whole pixels, halves upwards."""
    return tuple(
        (2 * vector * size + whole) // (2 * whole) for vector, size, whole in zip((down, right), plane, of, strict=True)
    )  # type: ignore[return-value]
