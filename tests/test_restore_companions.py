"""What stands beside the picture comes through as it was, or with a remark, or is refused before the work."""

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import pytest
from films import FFMPEG, NEEDS_PROGRAMS, film, streams

from vsgshift.errors import VideoError
from vsgshift.video.restore.job import Job, restore

pytestmark = [*NEEDS_PROGRAMS, pytest.mark.usefixtures("probed_here")]
SOUND = ["-f", "lavfi", "-i", "sine=duration=0.4:sample_rate=48000"]
SUBTITLES = "1\n00:00:00,040 --> 00:00:00,200\n<i>first</i>\n\n2\n00:00:00,240 --> 00:00:00,360\nlöng\n"


def copied(source: Path, ending: str = ".mkv", **options: Any) -> tuple[Path, list[str]]:
    """The film as it comes out, and remarks."""
    output = source.with_name(f"{source.stem} out{ending}")
    remarks: list[str] = []
    restore(Job(source=source, output=output, filters=(), force=True, remark=remarks.append, **options))
    return output, remarks


def samples(file: Path) -> bytes:
    """The sound, decoded."""
    command = [str(FFMPEG), "-loglevel", "error", "-i", str(file), "-vn", "-f", "s32le", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    ("name", "codec", "ending"),
    [
        ("tape.avi", "pcm_s16le", ".mp4"),
        ("tape.mkv", "pcm_s16le", ".mp4"),
        ("camera.avi", "pcm_u8", ".mkv"),
        ("camera.avi", "pcm_mulaw", ".mkv"),
        ("camera.avi", "adpcm_ms", ".mkv"),
        ("camera.avi", "adpcm_ima_wav", ".mkv"),
        ("old.wmv", "wmav2", ".mkv"),
        ("old.wmv", "wmav1", ".mkv"),
        ("phone.mov", "pcm_mulaw", ".mov"),
    ],
)
def test_sound_goes_in_as_it_is(name: str, codec: str, ending: str, tmp_path: Path) -> None:
    source = film(tmp_path / name, "-c:v", "mpeg4", "-ac", "2", "-c:a", codec, inputs=SOUND)
    output, remarks = copied(source, ending)
    before, after = streams(source), streams(output)
    assert [stream.codec for stream in after] == ["h264", codec]
    assert b"".join(after[1].packets) == b"".join(before[1].packets)
    assert samples(output) == samples(source)
    assert remarks == []


@pytest.mark.parametrize(
    ("name", "codec", "options", "ending", "becomes"),
    [
        ("disc.m2ts", "pcm_bluray", ("-f", "mpegts", "-mpegts_m2ts_mode", "1"), ".mkv", "flac"),
        ("disc.m2ts", "pcm_bluray", ("-f", "mpegts", "-mpegts_m2ts_mode", "1", "-sample_fmt", "s32"), ".mkv", "flac"),
        ("disc.vob", "pcm_dvd", ("-c:v", "mpeg2video"), ".mp4", "flac"),
        ("disc.vob", "pcm_dvd", ("-c:v", "mpeg2video"), ".mov", "pcm_s16le"),
        ("phone.mov", "pcm_mulaw", (), ".mkv", "flac"),
        ("phone.mov", "adpcm_ima_qt", (), ".mkv", "flac"),
    ],
)
def test_sound_that_no_output_holds_is_kept_without_loss(
    name: str, codec: str, options: tuple[str, ...], ending: str, becomes: str, tmp_path: Path
) -> None:
    source = film(tmp_path / name, "-ac", "2", "-c:a", codec, *options, inputs=SOUND)
    output, remarks = copied(source, ending)
    after = streams(output)
    assert [stream.codec for stream in after] == ["h264", becomes]
    heard, wanted = samples(output), samples(source)
    # Frames of the codecs are filled up at the end.
    assert heard[: len(wanted)] == wanted[: len(heard)]
    assert abs(len(heard) - len(wanted)) < 0.05 * len(wanted)
    assert remarks[-1] == f"stream 1 is converted from {codec} to {becomes}, without loss"


@pytest.mark.parametrize(
    ("codec", "ending"), [("pcm_u8", ".mp4"), ("wmav2", ".mp4"), ("mp3", ".webm"), ("truehd", ".mp4")]
)
def test_sound_for_another_kind_of_file_is_refused_before_the_work(codec: str, ending: str, tmp_path: Path) -> None:
    options = ["-c:v", "mpeg4", "-ac", "2", "-c:a", codec, "-strict", "-2"]
    source = film(tmp_path / f"film.{'mkv' if codec == 'truehd' else 'avi'}", *options, inputs=SOUND)
    with pytest.raises(VideoError, match=rf"cannot hold stream 1 \({codec}.*\); choose another ending, as \.mkv"):
        copied(source, ending)
    assert not list(tmp_path.glob("*.parts"))


