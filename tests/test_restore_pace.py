"""Before and during a long run: the speed is measured, parts are a minute of work, and the user is told."""

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import vapoursynth as vs
from films import NEEDS_PROGRAMS, film, streams

from vsgshift.cli import main
from vsgshift.video import pipe
from vsgshift.video.noise import noise_words
from vsgshift.video.restore import forecast as forecast_module
from vsgshift.video.restore import job as job_module
from vsgshift.video.restore import parts, plan, progress
from vsgshift.video.restore.job import Job, restore
from vsgshift.video.restore.machine import Machine
from vsgshift.video.script import FilterCall

pytestmark = NEEDS_PROGRAMS


@pytest.mark.parametrize(("pace", "frames"), [(2.0, 120), (0.01, 24), (1000.0, 7200), (float("inf"), 7200)])
def test_a_part_is_a_minute_of_work(pace: float, frames: int) -> None:
    assert parts.part_size(pace) == frames


def test_frames_that_come_in_blocks_count_for_the_time_between_them() -> None:
    blocks = [block + 0.001 * index for block in (10.0, 12.0, 14.0, 16.0) for index in range(4)]
    assert pipe._rate(blocks) == pytest.approx(2.0, rel=1e-2)
    assert pipe._rate(blocks[:13]) == pytest.approx(2.0, rel=1e-2)
    assert pipe._rate([3.0]) == pipe._rate([]) == float("inf")


def stopped(monkeypatch: pytest.MonkeyPatch, **job: Any) -> None:
    """A run that is stopped in its second part."""
    encode, calls = pipe.encode, 0

    def once(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        encode(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(job_module, "encode", once)
        with pytest.raises(KeyboardInterrupt):
            restore(Job(**job))


@pytest.mark.usefixtures("probed_here")
def test_a_run_goes_on_with_parts_of_the_length_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "film.mkv", frames=20)
    job: dict[str, Any] = {"source": source, "output": tmp_path / "out.mkv", "filters": ()}
    monkeypatch.setattr(job_module, "part_size", lambda pace: 8)
    stopped(monkeypatch, **job)
    assert [file.name for file in (tmp_path / "out.mkv.parts").glob("*.mkv")] == ["00000.mkv"]
    monkeypatch.setattr(job_module, "part_size", lambda pace: 5)
    remarks: list[str] = []
    monkeypatch.setattr(forecast_module, "LONG", 0)
    assert restore(Job(**job, resume=True, remark=remarks.append)).made == 12
    assert [remark.split(" at ")[0] for remark in remarks] == ["12 frames"]
    whole = restore(Job(**{**job, "output": tmp_path / "whole.mkv"}, part=8))
    assert whole.made == 20
    assert streams(tmp_path / "out.mkv")[0].packets == streams(tmp_path / "whole.mkv")[0].packets


@pytest.mark.usefixtures("probed_here")
def test_a_film_that_is_finished_has_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = film(tmp_path / "film.mkv", frames=3), tmp_path / "out.mkv"
    restore(Job(source=source, output=output, filters=()))
    before = output.read_bytes()
    assert main(["restore", str(source), str(output), "--resume"]) == 0
    assert capsys.readouterr().out == f"{output} is finished; nothing is left to do\n"
    assert output.read_bytes() == before
    assert main(["restore", str(source), str(output)]) == 1
    assert main(["restore", str(source), str(source), "--resume"]) == 1
    assert "input and output are the same file" in capsys.readouterr().err


def test_a_long_run_says_what_it_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "LONG", 0)
    monkeypatch.setattr(plan, "answer", lambda process: Machine())
    monkeypatch.setattr(plan, "examined", nullcontext)
    source = film(tmp_path / "film.mkv", "-vf", "noise=alls=20:allf=t", "-c:v", "ffv1", frames=12)
    remarks: list[str] = []
    filters = (FilterCall(task="denoise", options={"device_id": -1}),)
    restore(Job(source=source, output=tmp_path / "out.mkv", filters=filters, remark=remarks.append))
    speed, memory, noise = remarks[-1].split("; ")
    assert speed.startswith("12 frames at ")
    assert " frames/s will take 0:00:" in speed
    assert float(memory.removesuffix(" GB of memory")) > 0.1
    assert 1 < float(noise.removeprefix("noise of sigma ")) < 40


def test_the_sigma_that_is_told_is_that_which_is_removed(tmp_path: Path) -> None:
    # Noise in seven tenths of the picture, so that more is removed than is measured.
    noise = "split[a][b];[b]crop=iw*7/10:ih:0:0,noise=alls=20:allf=t[n];[a][n]overlay"
    source = film(tmp_path / "film.mkv", "-filter_complex", noise, "-c:v", "ffv1", frames=12, size="192x144")
    told = forecast_module._answer(str(source), "0", str(tmp_path / "index"), "0", "12", "{}")
    clip = vs.core.bs.VideoSource(str(source), cachepath=str(tmp_path / "index"))
    measured = clip.gshift.EstimateNoise().get_frame(6).props["GShiftSigma"]
    removed = clip.gshift.Denoise(device_id=-1).get_frame(6).props["GShiftDenoiseSigma"]
    assert removed > 1.1 * measured
    assert fmean(sigma for _, sigma in told) == pytest.approx(removed, rel=0.05)


def test_who_restores_what_seems_clean_is_told_so() -> None:
    assert noise_words([(Fraction(2), 3.21)], "film.mkv") == "noise of sigma 3.2"
    # Single frames do not count.
    words = noise_words(
        [(Fraction(2), 0.34), (Fraction(3), 0.9), (Fraction(4), 0.3), (Fraction(5), 1.2)], "my film.mkv"
    )
    assert words.startswith("noise of sigma 0.6, so next to nothing will change")
    assert words.endswith("vsgshift compare 'my film.mkv' --sigma 4 8 16 auto")


def test_noise_that_differs_from_scene_to_scene_is_told_scene_by_scene() -> None:
    levels = [
        (Fraction(10), 3.0),
        (Fraction(30), 3.8),
        (Fraction(95), 9.0),
        (Fraction(4000), 12.0),
        (Fraction(5000), 0.0),
    ]
    assert noise_words(levels, "film.mkv") == "noise of sigma 3.4, from 0:01:35 on 10.5, from 1:23:20 on 0.0"


def test_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("vsgshift.video.restore.progress.time.monotonic", lambda: now)
    with progress.Progress("holiday.mp4", 1000, 100) as shown:
        for _ in range(250):
            now += 0.5
            shown.frame()
    assert capsys.readouterr().err.splitlines() == [
        "holiday.mp4: 221 of 1000 frames, 2 frames/s, 0:06:30 left",
        "holiday.mp4: 342 of 1000 frames, 2 frames/s, 0:05:29 left",
    ]
