"""Restoring a file: what becomes of its streams, tags and times, and what is refused.

Where the picture itself does not matter, no filter runs: vspipe need not load torch then.
"""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from films import FFMPEG, NEEDS_PROGRAMS, film, frame_props, streams, vs
from standin import file_size_limit, small_disk

from vsgshift.errors import VideoError
from vsgshift.video.encoder import Encoding
from vsgshift.video.pipe import frame_bytes, y4m_header
from vsgshift.video.restore import job as job_module
from vsgshift.video.restore import mux
from vsgshift.video.restore.job import Job, restore

pytestmark = NEEDS_PROGRAMS

SUBTITLES = "1\n00:00:00,040 --> 00:00:00,200\nfirst\n\n2\n00:00:00,300 --> 00:00:02,000\nlong\n"
CHAPTERS = (
    ";FFMETADATA1\ntitle=A film\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=One\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1600\ntitle=Two\n"
)


def copied(source: Path, ending: str = ".mkv", **options: Any) -> Path:
    """The file with nothing done to its picture but encoding."""
    output = source.with_name(f"{source.stem} out{ending}")
    restore(Job(source=source, output=output, filters=(), **options))
    assert not list(source.parent.glob("*.parts"))
    assert not list(source.parent.glob("*.partial"))
    return output


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with everything: a frame rate that changes, sound, subtitles, chapters, an attachment, a title."""
    folder = tmp_path_factory.mktemp('it\'s a "folder"')
    (folder / "s.srt").write_text(SUBTITLES)
    (folder / "m.txt").write_text(CHAPTERS)
    (folder / "font.ttf").write_bytes(b"letters")
    inputs = ["-f", "lavfi", "-i", "sine=duration=1.6", "-i", str(folder / "s.srt")]
    inputs += ["-f", "ffmetadata", "-i", str(folder / "m.txt"), "-map", "0:v", "-map", "1:a", "-map", "2:s"]
    inputs += [
        "-map_chapters",
        "3",
        "-map_metadata",
        "3",
        "-metadata:s:a",
        "language=deu",
        "-metadata:s:a",
        "title=Ton",
    ]
    inputs += ["-attach", str(folder / "font.ttf"), "-metadata:s:t", "mimetype=application/x-font"]
    slower = "settb=1/1000,setpts='if(lt(N,10),N*40,400+(N-10)*80)',setsar=16/15"
    options = ["-vf", slower, "-fps_mode", "vfr", "-enc_time_base", "1/1000", "-c:v", "libx264", "-c:a", "aac"]
    return film(folder / 'my "best" film\'s.mkv', *options, "-c:s", "srt", frames=25, inputs=inputs)


@pytest.mark.usefixtures("probed_here")
def test_everything_beside_the_picture_is_carried_over(rich: Path) -> None:
    before, after = streams(rich), streams(copied(rich))
    assert [stream.kind for stream in after] == ["video", "audio", "subtitle", "attachment"]
    assert after[0].times == [Fraction(n * 40 if n < 10 else 400 + (n - 10) * 80, 1000) for n in range(25)]
    assert after[0].aspect == Fraction(16, 15)
    for old, new in zip(before[1:], after[1:], strict=True):
        assert new.times == old.times
        assert new.packets == old.packets
        for name in ("language", "title", "mimetype", "filename"):
            assert new.metadata.get(name) == old.metadata.get(name)
    described = subprocess.run(
        [str(FFMPEG), "-i", str(rich.with_name(f"{rich.stem} out.mkv"))], capture_output=True, text=True
    )
    assert [line.split(":", 1)[1].strip() for line in described.stderr.splitlines() if "title " in line] == [
        "A film", "One", "Two", "Ton",
    ]  # fmt: skip
    assert "Chapter #0:1: start 0.400000, end 1.600000" in described.stderr


@pytest.mark.usefixtures("probed_here")
def test_a_stretch_takes_its_sound_and_chapters_along(rich: Path) -> None:
    output = copied(rich, ".mov", start=0.2, end=0.8, subtitles=False, force=True)
    picture, sound, *_ = streams(output)
    assert picture.times == [Fraction(n * 40 if n < 5 else 200 + (n - 5) * 80, 1000) for n in range(10)]
    assert 0 <= sound.times[0] < Fraction(25, 1000)
    assert Fraction(570, 1000) < sound.times[-1] < Fraction(600, 1000)
    whole = streams(rich)[1].packets
    first = whole.index(sound.packets[0])
    assert sound.packets == whole[first : first + len(sound.packets)]
    described = subprocess.run([str(FFMPEG), "-i", str(output)], capture_output=True, text=True).stderr
    assert "Chapter #0:0: start 0.000000, end 0.200000" in described
    assert "Chapter #0:1: start 0.200000, end 0.600000" in described


@pytest.mark.usefixtures("probed_here")
def test_what_a_kind_of_file_cannot_hold_is_reported_before_the_restoration(rich: Path) -> None:
    with pytest.raises(VideoError, match=r"hold stream 1 \(aac\).*--no-audio"):
        copied(rich, ".webm")
    with pytest.raises(VideoError, match="cannot hold h264 video"):
        copied(rich, ".webm", encoding=Encoding(codec="libx264"), audio=False, subtitles=False)


@pytest.mark.usefixtures("probed_here")
def test_a_cover_picture(tmp_path: Path) -> None:
    cover = film(tmp_path / "cover.png", frames=1, size="16x16")
    plain, source = film(tmp_path / "plain.mp4", frames=3), tmp_path / "film.mp4"
    both = ["-i", str(plain), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy"]
    command = [str(FFMPEG), "-loglevel", "error", *both, "-disposition:v:1", "attached_pic", str(source)]
    subprocess.run(command, check=True)
    old = streams(source)
    assert [len(stream.packets) for stream in old] == [3, 1]
    for ending in (".mp4", ".mkv"):
        picture, beside = streams(copied(source, ending))
        assert len(picture.times) == 3
        assert beside.packets == old[1].packets


DISPLAY = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
HDR = f"log-level=error:hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:chromaloc=2:{DISPLAY}"
KEPT = ("_Matrix", "_Primaries", "_Transfer", "_Range", "_ChromaLocation")
LIGHT = (
    "MasteringDisplayMaxLuminance",
    "MasteringDisplayPrimariesX",
    "ContentLightLevelMax",
    "ContentLightLevelAverage",
)


@pytest.mark.parametrize("codec", [None, "libx264"])
@pytest.mark.usefixtures("probed_here")
def test_hdr10(codec: str | None, tmp_path: Path) -> None:
    source = film(tmp_path / "hdr.mkv", "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params", HDR, frames=3)
    output = copied(source, ".mp4", encoding=Encoding(codec=codec))
    before, after = frame_props(source), frame_props(output)
    assert before["MasteringDisplayMaxLuminance"] == 1000
    for name in (*KEPT, *LIGHT):
        assert after[name] == pytest.approx(before[name]), name
    assert streams(output)[0].codec == ("hevc" if codec is None else "h264")


@pytest.mark.parametrize(
    ("name", "options", "frames", "size", "format"),
    [
        ("422p10.mkv", ("-pix_fmt", "yuv422p10le", "-c:v", "ffv1"), 3, "64x48", "YUV422P10"),
        ("one frame.mp4", ("-pix_fmt", "yuv420p"), 1, "64x48", "YUV420P8"),
        ("odd444.mkv", ("-pix_fmt", "yuv444p", "-c:v", "ffv1"), 3, "65x49", "YUV444P8"),
        ("odd420.mkv", ("-pix_fmt", "yuv420p", "-c:v", "ffv1"), 3, "65x49", "YUV420P8"),
        ("rgb.mkv", ("-pix_fmt", "gbrp", "-c:v", "ffv1"), 3, "64x48", "YUV420P8"),
        (
            "full.mp4",
            ("-vf", "scale=out_range=pc", "-pix_fmt", "yuv420p", "-color_range", "pc"),
            3,
            "64x48",
            "YUV420P8",
        ),
        ("bare.h264", ("-pix_fmt", "yuv420p"), 5, "64x48", "YUV420P8"),
        ("stream.ts", ("-pix_fmt", "yuv420p"), 5, "64x48", "YUV420P8"),
    ],
)
@pytest.mark.usefixtures("probed_here")
def test_pictures(name: str, options: tuple[str, ...], frames: int, size: str, format: str, tmp_path: Path) -> None:
    source = film(tmp_path / name, *options, frames=frames, size=size)
    remarks: list[str] = []
    output = copied(source, ".mkv", remark=remarks.append)
    old, new = (vs.core.bs.VideoSource(str(file), cachemode=0) for file in (source, output))
    assert (new.format.name, new.num_frames, new.fps) == (format, frames, old.fps)
    assert (new.width, new.height) == (old.width, old.height)
    becomes = {"odd420.mkv": "it becomes 64x48", "rgb.mkv": "the picture becomes yuv420p, from gbrp"}.get(name)
    assert len(remarks) == (becomes is not None)
    assert becomes is None or becomes in remarks[0]
    is_rgb = old.format.color_family == vs.RGB
    described = vs.RANGE_LIMITED if is_rgb else old.get_frame(0).props.get("_Range", vs.RANGE_LIMITED)
    assert new.get_frame(0).props.get("_Range", vs.RANGE_LIMITED) == described
    # Encoding takes little away, so the frames themselves have come through, each in its place.
    if is_rgb:
        old = old.resize.Bicubic(format=vs.YUV444P8, matrix=1)
    grey = [clip.std.ShufflePlanes(0, vs.GRAY).resize.Bicubic(format=vs.GRAY8) for clip in (old, new)]
    for frame in grey[0].std.PlaneStats(grey[1], prop="Change").frames():
        assert frame.props["ChangeDiff"] < 0.02
    assert streams(output)[0].times[0] == 0


@pytest.mark.usefixtures("probed_here")
def test_a_truncated_film_gives_what_is_there(rich: Path, tmp_path: Path) -> None:
    source = tmp_path / "cut short.mkv"
    data = rich.read_bytes()
    source.write_bytes(data[: len(data) * 3 // 5])
    picture, sound, *_ = streams(copied(source))
    assert 0 < len(picture.times) < 25
    assert sound.packets


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.mkdir(), "is a folder"),
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.write_bytes(b"not a film" * 100), "no video that can be read"),
        (
            lambda file: film(file, "-vn", inputs=["-f", "lavfi", "-i", "sine=duration=0.1", "-map", "1:a"]),
            "no video in it",
        ),
        (
            lambda file: film(
                file,
                *("-vf", "tinterlace=4,setfield=tff", "-x264opts", "tff=1"),
                inputs=["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=50", "-map", "1:v"],
            ),
            "interlaced; deinterlace.* bwdif",
        ),
    ],
    ids=["missing", "folder", "empty", "garbage", "sound", "interlaced"],
)
def test_no_film(prepare: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    source = tmp_path / "a film.mkv"
    prepare(source)
    with pytest.raises(VideoError, match=complaint) as caught:
        copied(source)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a film out.mkv").exists()
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.usefixtures("probed_here")
def test_outputs_that_are_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", frames=2)
    (tmp_path / "there.mkv").write_bytes(b"precious")
    (tmp_path / "folder.mkv").mkdir()
    for output, options, complaint in (
        ("there.mkv", {}, "exists already; --force overwrites it"),
        ("folder.mkv", {}, "is a folder"),
        ("film.mkv", {"force": True}, "same file"),
        ("film.xyz", {}, "name it .mkv, .mp4"),
        ("no/film.mkv", {}, "there is no folder"),
        ("new.mkv", {"encoding": Encoding(codec="libx266")}, "no video encoder 'libx266'"),
        ("new.mkv", {"encoding": Encoding(preset="soon")}, "^ffmpeg: "),
        ("new.mkv", {"start": 3.0}, "no frame between --start and --end; the last one is at 0.040 s"),
    ):
        with pytest.raises(VideoError, match=complaint):
            restore(Job(source=source, output=tmp_path / output, filters=(), **options))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["film.mkv", "folder.mkv", "there.mkv"]
    assert (tmp_path / "there.mkv").read_bytes() == b"precious"
    restore(Job(source=source, output=tmp_path / "there.mkv", filters=(), force=True))
    assert len(streams(tmp_path / "there.mkv")[0].times) == 2


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "-vf", "noise=alls=60:allf=t", frames=12)
    job: dict[str, Any] = {
        "source": source,
        "output": tmp_path / "out.mkv",
        "filters": (),
        "encoding": Encoding(codec="ffv1"),
        "part": 4,
    }
    # Enough for each part, but not for all of them together.
    with (
        file_size_limit(3 * source.stat().st_size // 2),
        pytest.raises(VideoError, match=r"cannot write .*: File too large"),
    ):
        restore(Job(**job))
    folder = tmp_path / "out.mkv.parts"
    assert len(list(folder.glob("*.mkv"))) == 3
    assert not list(tmp_path.glob("out.mkv*.partial"))
    (folder / "00001.mkv").unlink()
    with file_size_limit(20_000), pytest.raises(VideoError, match=r"^ffmpeg: "):
        restore(Job(**job, resume=True))
    assert sorted(file.name for file in folder.glob("*.mkv*")) == ["00000.mkv", "00002.mkv"]
    assert not (tmp_path / "out.mkv").exists()
    result = restore(Job(**job, resume=True))
    assert (result.frames, result.made) == (12, 4)
    assert len(streams(tmp_path / "out.mkv")[0].times) == 12


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], dict[str, Any]]:
    """A film that is hard to compress, its packets once copied, and how it was."""
    source = film(tmp_path_factory.mktemp("busy") / "film.mkv", "-vf", "noise=alls=60:allf=t", frames=12)
    job: dict[str, Any] = {"source": source, "filters": (), "encoding": Encoding(codec="ffv1"), "part": 4}
    output = source.with_name("whole.mkv")
    restore(Job(**job, output=output))
    return output, streams(output)[0].packets, job


@pytest.mark.parametrize(("room", "finished"), [(0.0, 0), (0.55, 1), (1.3, 3)], ids=["nothing", "a part", "all parts"])
def test_a_disk_without_room(
    room: float, finished: int, busy: tuple[Path, list[bytes], dict[str, Any]], tmp_path: Path
) -> None:
    whole, packets, job = busy
    folder, size = tmp_path / "disk", whole.stat().st_size
    folder.mkdir()
    output = folder / "out.mkv"
    # The job's own files take a page each.
    with small_disk(folder, max(4096, round(room * size) + 4 * 4096)) as grow:
        with pytest.raises(VideoError, match="No space left on device") as caught:
            restore(Job(**job, output=output))
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("; what is finished is kept: --resume goes on") == bool(finished)
        left = sorted(file.name for file in folder.rglob("*.mkv*") if file.is_file())
        assert left == [f"{number:05}.mkv" for number in range(finished)]
        assert all(len(streams(folder / "out.mkv.parts" / name)[0].packets) == 4 for name in left)
        grow(4 * size)
        assert restore(Job(**job, output=output, resume=True)).made == 12 - 4 * finished
        assert streams(output)[0].packets == packets
        assert [file.name for file in folder.iterdir()] == ["out.mkv"]


def dying(file: Path, number: signal.Signals) -> str:
    """A program that does nothing but end by a signal."""
    file.write_text(f"#!/bin/sh\nkill -{number.value} $$\n")
    file.chmod(0o755)
    return str(file)


def test_a_program_that_dies_is_reported_in_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = film(tmp_path / "film.mkv", frames=8), tmp_path / "out.mkv"
    job: dict[str, Any] = {"source": source, "output": output, "filters": (), "part": 4}

    def complaint(target: str, instead: object, **options: Any) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(target, instead)
            with pytest.raises(VideoError) as caught:
                restore(Job(**job, **options))
        return str(caught.value)

    python = SimpleNamespace(executable=dying(tmp_path / "python", signal.SIGBUS), platform=sys.platform)
    probed = (
        f"{source}: BestSource ended by a signal: Bus error; does something else change the file, or is a disk full?"
    )
    assert complaint("vsgshift.video.restore.probe.sys", python) == probed
    assert not (tmp_path / "out.mkv.parts").exists()

    restore(Job(**job))
    whole = streams(output)[0].packets
    output.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(job_module, "join", Mock(side_effect=VideoError("no")))
        with pytest.raises(VideoError, match="no; what is finished is kept"):
            restore(Job(**job))
    kept = [tmp_path / "out.mkv.parts" / f"0000{number}.mkv" for number in range(2)]
    kept[1].unlink()
    before = kept[0].read_bytes()
    assert complaint("vsgshift.video.restore.probe.sys", python, resume=True) == probed
    for number, text in ((signal.SIGKILL, "Killed"), (signal.SIGBUS, "Bus error")):
        find = Mock(return_value=dying(tmp_path / "vspipe", number))
        actual = complaint("vsgshift.video.programs.find_vspipe", find, resume=True)
        assert actual == f"vspipe: ended by a signal: {text}; what is finished is kept: --resume goes on"
    assert kept[0].read_bytes() == before
    assert restore(Job(**job, resume=True)).made == 4
    assert streams(output)[0].packets == whole


@pytest.mark.usefixtures("probed_here")
def test_going_on_with_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = film(tmp_path / "film.mkv", frames=6), tmp_path / "out.mkv"
    check_part = mux.check_part

    def stop_at_the_second(file: Path, count: int) -> None:
        if file.name.startswith("00001"):
            raise KeyboardInterrupt
        check_part(file, count)

    with monkeypatch.context() as patched:
        patched.setattr(job_module, "check_part", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            restore(Job(source=source, output=output, filters=(), part=4))
    assert sorted(file.name for file in (tmp_path / "out.mkv.parts").glob("*.mkv*")) == ["00000.mkv"]
    with pytest.raises(VideoError, match=r"holds an unfinished run; go on with --resume, or start over with --force$"):
        restore(Job(source=source, output=output, filters=(), part=4))
    with pytest.raises(VideoError, match=r"cannot go on: crf was 16, now it is 20.0; repeat the command as it was"):
        restore(Job(source=source, output=output, filters=(), part=4, encoding=Encoding(crf=20.0), resume=True))
    source.touch()
    with pytest.raises(VideoError, match="the input's time of change was"):
        restore(Job(source=source, output=output, filters=(), part=4, resume=True))
    assert (tmp_path / "out.mkv.parts" / "00000.mkv").exists()
    assert restore(Job(source=source, output=output, filters=(), part=4, force=True)).made == 6


def interrupted(source: Path, output: Path, *, resume: bool = False) -> Path:
    """The folder of a restoration with all its parts, whose file has not been put together."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job_module, "join", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore(Job(source=source, output=output, filters=(), part=4, resume=resume))
    return output.with_name(f"{output.name}.parts")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}], ids=["plain", "resume", "force"])
