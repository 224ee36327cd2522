"""What else there is for the job: BM3D frame by frame, and what users of ffmpeg reach for.

Each comes from a package and is tuned by `tuning.tuned`. Those of ffmpeg get the clip rounded to 8 bits, as they
would find it in a file.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.ffmpeg import filtered
from evaluation.frames import Frames
from vsgshift.network.variants import Task
from vsgshift.video.programs import find_ffmpeg

PIECE = 4
"""Frames that are read at a time."""

Setting = Mapping[str, float]
"""Values of a baseline's knobs, and which of its options is taken, as "option"."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A number that tuning may change, in steps of a factor."""

    start: float
    low: float
    high: float
    step: float = 1.25


@dataclass(frozen=True, kw_only=True)
class Bm3d:
    """BM3D for colour (Dabov et al., 2007), both stages, on each frame alone, in opponent colours.

    By the VapourSynth plugin of that name, which is given the sigma of the noise times `factor`. Its
    options are the plugin's profiles for normal and for strong noise.
    """

    name: str = "BM3D"
    task: Task = "denoise"
    options: tuple[str, ...] = ("np", "vn")
    """Ways to run it, of which tuning takes the best."""

    def check(self) -> None:
        """Raise EvaluationError or MissingProgramError if what it needs is not installed."""
        import vapoursynth as vs

        if not hasattr(vs.core, "bm3d"):
            raise EvaluationError("BM3D is missing; install it with: pip install vapoursynth-bm3d")

    def knobs(self, sigma: float | None) -> dict[str, Knob]:
        """What can be tuned, with values to start from; sigma on the 8-bit scale, None for deblurring."""
        return {"factor": Knob(start=1.0, low=0.5, high=2.0, step=1.08)}

    def restore(self, source: Frames, span: range, sigma: float | None, setting: Setting) -> Iterator[Tensor]:
        """The restored frames of the span, in pieces (T, 3, H, W), RGB."""
        assert sigma is not None
        profile, level = self.options[int(setting["option"])], sigma * setting["factor"]
        for numbers in _pieces(span):
            noisy = _node(source.read(numbers))
            basic = noisy.bm3d.Basic(sigma=level, profile=profile)
            final = noisy.bm3d.Final(basic, sigma=level, profile=profile)
            yield torch.stack([_tensor(frame) for frame in final.frames(close=True)])


@dataclass(frozen=True, kw_only=True)
class FfmpegFilter:
    """A filter of ffmpeg."""

    name: str
    task: Task
    options: tuple[str, ...]
    chain: str
    """For -vf, with the option and the knobs by name."""
    tunable: Callable[[float], dict[str, Knob]]
    """The knobs for a sigma."""
    warm_up: int = 0
    """Frames that it must see before the first that counts."""

    def check(self) -> None:
        find_ffmpeg()

    def knobs(self, sigma: float | None) -> dict[str, Knob]:
        return self.tunable(sigma or 0.0)

    def restore(self, source: Frames, span: range, sigma: float | None, setting: Setting) -> Iterator[Tensor]:
        values = {name: f"{value:.4g}" for name, value in setting.items()}
        chain = self.chain.format(**values | {"option": self.options[int(setting["option"])]})
        first = max(span.start - self.warm_up, 0)
        frames = filtered(map(source.read, _pieces(range(first, span.stop))), source.size, chain)
        return (frame for number, frame in enumerate(frames, start=first) if number >= span.start)


Baseline = Bm3d | FfmpegFilter
"""A method to compare with."""
NLMEANS = FfmpegFilter(
    name="ffmpeg nlmeans",
    task="denoise",
    options=("yuv444p", "yuv420p"),
    chain="format={option},nlmeans=s={s}",
    tunable=lambda sigma: {"s": Knob(start=min(max(0.45 * sigma, 1.0), 30.0), low=1.0, high=30.0)},
)
"""Non-local means on each frame alone: strength `s`, everything else by default."""
HQDN3D = FfmpegFilter(
    name="ffmpeg hqdn3d",
    task="denoise",
    options=("yuv420p", "yuv444p"),
    chain="format={option},hqdn3d={spatial}:{spatial}:{temporal}:{temporal}",
    tunable=lambda sigma: {
        "spatial": Knob(start=2.0 * sigma, low=0.1, high=255.0, step=1.4),
        "temporal": Knob(start=0.5 * sigma, low=0.1, high=255.0, step=1.4),
    },
    warm_up=10,
)
"""A recursive filter over space and time; the same strengths for luma and chroma."""
UNSHARP = FfmpegFilter(
    name="ffmpeg unsharp",
    task="deblur",
    options=("5", "3", "9"),
    chain="format=yuv444p,unsharp=lx={option}:ly={option}:la={amount}",
    tunable=lambda sigma: {"amount": Knob(start=0.5, low=0.05, high=5.0, step=1.4)},
)
"""An unsharp mask on luma: its `amount`, with windows of three sizes to choose from."""
BASELINES: dict[str, Baseline] = {"bm3d": Bm3d(), "nlmeans": NLMEANS, "hqdn3d": HQDN3D, "unsharp": UNSHARP}
"""By the name that the command line knows."""


def described(baseline: Baseline, setting: Setting) -> dict[str, float | str]:
    """A setting as a report shows it."""
    knobs = {name: float(f"{value:.4g}") for name, value in setting.items() if name != "option"}
    return {"option": baseline.options[int(setting["option"])], **knobs}


def _pieces(span: range) -> Iterator[range]:
    for start in range(span.start, span.stop, PIECE):
        yield range(start, min(start + PIECE, span.stop))


def _node(frames: Tensor) -> Any:
    """A VapourSynth clip, RGBS, of the frames (T, 3, H, W)."""
    import vapoursynth as vs

    count, _, height, width = frames.shape
    blank = vs.core.std.BlankClip(format=vs.RGBS, width=width, height=height, length=count, keep=True)

    def fill(n: int, f: Any) -> Any:
        frame = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(frame[plane]), frames[n, plane].numpy())
        return frame

    return blank.std.ModifyFrame(blank, fill)


def _tensor(frame: Any) -> Tensor:
    """(3, H, W), a copy."""
    return torch.from_numpy(np.stack([np.asarray(frame[plane]) for plane in range(3)]))
