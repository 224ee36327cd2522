"""Smooth trajectories, and the homographies they make of a layer's pose at each instant."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .rng import Rng

Wave = tuple[float, float, float]
"""Amplitude, radians a frame and phase of a sinusoid."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One coordinate as a function of time in frames: a start, an even motion, and an oscillation."""

    start: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    waves: tuple[Wave, ...] = ()
    pause: tuple[float, float] = (math.inf, math.inf)
    """The even motion rests from the first time to the second."""

    def at(self, times: Tensor) -> Tensor:
        """Values (I,) at times (I,)."""
        moving = torch.minimum(times, torch.full_like(times, self.pause[0]))
        moving = moving + (times - self.pause[1]).clamp(min=0.0)
        value = self.start + moving * (self.speed + 0.5 * self.acceleration * moving)
        for amplitude, rate, phase in self.waves:
            value = value + amplitude * torch.sin(rate * times + phase)
        return value

    @property
    def still(self) -> bool:
        """Whether the coordinate never changes."""
        return not (self.speed or self.acceleration or self.waves)


@dataclass(frozen=True, kw_only=True)
class Path:
    """The pose of a layer over time. Positions in view pixels from the view's centre."""

    y: Track = field(default_factory=Track)
    x: Track = field(default_factory=Track)
    angle: Track = field(default_factory=Track)
    """Radians."""
    zoom: Track = field(default_factory=Track)
    """Natural logarithm of the magnification."""
    tilt_y: Track = field(default_factory=Track)
    """Perspective: relative change of depth a view pixel, down the view."""
    tilt_x: Track = field(default_factory=Track)
    shear: float = 0.0
    """How much a row is displaced a pixel down, and its squeeze with it."""

    @property
    def still(self) -> bool:
        """Whether the pose never changes."""
        return all(t.still for t in (self.y, self.x, self.angle, self.zoom, self.tilt_y, self.tilt_x))

    def shifted(self, down: float, right: float) -> "Path":
        """The same path that many pixels away."""
        return replace(
            self, y=replace(self.y, start=self.y.start + down), x=replace(self.x, start=self.x.start + right)
        )

    def coordinates(self, times: Tensor, height: int, width: int, *, density: float) -> tuple[Tensor, Tensor]:
        """Where in the layer each pixel of the view looks, as texel offsets from the layer's centre.

        times: (I,) in frames, on the device to compute on; density: texels a pixel at zoom 0.
        Returns rows and columns, (I, height, width) each.
        """
        y, x, angle, zoom, tilt_y, tilt_x = (
            track.at(times)[:, None, None]
            for track in (self.y, self.x, self.angle, self.zoom, self.tilt_y, self.tilt_x)
        )
        rows = torch.arange(height, device=times.device)[:, None] - (height - 1) / 2 - y
        columns = torch.arange(width, device=times.device)[None] - (width - 1) / 2 - x
        c, s = density * torch.cos(angle) / zoom.exp(), density * torch.sin(angle) / zoom.exp()
        # A view pixel at depth 1 + tilt . p sees the plane there scaled by that depth.
        depth = (1 + tilt_y * rows + tilt_x * columns).clamp(0.5, 2.0)
        rows, columns = rows * depth, (columns + self.shear * rows) * depth
        return c * rows - s * columns, s * rows + c * columns


def shake(rng: Rng, pixels: float) -> tuple[Wave, ...]:
    """A hand's tremor: four sinusoids of 4 to 40 frames a cycle, about that many pixels in all."""
    periods = [rng.log_uniform(4.0, 40.0) for _ in range(4)]
    return tuple(
        (rng.normal(0.5 * pixels) * period / 20.0, 2 * math.pi / period, rng.uniform(0.0, 2 * math.pi))
        for period in periods
    )


def swing(rng: Rng, speed: float) -> tuple[Wave, ...]:
    """A to and fro, at most that many pixels a frame: a gesturing hand, a branch in the wind."""
    rate = 2 * math.pi / rng.log_uniform(5.0, 40.0)
    return ((min(speed / rate, 40.0), rate, rng.uniform(0.0, 2 * math.pi)),)