@pytest.mark.parametrize("kind", ["folder", "link", "file", "link to ours", "link as a mark"])
def test_a_folder_that_is_not_ours_is_left_alone(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    source, output = film(tmp_path / "film.mkv", frames=6), tmp_path / "out.mkv"
    folder, mine = tmp_path / "out.mkv.parts", tmp_path / "mine"
    mine.mkdir()
    (mine / "photos").mkdir()
    for name in ("thesis.txt", "00000.mkv", "index.0", "job.json", "photos/a.jpg"):
        (mine / name).write_text("precious")
    if kind == "folder":
        mine.rename(folder)
    elif kind == "file":
        folder.write_text("precious")
    elif kind == "link as a mark":
        (mine / "made-by-vsgshift").symlink_to(mine / "thesis.txt")
        mine.rename(folder)
    else:
        if kind == "link to ours":
            (mine / "made-by-vsgshift").touch()
        folder.symlink_to(mine)
    before = contents(tmp_path)
    with pytest.raises(VideoError, match=r"out\.mkv\.parts was not made by vsgshift.* move it away"):
        restore(Job(source=source, output=output, filters=(), **options))
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("probed_here")
def test_a_folder_of_another_user_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "film.mkv", frames=6)
    folder = interrupted(source, tmp_path / "out.mkv")
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(VideoError, match="was not made by vsgshift"):
        restore(Job(source=source, output=tmp_path / "out.mkv", filters=(), resume=True))


