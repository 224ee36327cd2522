"""A video file, its restored counterpart, and frames of both as RGB."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsgshift.errors import VideoError
from vsgshift.video.clip import open_clip, to_rgb
from vsgshift.video.script import FilterCall

type Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""(H, W, 3), RGB."""
USUAL_RATE = Fraction(25)
"""Frames per second of a clip that does not tell."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time in a clip: in seconds, or as the number of a frame."""

    seconds: float | None = None
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same frame before and after."""

    before: Picture
    after: Picture
    number: int
    time: str
    """h:mm:ss.mmm from the beginning of the clip."""


class Comparison:
    """A file and what the filters make of it; no frame is computed until it is asked for."""

    def __init__(self, file: Path, filters: Sequence[FilterCall]) -> None:
        """filters: run one after the other.

        Raises:
            VideoError: as for `open_clip`, or a filter refuses.
        """
        clip = open_clip(file)
        import vapoursynth as vs

        restored = clip.node
        try:
            for call in filters:
                restored = call.apply(restored)
        except vs.Error as error:
            raise VideoError(str(error)) from error
        self._nodes = [to_rgb(clip, node, vs.RGB24) for node in (clip.node, restored)]
        self._error: type[Exception] = vs.Error
        self.length = int(clip.node.num_frames)
        self.rate = Fraction(clip.node.fps) or USUAL_RATE

    def frame_of(self, moment: Moment | None) -> int:
        """The number of the frame at a moment; None is the middle.

        Raises:
            VideoError: the clip ends before.
        """
        if moment is None:
            return self.length // 2
        number = moment.frame if moment.frame is not None else int((moment.seconds or 0.0) * self.rate)
        if number >= self.length:
            end = f"{self.length} frames, {self.time_of(self.length)}"
            wanted = f"frame {number}" if moment.frame is not None else self.time_of(number)
            raise VideoError(f"{wanted} is after the end: the video has {end}")
        return number

    def time_of(self, number: int) -> str:
        """h:mm:ss.mmm at which a frame is shown."""
        thousandths = round(1000 * number / self.rate)
        minutes, rest = divmod(thousandths, 60_000)
        return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"

    def pairs(self, numbers: range) -> Iterator[Pair]:
        """Frames before and after, in order.

        Raises:
            VideoError: a frame cannot be decoded or restored.
        """
        before, after = (clip[numbers.start : numbers.stop].frames(close=True) for clip in self._nodes)
        try:
            for number, first, second in zip(numbers, before, after, strict=True):
                yield Pair(before=_picture(first), after=_picture(second), number=number, time=self.time_of(number))
        except self._error as error:
            raise VideoError(str(error)) from error


def _picture(frame: Any) -> Picture:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
