"""Measurements as clips: scene changes and noise levels, each frame's from a fixed window of the source.

These clips are 1x1 and have one frame for each of the source. What a frame says depends on a few
frames of the source, whatever was asked for before and in whatever order:

- a scene change before frame n, on frames n - 2 to n + 1;
- the noise level of frame n, on frames n - 1 to n + 1, those of its segment;
- the smoothed level of frame n, on the levels of frames n - 8 to n + 8, those of its segment: of every fifth frame,
  and of the first of a segment.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsgshift.analysis import (
    UNKNOWN,
    Coding,
    Level,
    PlaneScale,
    Thumbnail,
    is_cut,
    level,
    level_to_remove,
    plane_scales,
    thumbnail,
)
from vsgshift.plugin._bridge import Core, Frame, Node
from vsgshift.plugin.colour import GRAY8, GRAYS, colour_of, with_colours

PREV, NEXT = "_SceneChangePrev", "_SceneChangeNext"
"""What VapourSynth calls the first and the last frame of a scene."""
SIGMA, CONFIDENCE = "GShiftSigma", "GShiftSigmaConfidence"
APPLIED_SIGMA = "GShiftDenoiseSigma"
SMOOTHED_OVER = 8
"""Frames on either side whose noise levels count."""
MEASURED = 5
"""One frame in this many is measured for the smoothed levels; not four, the usual distance of frames coded alike."""
VALUES_KEPT = 128
"""Frames whose values are kept for the next requests."""
type Keys = list[tuple[int, int]]
type Frames = Mapping[tuple[int, int], Frame]


def mark_scenes(core: Core, clip: Node) -> Node:
    """The clip with `_SceneChangePrev` and `_SceneChangeNext` as detected, in place of those it had."""
    pixels = _pixels(core, clip, GRAY8)
    window = _Window(_thumbnail, partial(_marks, core, pixels), clip.num_frames, back=2, ahead=2)
    marks = core.create_filter("SceneChanges", pixels, [with_colours(core, clip)], window)
    return core.invoke("std", "CopyFrameProps", clip=clip, prop_src=marks, props=[PREV, NEXT])


def noise_levels(core: Core, clip: Node, *, by_scene: bool, every: int = 1) -> Node:
    """Frames with `GShiftSigma` and `GShiftSigmaConfidence` of each of the clip's, and with its properties.

    By scene: neighbours beyond a scene change, as properties have it, are not used. One frame in `every` is
    measured, and the first of each segment; the others have a confidence of 0.
    """
    meter = _NoiseMeter(core, clip.num_frames, _pixels(core, clip, GRAYS), by_scene, every)
    return core.create_filter("NoiseLevels", meter.pixels, [with_colours(core, clip)], meter)


def smoothed_levels(core: Core, levels: Node, *, by_scene: bool) -> Node:
    """The levels of `noise_levels`, smoothed over time: frames of one pixel, which is sigma on the [0, 1] scale.

    The property `GShiftDenoiseSigma` has it on the 8-bit scale. That of frame n is what
    `vsgshift.analysis.level_to_remove` makes of the levels of frames n - 8 to n + 8; by scene, of those in n's segment.
    """
    write = partial(_smoothed, core, levels, by_scene)
    window = _Window(_read_level, write, levels.num_frames, back=SMOOTHED_OVER, ahead=SMOOTHED_OVER)
    return core.create_filter("SmoothedLevels", levels, [levels], window)


def _pixels(core: Core, clip: Node, format: int) -> Node:
    """Frames of one pixel, as many as the clip has."""
    return core.invoke("std", "BlankClip", width=1, height=1, length=clip.num_frames, format=format, keep=1)


class _Window[Value]:
    """A processor: reads a small value from each source frame, and writes a frame from those of frames around it."""

    def __init__(
        self,
        read: Callable[[Frame], Value],
        write: Callable[[int, Mapping[int, Value]], Frame],
        length: int,
        *,
        back: int,
        ahead: int,
    ) -> None:
        self.read, self.write, self.length, self.back, self.ahead = read, write, length, back, ahead
        self.lock = threading.Lock()
        self.values: OrderedDict[int, Value] = OrderedDict()

    def request(self, n: int) -> Frame | Keys:
        return self._answer(n, {})

    def ready(self, n: int, frames: Frames) -> Frame | Keys:
        fresh = {number: self.read(frame) for (_, number), frame in frames.items()}
        return self._answer(n, fresh)

    def failed(self, n: int) -> None:
        pass

    def close(self) -> None:
        with self.lock:
            self.values.clear()

    def _answer(self, n: int, fresh: dict[int, Value]) -> Frame | Keys:
        around = range(max(n - self.back, 0), min(n + self.ahead + 1, self.length))
        with self.lock:
            self.values.update(fresh)
            missing = [number for number in around if number not in self.values]
            if missing:
                return [(0, number) for number in missing]
            window = {number: self.values[number] for number in around}
            while len(self.values) > VALUES_KEPT:
                self.values.popitem(last=False)
        return self.write(n, window)


class _NoiseMeter:
    """A processor: the noise of each frame, with the help of its neighbours."""

    def __init__(self, core: Core, length: int, pixels: Node, by_scene: bool, every: int) -> None:
        self.core, self.length, self.pixels, self.by_scene, self.every = core, length, pixels, by_scene, every

    def request(self, n: int) -> Keys:
        return [(0, number) for number in range(max(n - 1, 0), min(n + 2, self.length))]

    def ready(self, n: int, frames: Frames) -> Frame:
        here = frames[0, n]
        neighbours = []
        if n > 0 and not (self.by_scene and _scene_ends_between(frames[0, n - 1], here)):
            neighbours.append(frames[0, n - 1])
        if n + 1 < self.length and not (self.by_scene and _scene_ends_between(here, frames[0, n + 1])):
            neighbours.append(frames[0, n + 1])
        begins = n == 0 or (self.by_scene and _scene_ends_between(frames[0, n - 1], here))
        measured = _level(here, neighbours) if begins or n % self.every == 0 else UNKNOWN
        pixel = self.core.new_frame(self.pixels, here)
        np.asarray(pixel.plane(0))[:] = 0
        pixel.set_property(SIGMA, measured.sigma)
        pixel.set_property(CONFIDENCE, measured.confidence)
        return pixel

    def failed(self, n: int) -> None:
        pass

    def close(self) -> None:
        pass


def _scene_ends_between(frame: Frame, following: Frame) -> bool:
    """Whether properties say that a scene ends between two frames."""
    return frame.int_property(NEXT, 0) == 1 or following.int_property(PREV, 0) == 1


def _scales(frame: Frame) -> tuple[PlaneScale, ...]:
    kind = frame.format
    assert kind.color_family != "UNDEFINED"
    matrix, full, siting = colour_of(frame)
    return plane_scales(
        Coding(
            family=kind.color_family,
            bits=None if kind.sample_type == "float" else kind.bits,
            subsampling=(kind.subsampling_w, kind.subsampling_h),
            matrix=matrix,
            full_range=full,
            siting=siting,
        )
    )


def _level(frame: Frame, neighbours: list[Frame]) -> Level:
    return level(_planes(frame), [_planes(other) for other in neighbours], _scales(frame))


def _planes(frame: Frame) -> list[NDArray[Any]]:
    return [np.asarray(frame.plane(index)) for index in range(frame.num_planes)]


def _read_level(frame: Frame) -> tuple[Level, bool, bool]:
    """The level in a frame's properties, and whether a scene starts and ends with the frame."""
    noise = Level(frame.float_property(SIGMA, 0.0), frame.float_property(CONFIDENCE, 0.0))
    return noise, frame.int_property(PREV, 0) == 1, frame.int_property(NEXT, 0) == 1


