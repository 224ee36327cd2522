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
from vsgshift.video.times import UNKNOWN_RATE

type Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""(H, W, 3), RGB."""


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
        self.rate = Fraction(clip.node.fps) or UNKNOWN_RATE
        self._times = clip.times

    def frame_of(self, moment: Moment | None) -> int:
        """The number of the frame at a moment; None is the middle.

        Raises:
            VideoError: the clip ends before.
        """
        if moment is None:
            return self.length // 2
        end = self._times.seconds(self.length - 1) + (self._times.step * self._times.time_base or 1 / self.rate)
        seconds, number = moment.seconds or 0.0, moment.frame
        if number is None and seconds < end:
            return self._times.shown_at(seconds)
        if number is None or number >= self.length:
            wanted = _clock(Fraction(seconds)) if number is None else f"frame {number}"
            raise VideoError(f"{wanted} is after the end: the video has {self.length} frames, {_clock(end)}")
        return number

    def time_of(self, number: int) -> str:
        """h:mm:ss.mmm at which a frame is shown."""
        return _clock(self._times.seconds(number))

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


def _clock(seconds: Fraction) -> str:
    """h:mm:ss.mmm"""
    minutes, rest = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _picture(frame: Any) -> Picture:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
