"""`vsgshift restore` as a user runs it, with the filter: the picture, stopping and going on, what is printed."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from films import FFMPEG, NEEDS_PROGRAMS, film, streams, vs

from vsgshift.cli import main
from vsgshift.errors import ProgramError, VideoError
from vsgshift.video.restore import job, plan

pytestmark = NEEDS_PROGRAMS
# x264 loses nothing at 0, so that a film can be compared with what the filter gives, sample by sample.
OPTIONS = ("--device", "cpu", "--crf", "0", "--part", "8")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough for a few parts, with noise that becomes stronger in the middle of one."""
    file = tmp_path_factory.mktemp("films") / "noisy.mkv"
    noise = "noise=alls=20:allf=t,noise=alls=30:allf=t:enable='gte(n,20)'"
    return film(file, "-vf", noise, "-pix_fmt", "yuv420p", "-c:v", "ffv1", frames=36, size="32x32")


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vsgshift", "restore", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def processes_about(folder: Path) -> list[str]:
    """The command lines of running processes that name a folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes().decode(errors="replace"))
    return [line for line in lines if str(folder) in line]


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [12, None], ids=["given", "measured"])
def test_a_run_that_was_stopped_goes_on_to_the_same_film(sigma: int | None, noisy: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole.mkv", tmp_path / "stopped.mkv"
    options = OPTIONS if sigma is None else (*OPTIONS, "--sigma", str(sigma))
    done = run(noisy, whole, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{whole}: 36 frames in ")
    told = "" if sigma is not None else r"vsgshift: note: noise of sigma [\d.]+, from 0:00:01 on [\d.]+\n"
    assert re.fullmatch(told, done.stderr)

    command = [sys.executable, "-m", "vsgshift", "restore", str(noisy), str(stopped), *options]
    # What runs in the background of a shell without job control ignores SIGINT, and so would its children.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = tmp_path / "stopped.mkv.parts" / "00000.mkv"
    while process.poll() is None and not first.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    captured = process.communicate()
    assert (process.returncode, captured[0]) == (130, "")
    going_on = "vsgshift: interrupted; what is finished is kept; the same command with --resume goes on\n"
    assert re.fullmatch(f"({told})?{re.escape(going_on)}", captured[1])
    assert first.exists()
    assert not stopped.exists()
    assert not list(first.parent.glob("*.unfinished"))
    for _ in range(500):
        if not (still := processes_about(first.parent)):
            break
        time.sleep(0.01)
    assert not still

    assert run(noisy, stopped, *options, "--resume").returncode == 0
    assert streams(stopped)[0].packets == streams(whole)[0].packets
    assert [file.name for file in tmp_path.iterdir() if not file.name.endswith(".mkv")] == []

    # And that film is what the filter gives for the clip as a whole.
    clip = vs.core.bs.VideoSource(str(noisy), cachemode=0)
    level = {} if sigma is None else {"sigma": sigma}
    expected = vs.core.gshift.Denoise(clip, **level, scenechange=2, device_id=-1)
    actual = vs.core.bs.VideoSource(str(whole), cachemode=0)
    for number in (0, 7, 8, 16, 24, 35):
        for plane in range(3):
            compared = vs.core.std.PlaneStats(actual[number], expected[number], plane).get_frame(0)
            assert compared.props["PlaneStatsDiff"] == 0
        changed = vs.core.std.PlaneStats(clip[number], expected[number]).get_frame(0)
        assert changed.props["PlaneStatsDiff"] > 0.005


def test_both_tasks_with_a_stretch(noisy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    done = run(
        noisy, output, "--denoise", "--sigma", "5", "--deblur", "--strength", "0.5", "--start", "0.4", "--end", "0.6"
    )
    assert done.returncode == 0, done.stderr
    assert len(streams(output)[0].times) == 5


def test_a_dry_run_prints_what_can_be_run(noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.mkv"
    options = ["--deblur", "--strength", "0.5", "--end", "0.2", "--preset", "fast", "--ffmpeg-options", "-tune film"]
    assert main(["restore", str(noisy), str(output), *options, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert "clip = core.gshift.Deblur(clip, strength=0.5, scenechange=2)\nclip = clip[0:5]\n" in printed
    command = printed.splitlines()[-1]
    for words in ("vspipe -c y4m", " | ", "-c:v libx264 -crf 16 -preset fast", "-tune film"):
        assert words in command
    compile(printed.rsplit("\n", 3)[0], "script", "exec")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--sigma", "300"], "argument --sigma: 300 is out of range, 0 to 255"),
        (["--deblur", "--sigma", "5"], "--sigma is a noise level"),
        (["--strength", "half"], "half is no number, 0 to 1"),
        (["--start", "2", "--end", "1:61"], None),
        (["--start", "2", "--end", "1"], "--start must lie before --end"),
        (["--end", "soon"], "soon is no time"),
        (["--device", "gpu"], "gpu is no device"),
        (["--part", "0"], "0 is not a number of frames"),
        (["--denoise", "--deblur", "--model", "tiny"], "--model is for one task"),
    ],
)
def test_wrong_arguments(options: list[str], complaint: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    if complaint is None:
        assert main(["restore", "missing.mkv", "out.mkv", *options]) == 1
        assert "no such file" in capsys.readouterr().err
        return
    with pytest.raises(SystemExit) as stopped:
        main(["restore", "in.mkv", "out.mkv", *options])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_plugin_s_own_words_reach_the_user(
    noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What fails as the machine is examined, the filter says better.
    monkeypatch.setattr(plan, "examined", nullcontext)
    monkeypatch.setattr(plan, "answer", Mock(side_effect=ProgramError("a line of another process")))
    assert main(["restore", str(noisy), str(tmp_path / "out.mkv"), "--deblur", "--model", "tiny-denoise"]) == 1
    assert capsys.readouterr().err == (
        "vsgshift: vspipe: Deblur: model tiny-denoise is made for gshift.Denoise; the default model here is tiny\n"
    )
    assert not list(tmp_path.iterdir())


def test_two_runs_do_not_write_one_file(noisy: Path, tmp_path: Path) -> None:
    from vsgshift.video.restore.parts import working_folder

    with working_folder(tmp_path / "out.mkv"), pytest.raises(VideoError, match="another run is writing"):
        job.restore(job.Job(source=noisy, output=tmp_path / "out.mkv", filters=()))


def test_a_closed_output(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vsgshift", "restore", "--help"]
    # Buffered, as to a pipe: argparse swallows what goes wrong while it writes, but not what goes wrong afterwards.
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ffmpeg_is_the_one_of_the_tests() -> None:
    from vsgshift.video.programs import Programs

    assert Programs.find().ffmpeg == FFMPEG


@pytest.mark.slow
def test_modules_of_the_current_folder_are_not_run(noisy: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("json", "random", "tempfile", "fractions", "shutil", "tqdm", "vapoursynth", "torch", "imageio_ffmpeg"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    # As the vsgshift command is started; what is under test is what it starts.
    command = [sys.executable, "-P", "-m", "vsgshift"]
    for words in (["restore", noisy, "out.mkv", "--strength", "0", "--end", "0.2"], ["doctor"]):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not ran.exists(), ran.read_text()
