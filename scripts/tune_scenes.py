"""Measure the cut detector of scenechange=2: how far cuts and everything else lie apart.

    python scripts/tune_scenes.py                              # generated segments
    python scripts/tune_scenes.py --media street.mp4 hands.mkv # and parts of real clips between them

Segments of 1 to 40 frames are spliced at random, generated ones still, slow and very fast, flickering
and panning, real ones at full and at half size. The same splice is measured at several noise levels,
clipped to 8 bits. Printed are the weakest cuts, the strongest places that are none, and what the
threshold makes of them. Two splices are left out: parts of one real clip in a row, which need not be
different scenes, and such parts with a single frame between them, which is a flash to the detector.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.clips import synthetic
from vsgshift.analysis import Coding, cut_strength, plane_scales, thumbnail
from vsgshift.analysis.scenes import THRESHOLD
from vsgshift.video.clip import open_clip

SIGMAS = (0, 10, 25, 50)
SIZE = 180, 320
SPEEDS = (2.0, 6.0, 12.0, 12.0, 30.0)
"""Of the fastest things in a segment, in pixels a frame."""
LUMA_WEIGHTS = torch.tensor((0.299, 0.587, 0.114))[:, None, None]
GREY = plane_scales(Coding(family="GRAY", bits=8, full_range=True))


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of one scene."""

    name: str
    frames: NDArray[np.uint8]
    """(T, H, W), luma."""


def generated(generator: torch.Generator, count: int) -> list[Segment]:
    """Segments that share a stock of scenes, as the parts of a film do."""
    pool = synthetic.Pool(generator, scenes=8, tiles=8)
    segments = []
    for number in range(count):
        frames = int(torch.randint(1, 41, (1,), generator=generator))
        speed = SPEEDS[int(torch.randint(len(SPEEDS), (1,), generator=generator))]
        clip = synthetic.clip(generator, frames=frames, size=SIZE, pool=pool, speed=speed)
        luma = (255 * (clip * LUMA_WEIGHTS).sum(1)).round().byte().numpy()
        segments.append(Segment(name=f"generated {number}", frames=luma))
    return segments


def filmed(video: Path, rng: np.random.Generator, count: int) -> list[Segment]:
    """Random parts of a video, at full and at half size."""
    import vapoursynth as vs

    source = open_clip(video).node
    segments = []
    for number in range(count):
        scale = 1 + number % 2
        length = int(rng.integers(1, 61))
        first = int(rng.integers(0, source.num_frames - length))
        part = source[first : first + length]
        part = part.resize.Bicubic(source.width // scale, source.height // scale, format=vs.GRAY8, range=1)
        frames = np.stack([np.asarray(frame[0]).copy() for frame in part.frames(close=True)])
        segments.append(Segment(name=video.name, frames=frames))
    return segments


def spliced(segments: list[Segment], rng: np.random.Generator) -> list[Segment]:
    """The segments in random order, but for those that would go on with the clip before, at once or after a frame."""
    order: list[Segment] = []
    for index in rng.permutation(len(segments)):
        flash = len(order) > 1 and len(order[-1].frames) == 1
        if segments[index].name not in [segment.name for segment in order[-1 - flash :]]:
            order.append(segments[index])
    return order


def strengths(segments: list[Segment], sigma: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], set[int]]:
    """The strength of each place between two frames, counted from 1, and which of them are cuts."""
    small: list[NDArray[np.float32]] = []
    starts = set()
    for segment in segments:
        starts.add(len(small))
        for frame in segment.frames:
            noisy = frame + sigma * rng.standard_normal(frame.shape, np.float32)
            small.append(thumbnail([np.clip(np.round(noisy), 0, 255)], GREY))
    # Sizes differ between segments, which they never do in a clip.
    small = [each[picked(each.shape[0], 8)][:, picked(each.shape[1], 12)] for each in small]
    values = [cut_strength(small[max(n - 2, 0) : n], small[n : n + 2]) for n in range(1, len(small))]
    return np.array(values), starts - {0}


def picked(there: int, wanted: int) -> NDArray[np.intp]:
    """So many indices, spread evenly over those that are there."""
    return ((np.arange(wanted) + 0.5) * there / wanted).astype(np.intp)


def report(segments: list[Segment], seed: int) -> None:
    """Print the separation at each noise level, then over all."""
    rng = np.random.default_rng(seed)
    order = spliced(segments, rng)
    missed = false = frames = cuts = 0
    for sigma in SIGMAS:
        values, starts = strengths(order, sigma, rng)
        is_start = np.isin(np.arange(1, len(values) + 1), list(starts))
        at_cuts, elsewhere = np.sort(values[is_start]), np.sort(values[~is_start])[::-1]
        missed += int((at_cuts <= THRESHOLD).sum())
        false += int((elsewhere > THRESHOLD).sum())
        frames += len(values) + 1
        cuts += len(at_cuts)
        weakest, strongest = (" ".join(f"{value:.2f}" for value in some[:4]) for some in (at_cuts, elsewhere))
        sys.stdout.write(
            f"sigma {sigma:2d}: {len(values) + 1} frames, {len(at_cuts)} cuts; "
            f"weakest cuts {weakest}, strongest others {strongest}\n"
        )
    sys.stdout.write(
        f"threshold {THRESHOLD:g}: {missed} of {cuts} cuts missed, {false} false ones in {frames} frames "
        f"({1000 * false / frames:.2f} per 1,000)\n"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, nargs="*", default=[], help="real clips without cuts")
    parser.add_argument("--segments", type=int, default=60, help="generated segments")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rng = np.random.default_rng(arguments.seed)
    segments = generated(torch.Generator().manual_seed(arguments.seed), arguments.segments)
    for video in arguments.media:
        segments += filmed(video, rng, max(arguments.segments // 4, 4))
    report(segments, arguments.seed)


if __name__ == "__main__":
    main()