def travel(rng: Rng, *, speed: float, frames: int, spot: tuple[float, float]) -> Path:
    """The path of one thing that is at the spot (y, x) about the middle of the clip."""
    heading = rng.uniform(0.0, 2 * math.pi)
    meets = rng.uniform(0.2, 0.8) * frames
    gain = rng.normal(0.4) / max(frames, 8)
    stop = rng.uniform(0.2, 0.9) * frames if rng.chance(0.15) else math.inf
    pause = (stop, stop + rng.uniform(0.2, 2.0) * frames)
    gestures = rng.chance(0.3)
    tracks = []
    for position, part in zip(spot, (math.sin(heading), math.cos(heading)), strict=True):
        even = 0.0 if gestures else speed * part
        acceleration = even * gain
        tracks.append(
            Track(
                start=position - meets * (even + 0.5 * acceleration * meets),
                speed=even,
                acceleration=acceleration,
                waves=swing(rng, abs(speed * part)) if gestures else (),
                pause=pause if pause[0] > meets else (math.inf, math.inf),
            )
        )
    turning, growing = rng.chance(0.4), rng.chance(0.4)
    return Path(
        y=tracks[0],
        x=tracks[1],
        angle=Track(start=rng.normal(0.3), speed=rng.normal(0.03) if turning else 0.0),
        zoom=Track(start=rng.uniform(-0.1, 0.1), speed=rng.normal(0.012) if growing else 0.0),
        tilt_x=Track(start=rng.normal(0.001), speed=rng.normal(0.0001) if turning else 0.0),
        tilt_y=Track(start=rng.normal(0.001)),
        shear=rng.normal(0.1),
    )


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How the camera moves, as seen at unit depth: pan in pixels a frame, tremor, roll and zoom."""

    pan: tuple[float, float] = (0.0, 0.0)
    swerve: tuple[float, float] = (0.0, 0.0)
    tremor: tuple[tuple[Wave, ...], tuple[Wave, ...]] = ((), ())
    roll: float = 0.0
    dolly: float = 0.0

    @staticmethod
    def draw(rng: Rng, *, speed: float, frames: int) -> "Camera":
        """A moving camera; speed: the fastest pan, in pixels a frame."""
        pace = speed * rng.uniform() ** 2 if rng.chance(0.7) else 0.0
        heading = rng.uniform(0.0, 2 * math.pi)
        pan = (0.5 * pace * math.sin(heading), pace * math.cos(heading))
        tremor = rng.log_uniform(0.1, 4.0)
        handheld = rng.chance(0.6) or not pace
        return Camera(
            pan=pan,
            swerve=(pan[0] * rng.normal(0.5) / max(frames, 8), pan[1] * rng.normal(0.5) / max(frames, 8)),
            tremor=(shake(rng, tremor), shake(rng, tremor)) if handheld else ((), ()),
            roll=rng.normal(0.004) if rng.chance(0.3) else 0.0,
            dolly=rng.normal(0.006) if rng.chance(0.3) else 0.0,
        )

    def moves(self, path: Path, nearness: float) -> Path:
        """The path as this camera sees it; near layers (above 1) slide past faster than far ones."""

        def slide(track: Track, axis: int) -> Track:
            # Sums of the two motions; a thing that pauses would drag the pan along, so it does not.
            return Track(
                start=track.start,
                speed=track.speed + nearness * self.pan[axis],
                acceleration=track.acceleration + nearness * self.swerve[axis],
                waves=track.waves + tuple((nearness * a, w, p) for a, w, p in self.tremor[axis]),
            )

        if self == Camera():
            return path
        return Path(
            y=slide(path.y, 0),
            x=slide(path.x, 1),
            angle=Track(start=path.angle.start, speed=path.angle.speed + self.roll),
            zoom=Track(start=path.zoom.start, speed=path.zoom.speed + nearness * self.dolly),
            tilt_y=path.tilt_y,
            tilt_x=path.tilt_x,
            shear=path.shear,
        )
