"""Footage on disk: the datasets' layouts and folders of video files, read a few frames at a time."""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.datasets import PICTURES, VIDEOS, of_kind
from evaluation.errors import EvaluationError
from evaluation.frames import Images
from vsgshift.errors import VideoError
from vsgshift.video.clip import open_clip, to_rgb

from .clips.rng import Rng
from .recipe import Source, TrainingError

log = logging.getLogger(__name__)

OPEN_FILES = 4
"""Video files that a process keeps open."""

LAYOUTS: dict[Source, str] = {
    "pairs": "<root>/blur/<video>/*.png and <root>/gt/<video>/*.png",
    "frames": "<root>/<video>/*.png, or <root>/JPEGImages/480p/<video>/*.jpg",
    "videos": f"video files ({', '.join(sorted(VIDEOS))}) in <root> or folders under it",
}
"""What is looked for under a footage's root."""


@dataclass
class VideoFile:
    """A video file, read through VapourSynth and BestSource; opened when first needed."""

    path: Path
    _clip: Any = field(default=None, repr=False)

    @property
    def clip(self) -> Any:
        """The file as a VapourSynth clip in RGBS."""
        if self._clip is None:
            # An index is kept, since every process opens the file, and again and again.
            clip = open_clip(self.path, {})
            import vapoursynth as vs

            self._clip = to_rgb(clip, clip.node, vs.RGBS)
        return self._clip

    def close(self) -> None:
        """Closes the file until it is needed again."""
        self._clip = None

    def __len__(self) -> int:
        return len(self.clip)

    def read(self, span: range) -> Tensor:
        """(T, 3, H, W), RGB in [0, 1], gamma-encoded."""
        frames = []
        for frame in self.clip[span.start : span.stop].frames(close=True):
            frames.append(torch.from_numpy(np.stack([np.asarray(frame[plane]) for plane in range(3)])))
        return torch.stack(frames).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """One video of a data set: what is shown, and where there is one, its sharp counterpart."""

    name: str
    shown: Images | VideoFile
    sharp: Images | None = None

    def __len__(self) -> int:
        return len(self.shown)


@contextmanager
def as_training_errors() -> Iterator[None]:
    """Have what cannot be read reported as an error of the training."""
    try:
        yield
    except (EvaluationError, VideoError) as error:
        raise TrainingError(str(error)) from error


@as_training_errors()
def scenes(source: Source, root: str) -> list[Scene]:
    """The videos under a root, sorted by name; see LAYOUTS for what is looked for.

    Raises:
        TrainingError: there is nothing of the kind, or blurred and sharp videos do not match.
    """
    if not root:
        raise TrainingError(f"data.source {source!r} wants data.root (or --root): {LAYOUTS[source]}")
    folder = Path(root).expanduser()
    if source == "pairs":
        videos = [_pair(shown, folder / "gt" / shown.name) for shown in _folders(folder / "blur")]
    elif source == "frames":
        davis = folder / "JPEGImages" / "480p"
        videos = [Scene(f.name, Images(of_kind(f, PICTURES))) for f in _folders(davis if davis.is_dir() else folder)]
    else:
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in VIDEOS and f.is_file())
        videos = [Scene(str(f.relative_to(folder)), VideoFile(f)) for f in files]
    if not videos:
        raise TrainingError(f"no footage in {folder}; expected: {LAYOUTS[source]}")
    return videos


def _folders(parent: Path) -> list[Path]:
    """Folders with pictures in them, by name."""
    if not parent.is_dir():
        return []
    return sorted(folder for folder in parent.iterdir() if folder.is_dir() and of_kind(folder, PICTURES))


def _pair(shown: Path, sharp: Path) -> Scene:
    blurred, sharp_files = of_kind(shown, PICTURES), of_kind(sharp, PICTURES) if sharp.is_dir() else []
    if len(blurred) != len(sharp_files):
        raise TrainingError(f"{shown} has {len(blurred)} pictures, but {sharp} has {len(sharp_files)}: they must match")
    return Scene(shown.name, Images(blurred), Images(sharp_files))


class Library:
    """The scenes under a root. Video files are opened when their turn comes: looking into each takes long."""

    def __init__(self, source: Source, root: str) -> None:
        """Raises TrainingError where `scenes` does."""
        self.root = root
        self.scenes = scenes(source, root)
        self.short: set[str] = set()
        self.open: OrderedDict[int, VideoFile] = OrderedDict()

    @as_training_errors()
    def pick(self, rng: Rng, frames: int) -> Scene:
        """A scene of at least that many frames, all such equally likely.

        Raises:
            TrainingError: there is none.
        """
        while len(self.short) < len(self.scenes):
            scene = rng.choice(self.scenes)
            length = len(scene)
            self._opened(scene)
            if length >= frames:
                return scene
            if scene.name not in self.short:
                self.short.add(scene.name)
                log.warning("%s has %d frames, fewer than the %d that clips take: left out", scene.name, length, frames)
        raise TrainingError(f"no video in {self.root} has the {frames} frames that clips take; lower data.frames")

    @as_training_errors()
    def read(self, scene: Scene, first: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Frames of a scene as shown and, where there are any, their sharp ones, (count, 3, H, W) each.

        Raises:
            TrainingError: they cannot be read, or differ in size.
        """
        span = range(first, first + count)
        shown = scene.shown.read(span)
        self._opened(scene)
        sharp = scene.sharp.read(span) if scene.sharp else None
        if sharp is not None and sharp.shape != shown.shape:
            raise TrainingError(f"{scene.name}: blurred and sharp pictures differ in size")
        return shown, sharp

    def _opened(self, scene: Scene) -> None:
        """Closes the video files read longest ago."""
        if not isinstance(scene.shown, VideoFile):
            return
        self.open[id(scene.shown)] = scene.shown
        self.open.move_to_end(id(scene.shown))
        while len(self.open) > OPEN_FILES:
            self.open.popitem(last=False)[1].close()