@pytest.mark.usefixtures("probed_here")
def test_what_the_user_puts_into_our_folder_stays(tmp_path: Path) -> None:
    source, output = film(tmp_path / "film.mkv", frames=6), tmp_path / "out.mkv"
    folder = interrupted(source, output)
    (folder / "notes.txt").write_text("precious")
    (folder / "index").mkdir()
    restore(Job(source=source, output=output, filters=(), force=True))
    assert sorted(file.name for file in folder.iterdir()) == ["index", "notes.txt"]
    assert len(streams(output)[0].times) == 6


def test_what_lies_in_the_folder_is_not_run(tmp_path: Path) -> None:
    source, output = film(tmp_path / "film.mkv", frames=6), tmp_path / "out.mkv"
    folder = interrupted(source, output)
    (folder / "00001.mkv").unlink()
    ran = tmp_path / "ran"
    for name in ("script.vpy", "json.py", "vapoursynth.py"):
        (folder / name).write_text(f"open({str(ran)!r}, 'w')\n")
    assert restore(Job(source=source, output=output, filters=(), part=4, resume=True)).made == 2
    assert not ran.exists()


@pytest.mark.usefixtures("probed_here")
def test_an_ffmpeg_that_hides_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = film(tmp_path / "film.mkv", "-vf", "noise=alls=60:allf=t", frames=8), tmp_path / "out.mkv"
    # As ffmpeg 5.1: what was written is cut off, and the exit status is 0.
    lying = tmp_path / "ffmpeg"
    for size in (0, 300, 6000):
        lying.write_text(
            f'#!/bin/sh\n"{FFMPEG}" "$@"\nfor last; do :; done\n'
            f'case "$last" in *.parts/00001*) truncate -s {size} "$last";; esac\nexit 0\n'
        )
        lying.chmod(0o755)
        with monkeypatch.context() as patched:
            patched.setattr("vsgshift.video.programs.find_ffmpeg", lambda: str(lying))
            with pytest.raises(VideoError, match=r"00001.* what is finished is kept: --resume goes on$") as caught:
                restore(Job(source=source, output=output, filters=(), part=4, encoding=Encoding(codec="ffv1")))
            assert "\n" not in str(caught.value)
            assert not output.exists()
            assert [file.name for file in (tmp_path / "out.mkv.parts").glob("*.mkv*")] == ["00000.mkv"]
            lying.write_text(f'#!/bin/sh\nexec "{FFMPEG}" "$@"\n')
            job = Job(source=source, output=output, filters=(), part=4, encoding=Encoding(codec="ffv1"), resume=True)
            assert restore(job).made == 4
        assert len(streams(output)[0].times) == 8
        output.unlink()


