"""Frames that are read when they are asked for, wherever they lie; memory does not depend on their number."""

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from vsgshift.video.clip import open_clip, to_rgb

KEPT_BYTES = 1 << 28
"""What `Kept` keeps."""


class Frames(Protocol):
    """A clip of a known length and size (H, W)."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        ...

    def read(self, span: range) -> Tensor:
        """The frames of those numbers, (len(span), 3, H, W), RGB in [0, 1] unless noise exceeds it, float32.

        Raises:
            EvaluationError: they cannot be read.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a method gets, and what it should make of it; of the same length and size."""

    name: str
    source: Frames
    target: Frames


class Stack:
    """Frames that are in memory: (T, 3, H, W), RGB in [0, 1]."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames.float()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return int(self.frames.shape[2]), int(self.frames.shape[3])

    def read(self, span: range) -> Tensor:
        return self.frames[span.start : span.stop]


class Images:
    """A clip as a folder of pictures has it, 8 bits a channel; halved by Pillow's bicubic reduction, if asked for.
    Raises EvaluationError if the first picture cannot be read, or Pillow is not installed."""

    def __init__(self, files: Sequence[Path], *, halved: bool = False) -> None:
        self.files = files
        self.halved = halved
        self._size = _read_image(files[0], halved).shape[1:]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def size(self) -> tuple[int, int]:
        return int(self._size[0]), int(self._size[1])

    def read(self, span: range) -> Tensor:
        frames = []
        for file in self.files[span.start : span.stop]:
            frame = _read_image(file, self.halved)
            if frame.shape[1:] != self._size:
                this, first = (f"{shape[1]}x{shape[0]}" for shape in (frame.shape[1:], self._size))
                raise EvaluationError(f"{file} is {this}, but {self.files[0].name} is {first}; a clip has one size")
            frames.append(frame)
        return torch.stack(frames).float() / 255


def pillow() -> Any:
    """Pillow's module Image. Raises EvaluationError if it is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise EvaluationError("pictures need Pillow; install it with: pip install pillow") from error
    return Image


def _read_image(file: Path, halved: bool) -> Tensor:
    """(3, H, W), uint8."""
    images = pillow()
    try:
        with images.open(file) as opened:
            image = opened.convert("RGB")
    except OSError as error:
        raise EvaluationError(f"cannot read {file}: not a picture, or damaged") from error
    if halved:
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), images.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Video:
    """A video file, read through BestSource and brought to RGB of 8 bits by its own matrix and range; both sides halved
    by a bicubic filter, if asked for, which leaves little of compression noise. Raises VideoError."""

    def __init__(self, file: Path, *, halved: bool = False) -> None:
        clip = open_clip(file)
        import vapoursynth as vs

        size = [max(1, side // 2 if halved else side) for side in (clip.node.width, clip.node.height)]
        self._node: Any = to_rgb(clip, clip.node, vs.RGB24, (size[0], size[1]))

    def __len__(self) -> int:
        return int(self._node.num_frames)

    @property
    def size(self) -> tuple[int, int]:
        return int(self._node.height), int(self._node.width)

    def read(self, span: range) -> Tensor:
        frames = [self._node.get_frame(number) for number in span]
        planes = np.stack([[np.asarray(frame[plane]) for plane in range(3)] for frame in frames])
        return torch.from_numpy(planes).float() / 255


class _Wrapper:
    """Frames made from others, of the same length and size."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.size


class Noisy(_Wrapper):
    """Frames with Gaussian noise, not clipped; every frame's noise has a seed of its own.

    So a frame has the same noise in whatever order, in whatever pieces and on whatever device it is
    used, and at another sigma the same pattern, scaled.
    """

    def __init__(self, frames: Frames, sigma: float, *, seed: int, name: str) -> None:
        """sigma: standard deviation on the 8-bit scale. name: the clip's, part of the seed."""
        super().__init__(frames)
        self.sigma = sigma
        self._key = f"{seed}/{name}"

    def read(self, span: range) -> Tensor:
        clean = self.frames.read(span)
        noise = []
        for number in span:
            generator = torch.Generator().manual_seed(zlib.crc32(f"{self._key}/{number}".encode()))
            noise.append(torch.randn(clean.shape[1:], generator=generator))
        return clean + self.sigma / 255 * torch.stack(noise)


class Cropped:
    """The upper left part of frames, of this height and width."""

    def __init__(self, frames: Frames, size: tuple[int, int]) -> None:
        self.frames = frames
        self.size = size

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, span: range) -> Tensor:
        height, width = self.size
        return self.frames.read(span)[..., :height, :width]


class Kept(_Wrapper):
    """Frames of which those read last are kept: seeking in a video and drawing noise cost more than memory.

    May be read by several threads at once.
    """

    def __init__(self, frames: Frames, *, limit: int = KEPT_BYTES) -> None:
        """limit: bytes of frames that are kept beyond those being read."""
        super().__init__(frames)
        self._limit = limit
        self._known: dict[int, Tensor] = {}
        self._lock = threading.Lock()

    def read(self, span: range) -> Tensor:
        with self._lock:
            if missing := [number for number in span if number not in self._known]:
                new = range(missing[0], missing[-1] + 1)
                # Copies, so that a frame does not hold on to those that were read with it.
                self._known |= {n: frame.clone() for n, frame in zip(new, self.frames.read(new), strict=True)}
            kept = [self._known[number] for number in span]
            while len(self._known) * kept[0].nbytes > self._limit:
                del self._known[next(iter(self._known))]
        return torch.stack(kept)
