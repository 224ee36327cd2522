"""A clip whose clean frames are known: noise is added to it and removed again, and the difference measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vsgshift.video.compare import movie, sheet
from vsgshift.video.compare.pairs import Comparison, Pair, Picture
from vsgshift.video.quality import psnr
from vsgshift.video.restore.job import Job, restore
from vsgshift.video.script import FilterCall

SEED = 7
"""Of the noise: the same with every run."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the demonstration made."""

    before: float
    """PSNR of the noisy frames in dB: of RGB, over all frames."""
    after: float
    """PSNR of the frames of the restored film, as it was encoded."""
    files: tuple[Path, ...]
    """The noisy film, the restored one, and a picture of both."""


def run(folder: Path, sigma: float, how: dict[str, Any]) -> Result:
    """Add noise of ``sigma`` (8-bit scale) to the clip, restore it through vspipe and ffmpeg, and compare with the
    clean frames.

    Files of an earlier run in the folder are overwritten; ``how`` are further parameters of the filter. Raises
    VsgshiftError or OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noisy, restored, picture = folder / "noisy.mkv", folder / "restored.mp4", folder / "before-after.png"
    with resources.as_file(resources.files("vsgshift.demo").joinpath("flower.mkv")) as file:
        video = Comparison(file)
        clean = decode(video)
    generator = np.random.default_rng(SEED)
    write_lossless(noisy, (add_noise(frame, sigma, generator) for frame in clean), video)
    filters = (FilterCall(task="denoise", options={"sigma": sigma, **how}),)
    restore(Job(source=noisy.absolute(), output=restored.absolute(), filters=filters, force=True))
    before, after = (decode(Comparison(file)) for file in (noisy, restored))
    number = video.length // 2
    pair = Pair(before=before[number], afters=(after[number],), number=number, time=video.time_of(number))
    sheet.write(picture, [pair], ("Before", "After: denoise"), f"Noise of sigma {sigma:g}")
    return Result(before=clip_psnr(before, clean), after=clip_psnr(after, clean), files=(noisy, restored, picture))


def decode(video: Comparison) -> list[Picture]:
    """All frames of a film."""
    return list(video.before(range(video.length)))


def add_noise(frame: Picture, sigma: float, generator: np.random.Generator) -> Picture:
    """A frame with Gaussian noise, independent for each pixel and channel, rounded to 8 bits."""
    noisy = frame + sigma * generator.standard_normal(frame.shape)
    rounded: Picture = noisy.round().clip(0, 255).astype(np.uint8)
    return rounded


def write_lossless(file: Path, frames: Iterable[Picture], like: Comparison) -> None:
    """Write frames as RGB in FFV1, of the size and rate of another film. Raises VideoError."""
    movie.encode(file, frames, like.rate, ["-c:v", "ffv1", "-pix_fmt", "gbrp"])


def clip_psnr(frames: list[Picture], clean: list[Picture]) -> float:
    """PSNR in dB of all frames together."""
    return psnr(float(np.square((np.stack(frames) - np.stack(clean).astype(np.float64)) / 255).mean()))
