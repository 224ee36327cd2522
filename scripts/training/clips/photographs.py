"""Squares cut from photographs, to paint scenes with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .rng import Rng

SUFFIXES = (".jpg", ".jpeg", ".png")
LEAST = 400
"""Pixels on the short side of a photograph that is worth cutting from."""


@dataclass(frozen=True)
class Photographs:
    """A folder of photographs.

    Attributes:
        files: the photographs, by name.
        share: how probably a scene is one of them.
    """

    files: tuple[Path, ...]
    share: float

    @classmethod
    def under(cls, folder: Path, *, share: float, without: Sequence[str] = ()) -> "Photographs":
        """Those in a folder, without the sets named: a set's name is what comes before "__" in the file's.

        Raises:
            FileNotFoundError: there are none.
        """
        files = tuple(
            path
            for path in sorted(folder.iterdir() if folder.is_dir() else ())
            if path.suffix.lower() in SUFFIXES and path.name.partition("__")[0] not in without
        )
        if not files:
            raise FileNotFoundError(f"no photographs in {folder}")
        return cls(files, share)

    def square(self, rng: Rng, side: int) -> Tensor:
        """A square (3, side, side) of one of them, in [0, 1], made smaller by up to 0.6, or larger if it must be."""
        for _ in range(len(self.files)):
            with Image.open(rng.choice(self.files)) as opened:
                picture = opened.convert("RGB")
            short = min(picture.size)
            if short < min(LEAST, side):
                continue
            scale = max(side / short, rng.uniform(0.6, 1.0))
            width, height = (max(side, round(length * scale)) for length in picture.size)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
            left, top = rng.integer(0, width - side), rng.integer(0, height - side)
            pixels = np.asarray(picture.crop((left, top, left + side, top + side)))
            return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        raise ValueError("the photographs are too small")
