"""`vsgshift demo`: the README's first command, whole, and what it says where something is missing."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import NEEDS_PROGRAMS, vs

from vsgshift import demo
from vsgshift.cli import main
from vsgshift.errors import VideoError
from vsgshift.video.compare.pairs import Comparison
from vsgshift.video.restore.job import Job

pytestmark = NEEDS_PROGRAMS


def test_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "out"
    assert main(["demo", "-o", str(folder), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    match = re.fullmatch(r"PSNR: ([\d.]+) dB before, ([\d.]+) dB after", lines[0])
    assert match
    before, after = map(float, match.groups())
    # Noise of sigma 25, less what is cut off at black and white.
    assert 20.1 < before < 21
    assert after > before + 9
    assert set(map(Path, lines[1:])) == set(folder.iterdir())
    movie = vs.core.bs.VideoSource(str(folder / "restored.mp4"), cachemode=0)
    assert (movie.num_frames, movie.width, movie.height) == (24, 320, 180)
    image = pytest.importorskip("PIL.Image")
    assert image.open(folder / "before-after.png").width > 2 * movie.width


def test_options_reach_the_filter_and_a_second_run_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def stop(job: Job) -> None:
        given.update(job.filters[0].options)
        raise OSError("enough")

    monkeypatch.setattr(demo, "restore", stop)
    (tmp_path / "noisy.mkv").write_bytes(b"of an earlier run")
    assert main(["demo", "-o", str(tmp_path), "--sigma", "40", "--block", "2"]) == 1
    assert given == {"sigma": 40.0, "block": 2}
    noisy = demo.decode(Comparison(tmp_path / "noisy.mkv"))
    assert demo.clip_psnr(noisy, noisy) == float("inf")
    assert len(noisy) == 24


def test_noise_is_the_same_each_time_and_as_strong_as_asked_for() -> None:
    grey = np.full((180, 320, 3), 128, np.uint8)
    first, second = (demo.add_noise(grey, 12.0, np.random.default_rng(demo.SEED)) for _ in range(2))
    assert (first == second).all()
    assert float(first.std()) == pytest.approx(12.0, rel=0.01)


def test_a_missing_package_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["demo", "-o", str(tmp_path)]) == 1
    advice = "tqdm is missing; install what this needs: pip install 'vsgshift[demo]'"
    assert capsys.readouterr().err == f"vsgshift: {advice}\n"
    assert not list(tmp_path.iterdir())


def test_what_ffmpeg_says_is_reported(tmp_path: Path) -> None:
    (tmp_path / "noisy.mkv").mkdir()
    video = Comparison(Path(demo.__file__).with_name("flower.mkv"))
    with pytest.raises(VideoError, match=r"^ffmpeg: .*Is a directory"):
        demo.write_lossless(tmp_path / "noisy.mkv", [np.zeros((8, 8, 3), np.uint8)], video)