@pytest.mark.usefixtures("probed_here")
def test_a_broken_part_is_made_again(tmp_path: Path) -> None:
    source, output = film(tmp_path / "film.mkv", frames=8), tmp_path / "out.mkv"
    folder = interrupted(source, output)
    parts = [folder / f"0000{number}.mkv" for number in range(2)]
    packets, untouched = streams(parts[0])[0].packets, parts[1].stat().st_mtime_ns
    faults: tuple[Callable[[Path], object], ...] = (
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-200]),
        lambda file: file.write_bytes(b"not a film" * 100),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
    )
    for break_it in faults:
        break_it(parts[0])
        interrupted(source, output, resume=True)
        assert streams(parts[0])[0].packets == packets
        assert parts[1].stat().st_mtime_ns == untouched


@pytest.mark.parametrize(
    "format", [vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV411P8, vs.YUV410P8, vs.YUV440P8, vs.GRAY8, vs.GRAY16]
)
def test_frames_have_the_size_that_the_header_tells(format: vs.PresetVideoFormat) -> None:
    clip = vs.core.std.BlankClip(format=format, width=16, height=12, length=1)
    stream = io.BytesIO()
    clip.output(stream, y4m=True)
    header, frame = stream.getvalue().split(b"\n", 1)
    assert frame_bytes(header + b"\n") + len(b"FRAME\n") == len(frame)
    own = y4m_header(clip.format.name, (16, 12)).decode().split()
    assert own[:4] == header.decode().split()[:4]
