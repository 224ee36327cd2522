"""A video file, what filters make of it, and frames of both as RGB."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsgshift.errors import VideoError
from vsgshift.video.clip import open_clip, to_rgb
from vsgshift.video.noise import noise_words
from vsgshift.video.script import FilterCall
from vsgshift.video.times import UNKNOWN_RATE, clock

RUN_UP = 48
"""Frames around those that are wanted that filters fetch, or so."""

type Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
"""(H, W, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time in a clip: in seconds, or as the number of a frame."""

    seconds: float | None = None
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same frame before and after; there may be several ways to restore it."""

    before: Picture
    afters: tuple[Picture, ...]
    """At least one."""
    number: int
    time: str
    """h:mm:ss.mmm from the beginning of the clip."""


class Comparison:
    """A file and what filters make of it; no frame is computed until it is asked for.

    Each version is filters that run one after the other; ``passed`` is called, from any thread, with the share of a
    version's frames that was done meanwhile; ``truth`` are arguments of `open_clip`. Raises VideoError as that.
    """

    def __init__(
        self,
        file: Path,
        *versions: Sequence[FilterCall],
        passed: Callable[[float], None] = lambda _: None,
        **truth: Any,
    ) -> None:
        self._clip, self._name = open_clip(file, **truth), file.name
        self.versions, self._passed = versions, passed
        self.length = int(self._clip.node.num_frames)
        self.rate = Fraction(self._clip.node.fps) or UNKNOWN_RATE
        self._times = self._clip.times
        self.measured: tuple[dict[int, float], ...] = tuple({} for _ in versions)
        """Of each version, the noise that `Denoise` has measured in the frames that were restored, by number."""

    def frame_of(self, moment: Moment | None) -> int:
        """The number of the frame at a moment; None is the middle. Raises VideoError if the clip ends before."""
        if moment is None:
            return self.length // 2
        end = self._times.seconds(self.length - 1) + (self._times.step * self._times.time_base or 1 / self.rate)
        seconds, number = moment.seconds or 0.0, moment.frame
        if number is None and seconds < end:
            return self._times.shown_at(seconds)
        if number is None or number >= self.length:
            asked = clock(seconds, milliseconds=True) if number is None else f"frame {number}"
            raise VideoError(
                f"{asked} is after the end: the video has {self.length} frames, {clock(end, milliseconds=True)}"
            )
        return number

    def time_of(self, number: int) -> str:
        """h:mm:ss.mmm at which a frame is shown."""
        return clock(self._times.seconds(number), milliseconds=True)

    def before(self, numbers: range) -> Iterator[Picture]:
        """Frames of the file. Raises VideoError if one cannot be decoded."""
        return self._pictures(self._clip.node, (), numbers)

    def after(self, version: int, numbers: range) -> Iterator[Picture]:
        """Frames of a version; it holds memory until the last one. Raises VideoError if a filter refuses, or a frame
        fails."""
        node = self._clip.node
        # Frames are fetched well ahead of what comes of them: either is half of the work.
        expected = len(numbers) + RUN_UP
        awaited = iter(range(expected))

        def fetched(n: int) -> Any:
            if next(awaited, None) is not None:
                self._passed(0.5 / expected)
            return node

        source, filters = node.std.FrameEval(fetched, clip_src=[node]), self.versions[version]
        measures = any(call.task == "denoise" and "sigma" not in call.options for call in filters)
        for picture in self._pictures(source, filters, numbers, self.measured[version] if measures else None):
            self._passed(0.5 / len(numbers))
            yield picture

    def noise(self, version: int) -> str:
        """What was measured, in words; empty if the level was given."""
        levels = sorted(self.measured[version].items())
        return noise_words([(self._times.seconds(n), sigma) for n, sigma in levels], self._name) if levels else ""

    def pairs(self, numbers: range) -> Iterator[Pair]:
        """Frames before and after, in order, all versions at once. Raises VideoError as `after`."""
        before = self.before(numbers)
        afters = [self.after(version, numbers) for version in range(len(self.versions))]
        for number, first, *others in zip(numbers, before, *afters, strict=True):
            yield Pair(before=first, afters=tuple(others), number=number, time=self.time_of(number))

    def pair(self, number: int) -> Pair:
        """One frame, one version after the other. Raises VideoError as `after`."""
        alone = range(number, number + 1)
        before = next(self.before(alone))
        afters = tuple(next(self.after(version, alone)) for version in range(len(self.versions)))
        return Pair(before=before, afters=afters, number=number, time=self.time_of(number))

    def _pictures(
        self, node: Any, filters: Sequence[FilterCall], numbers: range, measured: dict[int, float] | None = None
    ) -> Iterator[Picture]:
        import vapoursynth as vs

        try:
            for call in filters:
                node = call.apply(node)
            clip = to_rgb(self._clip, node, vs.RGB24)[numbers.start : numbers.stop]
            for number, frame in zip(numbers, clip.frames(close=True), strict=True):
                if measured is not None:
                    measured[number] = float(frame.props["GShiftDenoiseSigma"])
                yield _picture(frame)
        except vs.Error as error:
            raise VideoError(str(error)) from error


def _picture(frame: Any) -> Picture:
    return np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
