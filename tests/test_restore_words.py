"""Hostile names and surroundings work, or get one line; ffmpeg's own reason is shown when it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from films import NEEDS_PROGRAMS, film

from vsgshift.cli import main
from vsgshift.errors import VideoError
from vsgshift.processes import reason_of, run
from vsgshift.video.encoder import Encoding
from vsgshift.video.restore.job import Job, restore

pytestmark = NEEDS_PROGRAMS


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("words") / "film.mp4", "-pix_fmt", "yuv420p", frames=2)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "[hevc_nvenc @ 0x55d] Cannot load libcuda.so.1\\n"
            "Error initializing output stream 0:0 -- Error while opening encoder for output stream #0:0",
            "Cannot load libcuda.so.1",
        ),
        (
            "[libx264 @ 0x55d] Error setting preset/tune foo/(null).\\n[libx264 @ 0x55d] Possible presets: fast slow\\n"
            "[vost#0:0/libx264 @ 0x5] [enc:libx264 @ 0x5] Error while opening encoder - maybe incorrect parameters",
            "Error setting preset/tune foo/(null).",
        ),
        (
            "Unrecognized option 'foo'.\\nError splitting the argument list: Option not found",
            "Unrecognized option 'foo'.",
        ),
        (
            "[AVFilterGraph @ 0x5] No such filter: 'nosuch'\\nError initializing complex filters.",
            "No such filter: 'nosuch'",
        ),
        ("Traceback (most recent call last):\\n  File x\\nvapoursynth.Error: Denoise: no", "Denoise: no"),
        ("Error while opening encoder", "Error while opening encoder"),
        ("", "failed without a word"),
    ],
)
def test_the_reason_among_what_a_program_says(said: str, reason: str) -> None:
    assert reason_of(said.replace("\\n", "\n").encode(), 1) == reason


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        (Encoding(preset="foo"), "ffmpeg: .*preset.*foo"),
        (Encoding(options=("-foo", "bar")), "ffmpeg: Unrecognized option 'foo'"),
        (Encoding(options=("-vf", "nosuch")), "ffmpeg: No such filter: 'nosuch'"),
        (Encoding(options=("-pix_fmt", "nosuch")), "ffmpeg: Unknown pixel format requested: nosuch"),
    ],
)
@pytest.mark.usefixtures("probed_here")
def test_ffmpegs_reason_is_shown(encoding: Encoding, reason: str, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=reason) as caught:
        restore(Job(source=plain, output=tmp_path / "out.mkv", filters=(), encoding=encoding))
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf_8(plain: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    odd.write_bytes(plain.read_bytes())
    for source, output in ((odd, tmp_path / "out.mkv"), (plain, odd.with_suffix(".mkv"))):
        with pytest.raises(VideoError, match=r"caf\?\.m.*: VapourSynth opens only names in UTF-8; rename"):
            restore(Job(source=source, output=output, filters=()))
    assert [file.name for file in tmp_path.iterdir()] == [odd.name]


def test_names_beyond_ascii_in_a_locale_without_them(plain: Path, tmp_path: Path) -> None:
    source = tmp_path / "ä ß.mp4"
    source.write_bytes(plain.read_bytes())
    words = ["restore", str(source), str(tmp_path / "é 日本.mkv"), "--dry-run"]
    command = [sys.executable, "-P", "-m", "vsgshift", *words]
    for locale in ("C", "nonsense"):
        environment = {**os.environ, "LC_ALL": locale, "LANG": locale}
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert "é 日本.mkv.parts" in done.stdout.decode()


def test_without_a_home_and_in_a_folder_with_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("print('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    said = run([sys.executable, "-c", "import json, os; print(os.environ['HOME'])"]).decode()
    assert said.strip() == str(Path.home())


def test_an_output_that_is_a_link_stays_one(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    link = tmp_path / "out.mkv"
    link.symlink_to(folder / "film.mkv")
    assert main(["restore", str(plain), str(link), "--dry-run"]) == 0
    assert str(folder / "film.mkv.parts") in capsys.readouterr().out
    link.unlink()
    link.symlink_to(link)
    assert main(["restore", str(plain), str(link), "--dry-run"]) in (0, 1)
    assert link.is_symlink()


@pytest.mark.usefixtures("probed_here")
def test_closed_captions_are_remarked_on(tmp_path: Path) -> None:
    source = film(tmp_path / "film.h264", "-pix_fmt", "yuv420p", "-bf", "0", frames=3)
    # A user data SEI with one pair of CEA-708 bytes before each picture, as broadcasters put them.
    captions = bytes([6, 4, 14, 0xB5, 0, 0x31]) + b"GA94" + bytes([3, 0x41, 0xFF, 0xFC, 0x94, 0x2C, 0xFF, 0x80])
    parts = source.read_bytes().split(b"\0\0\1")
    with_captions = b""
    for part in parts[1:]:
        if part[0] & 31 in (1, 5):
            with_captions += b"\0\0\1" + captions
        with_captions += b"\0\0\1" + part
    source.write_bytes(b"\0" + with_captions)
    remarks: list[str] = []
    restore(Job(source=source, output=tmp_path / "out.mkv", filters=(), remark=remarks.append))
    assert "closed captions in the picture are not carried over" in remarks


def test_nothing_is_printed_when_a_film_is_opened(plain: Path) -> None:
    program = "import sys, pathlib; from vsgshift.video.clip import open_clip; open_clip(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, plain], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
