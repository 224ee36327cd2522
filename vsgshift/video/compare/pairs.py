"""A video file, its restored counterpart, and frames of both as RGB."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsgshift.h273 import UNSPECIFIED, usual_matrix
from vsgshift.video.compare.errors import CompareError
from vsgshift.video.programs import check_file, deinterlace_first

type Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""(H, W, 3), RGB."""
USUAL_RATE = Fraction(25)
"""Frames per second of a clip that does not tell."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A function of the plugin with its arguments."""

    task: str
    """"denoise" or "deblur"."""
    options: dict[str, float | int | str]

    def __str__(self) -> str:
        told = [self.task]
        if self.task == "denoise" and "sigma" not in self.options:
            told.append("sigma measured")
        for name, value in self.options.items():
            if name != "device_id":
                told.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
        return ", ".join(told)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time in a clip: in seconds, or as the number of a frame."""

    seconds: float | None = None
    frame: int | None = None

    @staticmethod
    def parse(text: str) -> "Moment":
        """``90``, ``90.5``, ``1:30``, ``0:01:30.5`` or ``2250f``.

        Raises:
            ValueError: it is none of these.
        """
        if re.fullmatch(r"\d+f", text):
            return Moment(frame=int(text[:-1]))
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
            raise ValueError(f"{text!r} is no time: give seconds, h:m:s, or a frame number as 120f")
        seconds = 0.0
        for part in text.split(":"):
            seconds = 60 * seconds + float(part)
        return Moment(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same frame before and after."""

    before: Picture
    after: Picture
    number: int
    time: str
    """h:mm:ss.mmm from the beginning of the clip."""


class Video:
    """A file and what the filters make of it; nothing is computed until frames are asked for."""

    def __init__(self, file: Path, filters: Sequence[Filter]) -> None:
        """filters: run one after the other.

        Raises:
            VideoFileError: there is no such file.
            CompareError: it is no video, an interlaced one, a plugin is missing, or a filter refuses.
        """
        check_file(file)
        try:
            import vapoursynth as vs
        except ImportError as error:
            raise CompareError(f"VapourSynth does not work ({error}); run: vsgshift doctor") from error

        for namespace, name in (("gshift", "its own plugin"), ("bs", "BestSource")):
            if not hasattr(vs.core, namespace):
                raise CompareError(f"VapourSynth does not find {name}; run: vsgshift doctor")
        try:
            # Indexed in memory: nothing is left beside the user's files.
            source = vs.core.bs.VideoSource(str(file.absolute()), cachemode=0)
            props = source.get_frame(0).props
        except vs.Error as error:
            raise CompareError(f"{file}: no video that BestSource can read") from error
        if source.format is None or not source.width:
            raise CompareError(f"{file}: the video's format or size varies; make it constant first")
        if props.get("_FieldBased", 0):
            raise CompareError(deinterlace_first(file))
        restored = source
        try:
            for item in filters:
                restored = getattr(vs.core.gshift, item.task.capitalize())(restored, **item.options)
        except vs.Error as error:
            raise CompareError(str(error)) from error
        matrix = None
        if source.format.color_family == vs.YUV:
            told = props.get("_Matrix", UNSPECIFIED)
            matrix = usual_matrix(source.width, source.height) if told == UNSPECIFIED else told
        self._clips = [clip.resize.Bicubic(format=vs.RGB24, matrix_in=matrix) for clip in (source, restored)]
        self._error: type[Exception] = vs.Error
        self.length = int(source.num_frames)
        self.rate = Fraction(source.fps) or USUAL_RATE

    def frame_of(self, moment: Moment | None) -> int:
        """The number of the frame at a moment; None is the middle.

        Raises:
            CompareError: the clip ends before.
        """
        if moment is None:
            return self.length // 2
        number = moment.frame if moment.frame is not None else int((moment.seconds or 0.0) * self.rate)
        if number >= self.length:
            end = f"{self.length} frames, {self.time_of(self.length)}"
            wanted = f"frame {number}" if moment.frame is not None else self.time_of(number)
            raise CompareError(f"{wanted} is behind the end: the video has {end}")
        return number

    def time_of(self, number: int) -> str:
        """h:mm:ss.mmm at which a frame is shown."""
        thousandths = round(1000 * number / self.rate)
        minutes, rest = divmod(thousandths, 60_000)
        return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"

    def pairs(self, numbers: range) -> Iterator[Pair]:
        """Frames before and after, in order.

        Raises:
            CompareError: a frame cannot be decoded or restored.
        """
        before, after = (clip[numbers.start : numbers.stop].frames(close=True) for clip in self._clips)
        try:
            for number, first, second in zip(numbers, before, after, strict=True):
                yield Pair(before=_picture(first), after=_picture(second), number=number, time=self.time_of(number))
        except self._error as error:
            raise CompareError(str(error)) from error


def _picture(frame: Any) -> Picture:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