def _smoothed(
    core: Core, pixels: Node, by_scene: bool, n: int, window: Mapping[int, tuple[Level, bool, bool]]
) -> Frame:
    def joined(number: int, following: int) -> bool:
        """Whether two neighbours are in the window and in one scene."""
        if number not in window or following not in window:
            return False
        return not (by_scene and (window[number][2] or window[following][1]))

    first = last = n
    while joined(first - 1, first):
        first -= 1
    while joined(last, last + 1):
        last += 1
    pixel = core.new_frame(pixels)
    sigma = level_to_remove([window[number][0] for number in range(first, last + 1)])
    np.asarray(pixel.plane(0))[:] = sigma / 255
    pixel.set_property(APPLIED_SIGMA, float(sigma))
    return pixel


def _thumbnail(frame: Frame) -> Thumbnail:
    planes = range(3 if frame.format.color_family == "RGB" else 1)
    return thumbnail([np.asarray(frame.plane(index)) for index in planes], [_scales(frame)[index] for index in planes])


def _marks(core: Core, pixels: Node, n: int, window: Mapping[int, Thumbnail]) -> Frame:
    def cut(first: int) -> bool:
        """Whether a scene starts with a frame."""
        before = [window[number] for number in (first - 2, first - 1) if number in window]
        after = [window[number] for number in (first, first + 1) if number in window]
        return bool(before and after) and is_cut(before, after)

    pixel = core.new_frame(pixels)
    np.asarray(pixel.plane(0))[:] = 0
    pixel.set_property(PREV, int(cut(n)))
    pixel.set_property(NEXT, int(cut(n + 1)))
    return pixel