def told(file: Path) -> list[tuple[str, float, float]]:
    """A film's subtitles: text without styles, beginning and length in seconds."""
    with av.open(str(file)) as opened:
        stream = opened.streams.subtitles[0]
        found = []
        for packet in opened.demux(stream):
            if packet.size and packet.pts is not None and (subtitle := stream.codec_context.decode2(packet)):
                text = b"".join(rect.dialogue for rect in subtitle).decode()  # type: ignore[attr-defined]
                assert packet.time_base is not None
                base = float(packet.time_base)
                found.append((re.sub(r"{.*?}", "", text), packet.pts * base, (packet.duration or 0) * base))
        return [line for line in found if line[0]]


@pytest.mark.parametrize(
    ("name", "codec", "ending", "becomes"),
    [
        ("film.mp4", "mov_text", ".mkv", "srt"),
        ("film.mkv", "srt", ".mp4", "mov_text"),
        ("film.mkv", "srt", ".mov", "mov_text"),
        ("film.mkv", "ass", ".mp4", "mov_text"),
        ("film.mkv", "ass", ".mkv", "ssa"),
        ("film.mkv", "webvtt", ".mp4", "mov_text"),
        ("film.mkv", "srt", ".webm", "webvtt"),
    ],
)
def test_text_of_subtitles_changes_its_form_with_the_file(
    name: str, codec: str, ending: str, becomes: str, tmp_path: Path
) -> None:
    (tmp_path / "s.srt").write_text(SUBTITLES, encoding="utf-8")
    inputs = ["-i", str(tmp_path / "s.srt")]
    source = film(
        tmp_path / name, "-c:s", codec, "-metadata:s:s", "language=deu", "-map", "0", "-map", "1", inputs=inputs
    )
    output, remarks = copied(source, ending)
    (subtitles,) = (stream for stream in streams(output) if stream.kind == "subtitle")
    assert (subtitles.codec, subtitles.metadata.get("language")) == (becomes, "ger" if ending == ".mov" else "deu")
    for (text, at, length), wanted in zip(told(output), [("first", 0.04, 0.16), ("löng", 0.24, 0.12)], strict=True):
        assert (text, round(at, 2), round(length, 2)) == wanted
    assert [remark.split(" is converted")[0] for remark in remarks] == (
        [] if (codec, becomes) == ("ass", "ssa") else ["stream 1"]
    )


def attachments(file: Path) -> list[tuple[str, bytes]]:
    with av.open(str(file)) as opened:
        found = []
        for stream in opened.streams:
            if stream.type == "video" and "filename" in stream.metadata:
                found.append((stream.metadata["filename"], bytes(next(iter(opened.demux(stream))))))
        return found


def test_covers_keep_their_names(tmp_path: Path) -> None:
    pictures = [film(tmp_path / name, frames=1, size="16x16") for name in ("cover.png", "small_cover.png")]
    source = tmp_path / "film.mkv"
    with av.open(str(film(tmp_path / "plain.mkv", frames=3))) as plain, av.open(str(source), "w") as out:
        copy = out.add_stream_from_template(plain.streams.video[0])
        for picture in pictures:
            out.add_attachment(picture.name, "image/png", picture.read_bytes())
        for packet in plain.demux():
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    output, remarks = copied(source)
    assert attachments(output) == [(picture.name, picture.read_bytes()) for picture in pictures]
    assert remarks == []
    assert copied(source, ".mov")[1] == [
        f"stream {index} is a cover picture, which .mov files do not hold; it is left out" for index in (1, 2)
    ]


@pytest.mark.parametrize("ending", [".mov", ".mp4", ".mkv"])
def test_tags_that_are_not_usual(ending: str, tmp_path: Path) -> None:
    tags = {"com.apple.quicktime.make": "Apple", "custom": "abc", "title": "A film"}
    words = [word for name, text in tags.items() for word in ("-metadata", f"{name}={text}")]
    source = film(tmp_path / "phone.mov", *words, "-movflags", "use_metadata_tags", frames=3)
    with av.open(str(copied(source, ending)[0])) as out:
        found = {name.lower(): text for name, text in out.metadata.items()}
    assert {name: found.get(name) for name in tags} == tags


def test_usual_tags_stay_where_players_look(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", "-metadata", "title=A film", "-metadata", "artist=I", frames=3)
    output, remarks = copied(source, ".mp4")
    assert b"\xa9nam" in output.read_bytes()
    with av.open(io.BytesIO(output.read_bytes())) as out:
        assert (out.metadata["title"], out.metadata["artist"]) == ("A film", "I")
    assert remarks == []
