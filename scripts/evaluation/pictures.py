"""The same part of a frame by several methods, side by side, for the eye."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from evaluation.errors import EvaluationError
from evaluation.frames import pillow

SIDE = 128
"""Pixels of a crop's side, where the frame has as many."""
SCALE = 2
"""Crops are shown at 200 %, each pixel as a square."""
CAPTION = 16
"""Pixels above each crop for its name."""
MARGIN = 4


def busiest(frame: Tensor, side: int = SIDE) -> tuple[int, int]:
    """Top and left of the square of a frame (3, H, W) with the most contrast between neighbours."""
    change = torch.zeros(frame.shape[1:], dtype=torch.float32, device=frame.device)
    change[1:] += (frame[:, 1:] - frame[:, :-1]).abs().mean(0)
    change[:, 1:] += (frame[:, :, 1:] - frame[:, :, :-1]).abs().mean(0)
    return strongest(change, side)


def strongest(weight: Tensor, side: int = SIDE) -> tuple[int, int]:
    """Top and left of the square of an image (H, W) with the largest sum."""
    window = min(side, *weight.shape)
    sums = avg_pool2d(weight[None, None].float(), window, stride=1)[0, 0]
    index = int(sums.argmax())
    return index // sums.shape[1], index % sums.shape[1]


def write_side_by_side(
    file: Path, frames: Mapping[str, Tensor], corner: tuple[int, int], side: int = SIDE, columns: int = 4
) -> None:
    """Write a picture of the square at ``corner`` (top, left) of each frame (3, H, W), RGB, under its name, in rows.

    Raises EvaluationError if the file cannot be written, or Pillow is not installed.
    """
    images = pillow()
    from PIL import ImageDraw

    top, left = corner
    crops = {name: frame[:, top : top + side, left : left + side] for name, frame in frames.items()}
    height, width = (SCALE * length for length in next(iter(crops.values())).shape[1:])
    rows = _in_rows(list(crops.items()), columns)
    cell_height, cell_width = height + CAPTION + MARGIN, width + MARGIN
    sheet = images.new("RGB", (cell_width * len(rows[0]) + MARGIN, cell_height * len(rows) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for row, cells in enumerate(rows):
        for column, (name, crop) in enumerate(cells):
            x, y = MARGIN + column * cell_width, MARGIN + row * cell_height
            draw.text((x, y), name, fill="black")
            sheet.paste(
                images.fromarray(_pixels(crop)).resize((width, height), images.Resampling.NEAREST), (x, y + CAPTION)
            )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file, quality=90)
    except OSError as error:
        raise EvaluationError(f"cannot write {file}: {error.strerror}") from error


def _in_rows(cells: Sequence[tuple[str, Tensor]], columns: int) -> list[Sequence[tuple[str, Tensor]]]:
    return [cells[start : start + columns] for start in range(0, len(cells), columns)]


def _pixels(frame: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W, 3)."""
    codes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (
        (frame.float().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    )
    return codes
