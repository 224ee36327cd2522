"""What deblurring does to real footage, of which no sharp version is known: where it acts and where it must not.

Frames are cut into tiles, and each tile is judged by how much the frames before and after differ from
it there. A tile that rests cannot be blurred by motion: the output there must be the input. One that moves
fast is blurred, more or less as the shutter was open: there the output should differ, with more
contrast between neighbouring pixels than the input had.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from evaluation.frames import Clip, Frames
from evaluation.pictures import strongest, write_side_by_side
from evaluation.runs import Run
from vsgshift.video.quality import psnr as decibels

TILE = 16
"""Pixels of a tile's side."""
STILL, MOVING = 1.0, 8.0
"""A tile rests under the first and moves above the second: mean absolute difference to its neighbours in time, in
8-bit levels."""


@dataclass(frozen=True, kw_only=True)
class FrameChange:
    """What happened to one frame."""

    number: int
    motion: float
    """Mean absolute difference to the frames before and after, in 8-bit levels."""
    psnr: float
    """Of the output to the input, dB; infinite where nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What happened to all tiles of one kind."""

    share: float
    """Of all tiles, 0 to 1."""
    psnr: float
    """Of the output to the input, all tiles together, dB; nan where there are none."""
    contrast: float
    """Mean absolute difference between neighbouring pixels, output over input; nan where there are none."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What happened to one clip."""

    clip: str
    frames: list[FrameChange]
    still: Part
    moving: Part


@dataclass(kw_only=True)
class _Tally:
    """Sums over tiles of one kind."""

    tiles: int = 0
    error: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def add(self, chosen: Tensor, error: Tensor, before: Tensor, after: Tensor) -> None:
        self.tiles += int(chosen.sum())
        self.error += float(error[chosen].sum())
        self.before += float(before[chosen].sum())
        self.after += float(after[chosen].sum())

    def part(self, tiles: int) -> Part:
        mean = self.error / self.tiles if self.tiles else math.nan
        return Part(
            share=self.tiles / tiles,
            psnr=math.nan if math.isnan(mean) else decibels(mean),
            contrast=self.after / self.before if self.before else math.nan,
        )


def examine(run: Run, clip: Clip) -> Footage:
    """Deblur a clip and report what changed, by how much it moves; every frame that the protocol has must count whole.

    With `run.pictures`, writes of the stillest, the median and the fastest frame the square in which
    most moves, before and after, at 200 %.
    """
    spans = run.protocol.spans(run.network.variant, len(clip.source))
    motions = {n: _tiles(motion(clip.source, n)) for span in spans for n in span}
    by_motion = sorted(motions, key=lambda n: float(motions[n].mean()))
    shown = {by_motion[0], by_motion[len(by_motion) // 2], by_motion[-1]} if run.pictures else set()
    still, moving, tiles = _Tally(), _Tally(), 0
    changes = []
    for span in spans:
        number = span.start
        for piece in run.restored(clip.source, span, None):
            for after in piece.clamp(0, 1):
                before = clip.source.read(range(number, number + 1))[0]
                error = (after - before).double().square().mean(0)
                levels = motions[number]
                changes.append(
                    FrameChange(number=number, motion=float(levels.mean()), psnr=decibels(float(error.mean())))
                )
                parts = _tiles(error), _tiles(contrast(before)), _tiles(contrast(after))
                still.add(levels < STILL, *parts)
                moving.add(levels > MOVING, *parts)
                tiles += levels.numel()
                if number in shown:
                    _show(run, clip, number, before, after)
                number += 1
    return Footage(clip=clip.name, frames=changes, still=still.part(tiles), moving=moving.part(tiles))


def motion(frames: Frames, number: int) -> Tensor:
    """Mean absolute difference (H, W) of a frame's luma to those before and after, in 8-bit levels."""
    span = range(max(number - 1, 0), min(number + 2, len(frames)))
    weights = torch.tensor((0.299, 0.587, 0.114))
    luma = 255 * torch.einsum("c,nchw->nhw", weights, frames.read(span))
    others = [index for index, n in enumerate(span) if n != number]
    if not others:
        return torch.zeros_like(luma[0])
    return (luma[others] - luma[span.index(number)]).abs().mean(0)


def contrast(frame: Tensor) -> Tensor:
    """Mean absolute difference (H, W) of each pixel of a frame (3, H, W) to those right of it and below."""
    out = torch.zeros(frame.shape[1:])
    out[:-1] += (frame[:, 1:] - frame[:, :-1]).abs().mean(0)
    out[:, :-1] += (frame[:, :, 1:] - frame[:, :, :-1]).abs().mean(0)
    return out


def _show(run: Run, clip: Clip, number: int, before: Tensor, after: Tensor) -> None:
    assert run.pictures is not None
    file = run.pictures / f"{clip.name}-{run.method}-frame{number}.png"
    write_side_by_side(file, {"before": before, "after": after}, strongest(motion(clip.source, number)))


def _tiles(image: Tensor) -> Tensor:
    """Means over the whole tiles of an image (H, W), in single precision at least; one tile where it is smaller."""
    sides = [min(TILE, side) for side in image.shape]
    return avg_pool2d(image[None, None], sides)[0, 0]
