"""Interlaced films are told from progressive ones that are flagged as fields, by looking."""

import shlex
import subprocess
from pathlib import Path

import pytest
from films import FFMPEG, NEEDS_PROGRAMS, film, streams, vs

from vsgshift.errors import VideoError
from vsgshift.video.clip import open_clip
from vsgshift.video.fields import examine
from vsgshift.video.restore.job import Job, restore

pytestmark = [*NEEDS_PROGRAMS, pytest.mark.usefixtures("probed_here")]
FLAGGED = ("-x264opts", "tff=1")
WOVEN = "tinterlace=4,setfield=tff"


def card(rate: int) -> list[str]:
    """ffmpeg's options for a test card in which much moves."""
    return ["-f", "lavfi", "-i", f"testsrc2=size=160x120:rate={rate}", "-map", "1:v"]


def seen(source: Path) -> tuple[int, int, int]:
    """How many frames are flagged, look interlaced, and both."""
    fields = examine(vs.core.bs.VideoSource(str(source), cachemode=0))
    return len(fields.flagged), len(fields.combed), len(fields.interlaced)


@pytest.mark.parametrize("noise", ["", "noise=alls=10:allf=t,"])
def test_frames_are_looked_at(noise: str, tmp_path: Path) -> None:
    woven = film(tmp_path / "woven.mkv", "-vf", f"{WOVEN},{noise}setfield=tff", *FLAGGED, frames=12, inputs=card(50))
    whole = film(tmp_path / "whole.mkv", "-vf", f"{noise}setfield=tff", *FLAGGED, frames=12, inputs=card(50))
    plain = film(tmp_path / "plain.mkv", "-vf", f"{noise}null", frames=12, inputs=card(50))
    assert seen(whole) == (12, 0, 0)
    assert seen(plain) == (0, 0, 0)
    flagged, _, interlaced = seen(woven)
    assert flagged == 12
    assert interlaced >= 4
    with pytest.raises(VideoError, match="is interlaced; deinterlace it first"):
        open_clip(woven)
    assert not open_clip(whole).node.get_frame(0).props.get("_FieldBased", 0)


def test_progressive_frames_that_are_flagged_are_restored_with_a_remark(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "-vf", "setfield=tff", *FLAGGED, frames=6)
    remarks: list[str] = []
    restore(Job(source=source, output=tmp_path / "out.mkv", filters=(), remark=remarks.append))
    assert remarks == ["frames are flagged as interlaced, but do not look like it; they are restored as progressive"]
    assert len(streams(tmp_path / "out.mkv")[0].times) == 6


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with two tracks of sound and an interlaced stretch from 0.8 s to 1.2 s."""
    folder = tmp_path_factory.mktemp("mixed")
    coded = ["-c:v", "mpeg2video", "-q:v", "3"]
    parts = [
        film(folder / "a.ts", *coded, frames=20, inputs=card(25)),
        film(
            folder / "b.ts", *coded, "-vf", WOVEN, "-flags", "+ilme+ildct", "-output_ts_offset", "0.8",
            frames=10, inputs=card(50),
        ),
        film(folder / "c.ts", *coded, "-output_ts_offset", "1.2", frames=20, inputs=card(25)),
    ]  # fmt: skip
    (folder / "all.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    source = folder / "mixed.mkv"
    sounds = [word for pitch in (440, 880) for word in ("-f", "lavfi", "-i", f"sine=f={pitch}:d=2")]
    inputs = ["-i", str(folder / "all.ts"), *sounds, "-map", "0:v", "-map", "1", "-map", "2"]
    subprocess.run(
        [str(FFMPEG), "-loglevel", "error", *inputs, "-c:v", "copy", "-c:a", "flac", str(source)], check=True
    )
    return source


def test_an_interlaced_stretch_is_found_and_the_advice_works(mixed: Path, tmp_path: Path) -> None:
    job = Job(source=mixed, output=tmp_path / "out.mkv", filters=())
    with pytest.raises(
        VideoError, match=r"is interlaced at 0\.\d to 1\.\d s; deinterlace it first, as with: "
    ) as caught:
        restore(job)
    words = shlex.split(str(caught.value).split("as with: ")[1])
    subprocess.run([str(FFMPEG), "-loglevel", "error", *words[1:]], check=True, cwd=tmp_path)
    before, after = streams(mixed), streams(tmp_path / "progressive.mkv")
    assert [stream.kind for stream in after] == ["video", "audio", "audio"]
    assert len(after[0].times) == len(before[0].times)
    assert [stream.packets for stream in after[1:]] == [stream.packets for stream in before[1:]]
    restore(Job(source=tmp_path / "progressive.mkv", output=tmp_path / "out.mkv", filters=()))


def test_the_user_knows_better(mixed: Path, tmp_path: Path) -> None:
    restore(Job(source=mixed, output=tmp_path / "out.mkv", filters=(), progressive=True))
    assert len(streams(tmp_path / "out.mkv")) == 3


def test_combs_without_a_flag_are_remarked_on(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "-vf", "tinterlace=4,setfield=prog", frames=10, inputs=card(50))
    remarks: list[str] = []
    restore(Job(source=source, output=tmp_path / "out.mkv", filters=(), remark=remarks.append))
    (remark,) = remarks
    assert remark.endswith("but are not flagged; if they are, deinterlace the film first")
