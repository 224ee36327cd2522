"""What the network is compared with works, frame for frame, and is tuned to its best."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from evaluation import ffmpeg
from evaluation.baselines import BASELINES, Baseline, Knob, Setting, described
from evaluation.errors import EvaluationError
from evaluation.frames import Clip, Frames, Noisy, Stack
from evaluation.metrics import psnr
from evaluation.tuning import hill_climb, tuned
from vsgshift.errors import MissingProgramError

SIGMA = 25.0


def smooth_clip(frames: int = 4, size: tuple[int, int] = (48, 64)) -> Tensor:
    """A moving picture of soft shapes."""
    y, x = torch.meshgrid(torch.linspace(0, 3, size[0]), torch.linspace(0, 4, size[1]), indexing="ij")
    return torch.stack(
        [
            torch.stack([0.5 + 0.3 * torch.sin(k * x + 0.1 * t) * torch.cos(y + k) for k in (1, 2, 3)])
            for t in range(frames)
        ]
    )


def installed(name: str) -> Baseline:
    """A baseline; skips where what it needs is missing."""
    if name == "bm3d":
        pytest.importorskip("vapoursynth")
    try:
        BASELINES[name].check()
    except (EvaluationError, MissingProgramError) as missing:
        pytest.skip(str(missing))
    return BASELINES[name]


def first_setting(baseline: Baseline, sigma: float | None) -> dict[str, float]:
    return {"option": 0, **{name: knob.start for name, knob in baseline.knobs(sigma).items()}}


@pytest.mark.parametrize("name", ["bm3d", "nlmeans", "hqdn3d"])
def test_noise_is_removed(name: str) -> None:
    baseline = installed(name)
    clean = smooth_clip()[:1].repeat(8, 1, 1, 1)
    noisy = Noisy(Stack(clean), SIGMA, seed=0, name="clip")
    clip = Clip(name="clip", source=noisy, target=Stack(clean))
    setting = tuned(baseline, clip, [range(4)], (48, 64), SIGMA)
    actual = torch.cat(list(baseline.restore(noisy, range(8), SIGMA, setting)))
    assert actual.shape == clean.shape
    assert float(psnr(actual, clean).mean()) > float(psnr(noisy.read(range(8)), clean).mean()) + 5


@pytest.mark.parametrize("name", ["bm3d", "nlmeans"])
def test_frames_are_denoised_alone(name: str) -> None:
    baseline = installed(name)
    noisy = Noisy(Stack(smooth_clip(6)), SIGMA, seed=0, name="clip")
    setting = first_setting(baseline, SIGMA)
    whole = torch.cat(list(baseline.restore(noisy, range(6), SIGMA, setting)))
    assert torch.equal(torch.cat(list(baseline.restore(noisy, range(4, 6), SIGMA, setting))), whole[4:])


def test_a_filter_with_a_memory_sees_the_frames_before() -> None:
    baseline = installed("hqdn3d")
    noisy = Noisy(Stack(smooth_clip(8)), SIGMA, seed=0, name="clip")
    setting = first_setting(baseline, SIGMA)
    whole = torch.cat(list(baseline.restore(noisy, range(8), SIGMA, setting)))
    assert torch.equal(torch.cat(list(baseline.restore(noisy, range(5, 7), SIGMA, setting))), whole[5:7])
    cold = torch.cat(list(baseline.restore(Stack(noisy.read(range(5, 7))), range(2), SIGMA, setting)))
    assert not torch.equal(cold, whole[5:7])


def test_blurred_edges_are_sharpened() -> None:
    baseline = installed("unsharp")
    sharp = torch.zeros(1, 3, 32, 64) + 0.25
    sharp[..., 32:] = 0.75
    blurred = sharp.clone()
    for offset in range(-3, 4):
        blurred[..., 32 + offset] = 0.5 + 0.5 * (offset + 0.5) / 7
    clip = Clip(name="edge", source=Stack(blurred), target=Stack(sharp))
    setting = tuned(baseline, clip, [range(1)], (32, 64), None)
    actual = torch.cat(list(baseline.restore(clip.source, range(1), None, setting)))
    assert float(psnr(actual, sharp)) > float(psnr(blurred, sharp))
    steepest, before = (float(clip.diff(dim=-1).max()) for clip in (actual, blurred))
    assert steepest > 1.1 * before


def test_ffmpeg_gives_back_what_it_does_not_change() -> None:
    installed("nlmeans")
    frames = torch.rand(5, 3, 9, 14)
    actual = torch.cat(list(ffmpeg.filtered(iter(frames.split(2)), (9, 14), "null")))
    torch.testing.assert_close(actual, (frames * 255).round() / 255)


def test_what_ffmpeg_refuses_is_reported_in_one_line() -> None:
    installed("nlmeans")
    with pytest.raises(EvaluationError, match=r"ffmpeg: .*") as refusal:
        list(ffmpeg.filtered(iter([torch.rand(1, 3, 8, 8)]), (8, 8), "nosuchfilter"))
    assert "\n" not in str(refusal.value)


def test_a_failure_of_the_frames_is_not_lost_in_the_pipe() -> None:
    installed("nlmeans")

    def pieces() -> Iterator[Tensor]:
        yield torch.rand(1, 3, 8, 8)
        raise EvaluationError("damaged")

    with pytest.raises(EvaluationError, match="damaged"):
        list(ffmpeg.filtered(pieces(), (8, 8), "null"))


def test_frames_may_be_left_untaken() -> None:
    installed("nlmeans")
    frames = ffmpeg.filtered(iter(torch.rand(40, 3, 64, 64).split(4)), (64, 64), "null")
    assert next(frames).shape == (1, 3, 64, 64)
    frames.close()  # type: ignore[attr-defined]


@dataclass
class Hill:
    """A baseline whose error is known: it is least at two values and one option."""

    peak: Mapping[str, float]
    name: str = "hill"
    task: str = "denoise"
    options: tuple[str, ...] = ("wrong", "right")

    def check(self) -> None: ...

    def knobs(self, sigma: float | None) -> dict[str, Knob]:
        return {name: Knob(start=1.0, low=0.1, high=10.0, step=1.3) for name in self.peak}

    def restore(self, source: Frames, span: range, sigma: float | None, setting: Setting) -> Iterator[Tensor]:
        error = 0.01 * (1 - setting["option"]) + 0.02
        for name, best in self.peak.items():
            error += 0.05 * abs(float(torch.tensor(setting[name] / best).log()))
        yield source.read(span) + error


@pytest.mark.parametrize("peak", [{"a": 3.0}, {"a": 0.3, "b": 5.0}, {"a": 100.0}])
def test_tuning_finds_the_top(peak: dict[str, float]) -> None:
    frames = Stack(torch.full((9, 3, 8, 8), 0.2))
    clip = Clip(name="flat", source=frames, target=frames)
    hill = Hill(peak)
    setting = tuned(hill, clip, [range(0, 3), range(6, 9)], (8, 8), 10.0)  # type: ignore[arg-type]
    assert hill.options[int(setting["option"])] == "right"
    for name, best in peak.items():
        within = min(best, 10.0)
        assert within / 1.3**0.5 <= setting[name] <= within * 1.3**0.5


def test_climbing_keeps_within_the_bounds() -> None:
    asked: list[float] = []

    def quality(setting: Setting) -> float:
        asked.append(setting["a"])
        return setting["a"]

    assert hill_climb(quality, {"a": 1.0}, {"a": Knob(start=1.0, low=0.5, high=2.0, step=1.5)}) == {"a": 2.0}
    assert max(asked) == 2.0


def test_settings_are_printed_in_words() -> None:
    assert described(BASELINES["bm3d"], {"option": 1, "factor": 1.0800001}) == {"option": "vn", "factor": 1.08}


def test_every_setting_of_the_tables_is_one_that_ffmpeg_takes() -> None:
    installed("nlmeans")
    source = Stack(torch.rand(1, 3, 16, 16))
    for baseline in BASELINES.values():
        if baseline.name.startswith("ffmpeg"):
            sigma = 50.0 if baseline.task == "denoise" else None
            for name, knob in baseline.knobs(sigma).items():
                for value in (knob.low, knob.high):
                    setting = {**first_setting(baseline, sigma), name: value}
                    assert len(torch.cat(list(baseline.restore(source, range(1), sigma, setting)))) == 1
