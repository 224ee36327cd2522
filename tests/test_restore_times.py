"""Restoring films whose timestamps are missing, doubled or out of order: the others keep theirs, as does the sound."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from films import NEEDS_PROGRAMS, film, streams

from vsgshift.video.compare.pairs import Comparison, Moment
from vsgshift.video.restore.job import Job, restore

pytestmark = [*NEEDS_PROGRAMS, pytest.mark.usefixtures("probed_here")]
SOUND = ["-f", "lavfi", "-i", "sine=duration=1"]


def copied(source: Path, **options: Any) -> tuple[list[Any], list[str]]:
    """Streams of the film as it comes out, and remarks."""
    output = source.with_name(f"{source.stem} out.mkv")
    remarks: list[str] = []
    restore(Job(source=source, output=output, filters=(), force=True, remark=remarks.append, **options))
    return streams(output), remarks


def stamped(source: Path, target: Path, change: Callable[[str, int, int], int]) -> Path:
    """A copy of a film with other timestamps: ``change`` gets kind of stream, number of the packet, and its stamp."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        copies = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        counts = dict.fromkeys(copies, 0)
        for packet in before.demux():
            if packet.dts is None or packet.pts is None:
                continue
            index, kind = packet.stream_index, packet.stream.type
            # Ten seconds later, since no stamp may lie before its packet's turn.
            packet.pts = 10_000 + change(kind, counts[index], packet.pts)
            counts[index] += 1
            packet.stream = copies[index]
            after.mux_one(packet)
    return target


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames and a second of sound; frames 13 to 24 come half a second late."""
    late = "settb=1/1000,setpts='N*40+if(gt(N,12),500,0)'"
    options = [
        "-vf",
        late,
        "-fps_mode",
        "vfr",
        "-enc_time_base",
        "1/1000",
        "-c:v",
        "libx264",
        "-bf",
        "0",
        "-c:a",
        "flac",
    ]
    return film(tmp_path_factory.mktemp("times") / "steady.mkv", *options, frames=25, inputs=SOUND)


TRUE = [Fraction(n * 40 + (500 if n > 12 else 0), 1000) for n in range(25)]


@pytest.mark.parametrize(
    ("change", "placed"),
    [
        (lambda n, stamp: stamp - 40 if n == 8 else stamp, 1),
        (lambda n, stamp: 400 if n in (11, 12) else stamp, 2),
        (lambda n, stamp: stamp - 300 if n in (5, 9, 20) else stamp, 3),
    ],
    ids=["one doubled", "two doubled", "some go back"],
)
def test_wrong_stamps_cost_their_frames_alone(
    change: Callable[[int, int], int], placed: int, steady: Path, tmp_path: Path
) -> None:
    source = stamped(
        steady, tmp_path / "film.mkv", lambda kind, n, stamp: change(n, stamp) if kind == "video" else stamp
    )
    (picture, sound), remarks = copied(source)
    assert picture.times == TRUE
    assert (sound.times, sound.packets) == (streams(steady)[1].times, streams(steady)[1].packets)
    assert remarks == [f"{placed} of 25 frames have no timestamp, or a wrong one; they are placed between the others"]


def test_sound_that_goes_back_is_kept_whole(steady: Path, tmp_path: Path) -> None:
    source = stamped(
        steady, tmp_path / "film.mkv", lambda kind, n, stamp: stamp - 150 if kind == "audio" and n == 4 else stamp
    )
    (picture, sound), _ = copied(source)
    wanted = streams(steady)[1]
    assert picture.times == TRUE
    assert sound.packets == wanted.packets
    assert [float(time) for time in sound.times] == pytest.approx([float(time) for time in wanted.times], abs=0.002)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.flv", "film.mpg", "film.avi"])
def test_every_container_keeps_its_times(name: str, tmp_path: Path) -> None:
    codecs = {"mpg": ["mpeg2video", "mp2"], "avi": ["mpeg4", "mp3"]}.get(name[-3:], ["libx264", "aac"])
    options = [
        "-c:v",
        codecs[0],
        "-c:a",
        codecs[1],
        "-bf",
        "2",
        "-output_ts_offset",
        "0" if name[-3:] == "avi" else "5",
    ]
    source = film(tmp_path / name, *options, frames=25, inputs=SOUND)
    (picture, sound), remarks = copied(source)
    before = streams(source)
    first = before[0].times[0]
    assert len(picture.times) == 25
    for old, new in zip(before, (picture, sound), strict=True):
        wanted = [float(time - first) for time in old.times]
        assert [float(time - picture.times[0]) for time in new.times] == pytest.approx(wanted, abs=0.0011)
    if name != "film.ts":
        # There each packet of AAC has a header of its own.
        assert sound.packets == before[1].packets
    assert [remark for remark in remarks if "complete" in remark] == []


def test_the_question_whether_a_film_is_complete(tmp_path: Path) -> None:
    lapse = film(tmp_path / "lapse.mp4", frames=4, rate="0.2")
    late = film(tmp_path / "late.mkv", "-output_ts_offset", "36000", frames=10)
    quiet = film(tmp_path / "more sound.mkv", frames=10, inputs=["-f", "lavfi", "-i", "sine=duration=9"])
    for source in (lapse, late, quiet):
        assert copied(source)[1] == []
    whole = film(tmp_path / "whole.mkv", frames=250, rate="25")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (remark,) = copied(cut)[1]
    assert remark.startswith("the film should last until 10 s, but ends at ")
    assert remark.endswith("; is the file complete?")


def test_a_rate_that_the_file_hides(tmp_path: Path) -> None:
    """An AVI with frames out of order, of which most have no timestamp."""
    source = film(tmp_path / "film.avi", "-c:v", "mpeg4", "-bf", "2", frames=25)
    (picture, *_), remarks = copied(source)
    assert [b - a for a, b in zip(picture.times, picture.times[1:], strict=False)] == [Fraction(1, 25)] * 24
    assert len(remarks) == 1
    with av.open(str(tmp_path / "film out.mkv")) as out:
        assert out.streams.video[0].average_rate == 25


@pytest.mark.parametrize(
    ("second", "ending"),
    [
        ("before", "ts"),
        ("after", "ts"),
        ("far before", "ts"),
        ("far after", "ts"),
        ("before", "mpg"),
        ("far after", "mpg"),
    ],
)
def test_films_that_were_joined_go_on_and_their_sound_with_them(second: str, ending: str, tmp_path: Path) -> None:
    """As `cat` joins them: the second one's clock begins before or after that of the first one ends."""
    codecs = ("-c:v", "mpeg2video", "-bf", "0", "-c:a", "mp2")
    late = {"before": (0, 0), "after": (0, 60), "far before": (3600, 0), "far after": (0, 36_000)}[second]
    films = [
        film(tmp_path / f"{n}.{ending}", *codecs, "-output_ts_offset", str(late[n]), frames=25 + 15 * n, inputs=SOUND)
        for n in (0, 1)
    ]
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(b"".join(file.read_bytes() for file in films))
    (picture, sound), remarks = copied(joined)
    assert [b - a for a, b in pairwise(picture.times)] == [Fraction(1, 25)] * 64
    assert sound.packets == [packet for file in films for packet in streams(file)[1].packets]
    for n, number, packets in ((0, 0, 0), (1, 25, len(streams(films[0])[1].packets))):
        before = streams(films[n])
        ahead = before[1].times[0] - before[0].times[0]
        assert sound.times[packets] - picture.times[number] == pytest.approx(float(ahead), abs=0.03), n
    assert max(b - a for a, b in pairwise(sound.times)) < 0.05
    told = "the clock of the film is set anew at 0:00:01; what follows is shown right after what comes before"
    assert told in remarks
    (picture, sound), _ = copied(joined, start=0.8, end=2.0)
    assert [round(25 * time) for time in picture.times] == list(range(30))
    assert [float(sound.times[end]) for end in (0, -1)] == pytest.approx([0.015, 1.18], abs=0.02)


def test_a_pause_of_the_picture_alone_is_none_of_the_clock(tmp_path: Path) -> None:
    late = "setpts='PTS+if(gt(N,12),20,0)/TB'"
    options = ("-c:v", "mpeg2video", "-bf", "0", "-c:a", "mp2", "-vf", late, "-fps_mode", "vfr")
    sound = ["-f", "lavfi", "-i", "sine=duration=21"]
    (picture, _), remarks = copied(film(tmp_path / "slides.ts", *options, frames=25, inputs=sound))
    assert picture.times[13] - picture.times[12] > 20
    assert remarks == []


def test_moments_are_those_of_the_timestamps(steady: Path) -> None:
    video = Comparison(steady)
    assert [video.frame_of(Moment(seconds=at)) for at in (0, 0.48, 0.9, 1.02, 1.46)] == [0, 12, 12, 13, 24]
    assert (video.time_of(12), video.time_of(13)) == ("0:00:00.480", "0:00:01.020")
