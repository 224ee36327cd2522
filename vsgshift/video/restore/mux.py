"""The whole file out of the parts: their frames at the times of the source's, and what else the source has.

Nothing is encoded again. Sound and subtitles are copied packet by packet; if only a stretch of the
film is wanted, the packets that fall into it.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.stream import Disposition, Stream

from vsgshift.errors import VideoError
from vsgshift.video.restore.companions import BESIDE, Copy, chosen, way
from vsgshift.video.restore.container import FORMATS, add_attached, add_copy, exact, opened, reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

RUN_UP = 30
"""Seconds before a stretch at which reading starts: subtitles that begin before it may last into it."""
OVERRUN = 10
"""Seconds after it in which packets of it may still come."""
ASTRAY = 5
"""Seconds between a stream and the picture from which the stream does not tell which clock its next packet has."""
NOT_COPIED = (
    "DURATION",
    "BPS",
    "NUMBER_OF_",
    "_STATISTICS",
    "ENCODER",
    "MAJOR_BRAND",
    "MINOR_VERSION",
    "COMPATIBLE_BRANDS",
)
"""How the names of those metadata begin that tell of the source's file and not of the film."""
USUAL_TAGS = {
    *("title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright", "creation_time"),
    *("description", "synopsis", "show", "episode_id", "network", "lyrics", "grouping", "track", "disc", "encoder"),
}
"""Tags of a film that MP4 and QuickTime files hold where most players look for them."""
QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb"},
    **{"fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk"},
}
"""Of the two names that ISO 639-2 has for a language, the one that QuickTime files know."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When the output's frames are shown."""

    time_base: Fraction
    """Seconds for a tick."""
    shown: Sequence[int]
    """In ticks, one for each frame and one for the end of the last, increasing; on the source's clock."""
    cut: bool
    """Whether only a stretch of the film is wanted, from the first of these to the last."""
    jumps: Sequence[int] = ()
    """By how many ticks its stamps were moved, each time that its clock is set anew."""

    @property
    def start(self) -> Fraction:
        """The first, in seconds."""
        return self.shown[0] * self.time_base

    @property
    def end(self) -> Fraction:
        """The last, in seconds."""
        return self.shown[-1] * self.time_base


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How the picture is to be turned by players."""

    rotation: int = 0
    """Degrees clockwise, as BestSource gives it."""
    flip_vertical: bool = False
    flip_horizontal: bool = False


def join(
    parts: Sequence[Path],
    source: Path,
    target: Path,
    ending: str,
    timing: Timing,
    orientation: Orientation,
    *,
    audio: bool,
    subtitles: bool,
) -> None:
    """Write the whole file: the encoded frames of parts that `check_part` has checked, at their times, turned as
    players shall show them, with what else the film has that its format (by the ending) holds.

    Raises VideoError if a part is of another kind than the first, or the file cannot be written.
    """
    delay = max(map(_delay, parts))
    with opened(source) as film:
        flags = "+faststart" + ("+use_metadata_tags" if _keeps_every_tag(film, ending) else "")
    # Without random numbers: the same parts make the same file.
    options = {"movflags": flags} if FORMATS[ending] in ("mp4", "mov") else {"fflags": "+bitexact"}
    try:
        with (
            opened(source) as film,
            opened(parts[0]) as first,
            av.open(str(target), "w", format=FORMATS[ending], container_options=options) as out,
        ):
            picture: Stream = first.streams.video[0]
            own = next(s for s in film.streams.video if not s.disposition & Disposition.attached_pic)
            video: Any = add_copy(out, picture)
            video.time_base = timing.time_base
            if video.codec_context.name == "hevc" and FORMATS[ending] in ("mp4", "mov"):
                # Apple's players want the parameter sets in the header, which this tag promises.
                video.codec_context.codec_tag = "hvc1"
            _describe(video, own, FORMATS[ending])
            if orientation != Orientation():
                # FFmpeg turns the other way, and mirrors first.
                mirrored = orientation.flip_horizontal != orientation.flip_vertical
                clockwise = (orientation.rotation if mirrored else -orientation.rotation) % 360
                video.set_display_rotation(clockwise, orientation.flip_horizontal, orientation.flip_vertical)
            streams, _ = chosen(film, audio=audio, subtitles=subtitles)
            copies: dict[int, Copy] = {}
            for stream in streams:
                if stream.type in ("audio", "subtitle"):
                    form = way(source, stream, ending)
                    assert form is not None, "checked before"
                    copies[stream.index] = form(out, stream)
                elif FORMATS[ending] in BESIDE[stream.type]:
                    if FORMATS[ending] == "matroska":
                        add_attached(out, stream, source)
                        continue
                    copies[stream.index] = Copy(out, stream)
                else:
                    continue
                _describe(copies[stream.index].stream, stream, FORMATS[ending])
            out.metadata.update(_kept(film.metadata))
            origin = timing.start if timing.cut else Fraction(film.start_time or 0, av.time_base)
            out.set_chapters(_chapters(film, timing, origin))
            frames = _frames(parts, picture, timing, origin, delay, video)
            others = _others(film, own, copies, timing, origin)
            for packet in heapq.merge(frames, others, key=_when):
                out.mux_one(packet)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot write {target}: {reason(error)}") from error


def check_part(file: Path, count: int) -> None:
    """Raise VideoError unless a part has that many frames: an ffmpeg whose disk was full may have ended without a
    complaint."""
    try:
        with opened(file) as part:
            frames = [packet for packet in part.demux(video=0) if packet.size and not packet.is_corrupt]
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(f"{file} is damaged: {reason(error)}") from error
    if len(frames) != count or any(packet.pts is None for packet in frames):
        raise VideoError(f"ffmpeg wrote {len(frames)} of {count} frames to {file}; is the disk full?")


def _delay(file: Path) -> int:
    """By how many frames a part's packets run ahead of their frames."""
    with opened(file) as part:
        shown = [packet.pts for packet in part.demux(video=0) if packet.size]
    return max((index - rank for index, rank in enumerate(_ranks(shown))), default=0)


def _ranks(values: Sequence[Any]) -> list[int]:
    """Each value's rank among them all, from 0."""
    ranks = [0] * len(values)
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        ranks[index] = rank
    return ranks


def _frames(
    files: Sequence[Path], kind: Stream, timing: Timing, origin: Fraction, delay: int, video: "VideoStream"
) -> Iterator["Packet[Any]"]:
    """All parts' packets with the times of the source's frames."""
    zero = round(origin / timing.time_base)
    shown = [ticks - zero for ticks in timing.shown]
    step = shown[1] - shown[0]
    before = 0
    for file in files:
        with opened(file) as part:
            stream = part.streams.video[0]
            if stream.codec_context.extradata != kind.codec_context.extradata:
                raise VideoError(
                    f"{file} was encoded in another way than the first part", advice="start over with --force"
                )
            packets = [packet for packet in part.demux(stream) if packet.size]
            ranks = _ranks([packet.pts for packet in packets])
            for index, (packet, rank) in enumerate(zip(packets, ranks, strict=True)):
                number, turn = before + rank, before + index - delay
                packet.stream, packet.time_base = video, timing.time_base
                packet.pts, packet.duration = shown[number], shown[number + 1] - shown[number]
                # Packets are decoded in the order of the frames' times, as much earlier as the encoder reorders.
                packet.dts = shown[turn] if turn >= 0 else shown[0] + turn * step
                yield packet
            before += len(packets)


def _others(
    film: "InputContainer", picture: Stream, copies: dict[int, Copy], timing: Timing, origin: Fraction
) -> Iterator["Packet[Any]"]:
    """The packets of the streams that are copied, as far as they belong to the stretch."""
    if not copies:
        return
    read = [film.streams[index] for index in copies]
    if timing.jumps:
        # Only from the beginning on is known which clock holds, and the picture tells it.
        read.append(picture)
    elif timing.cut and timing.start - RUN_UP > Fraction(film.start_time or 0, av.time_base):
        film.seek(int((timing.start - RUN_UP) * av.time_base))
    clocks: dict[int, Clock] = {}
    joined = JoinedClocks(timing)
    for packet in film.demux(read):
        if packet.stream.disposition & Disposition.attached_pic and packet.size:
            packet.pts = packet.dts = 0
            yield from copies[packet.stream_index].take(packet)
            continue
        if not packet.size:
            continue
        base = exact(packet.time_base)
        if timing.jumps:
            joined.move(packet, is_picture=packet.stream_index == picture.index)
            if packet.stream_index not in copies:
                continue
        if packet.stream.type == "audio":
            clocks.setdefault(packet.stream_index, Clock()).set(packet)
        if packet.pts is None:
            continue
        start = packet.pts * base
        if timing.cut:
            if start > timing.end + OVERRUN:
                break
            until = start + (packet.duration or 0) * base
            # Sound begins with the picture; a subtitle that has begun before it is shown from there on.
            if start >= timing.end or (
                until <= timing.start if packet.stream.type == "subtitle" else start < timing.start
            ):
                continue
            begins = max(start, timing.start)
            packet.duration = max(round((min(until, timing.end) - begins) / base), 0)
            packet.pts = round(begins / base)
        shift = round(origin / base)
        packet.pts -= shift
        packet.dts = packet.pts if packet.stream.type == "subtitle" or packet.dts is None else packet.dts - shift
        yield from copies[packet.stream_index].take(packet)
    for copy in copies.values():
        yield from copy.finish()


class JoinedClocks:
    """Moves the packets of a film whose clock is set anew as its picture was moved.

    Which of the clocks a packet has is told by what comes next: the one by which it follows the packets before it.
    """

    def __init__(self, timing: Timing) -> None:
        self._shifts = [shift * timing.time_base for shift in (0, *timing.jumps)]
        self._picture: Fraction | None = None
        """When the last packet of the picture is shown."""
        self._ends: dict[int, Fraction] = {}
        """When the last packet of each stream ends."""

    def move(self, packet: "Packet[Any]", *, is_picture: bool) -> None:
        """Move a packet. Those of all streams come in the order of the file."""
        if packet.pts is None:
            return
        base = exact(packet.time_base)
        start = packet.pts * base
        due = self._ends.get(packet.stream_index, self._picture)
        if due is None or (self._picture is not None and abs(due - self._picture) > ASTRAY):
            due = self._picture
        shift = 0 if due is None else min(self._shifts, key=lambda shift: abs(start + shift - due))
        self._ends[packet.stream_index] = start + shift + (packet.duration or 0) * base
        if is_picture:
            self._picture = start + shift
        packet.pts += round(shift / base)
        if packet.dts is not None:
            packet.dts += round(shift / base)


class Clock:
    """Times for a stream's packets of sound that have none, or one that goes back: they follow the one before."""

    def __init__(self) -> None:
        self._next = 0
        """When the next packet is due, in ticks."""
        self._last: int | None = None

    def set(self, packet: "Packet[Any]") -> None:
        """Give a packet a time if it has no usable one. Those of a stream come one after the other."""
        if packet.pts is None or (self._last is not None and packet.pts <= self._last):
            packet.pts = self._next if self._last is None else max(self._next, self._last + 1)
            packet.dts = packet.pts
        self._last, self._next = packet.pts, packet.pts + (packet.duration or 0)


def _when(packet: "Packet[Any]") -> Fraction:
    return (packet.dts or 0) * exact(packet.time_base)


def _describe(copy: Stream, stream: Stream, format: str) -> None:
    kept = _kept(stream.metadata)
    if format == "mov" and kept.get("language") in QUICKTIME_LANGUAGES:
        kept["language"] = QUICKTIME_LANGUAGES[kept["language"]]
    copy.metadata.update(kept)
    copy.disposition = stream.disposition


def _keeps_every_tag(film: "InputContainer", ending: str) -> bool:
    """Whether tags are written as QuickTime does, which takes any, and not as iTunes, which most players read.

    The cover picture has a place only among those of iTunes.
    """
    covers = any(stream.disposition & Disposition.attached_pic for stream in film.streams)
    return FORMATS[ending] in ("mp4", "mov") and not covers and bool(_unknown_tags(film, ending))


def tags_left_out(source: Path, ending: str) -> Iterator[str]:
    """Remarks on tags that the output will not hold. Raises VideoError if the film cannot be read."""
    with opened(source) as film:
        if not _keeps_every_tag(film, ending) and (names := _unknown_tags(film, ending)):
            yield f"{ending} files with a cover picture do not hold the tags {', '.join(names)}; they are left out"


def _unknown_tags(film: "InputContainer", ending: str) -> list[str]:
    """Names of a film's tags that MP4 and QuickTime files have no place for among the usual ones."""
    if FORMATS[ending] not in ("mp4", "mov"):
        return []
    return sorted(name for name in _kept(film.metadata) if name.lower() not in USUAL_TAGS)


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if not name.upper().startswith(NOT_COPIED)}


def _chapters(film: "InputContainer", timing: Timing, origin: Fraction) -> list[Any]:
    """The chapters of the stretch, on the output's clock."""
    kept = []
    for chapter in film.chapters():
        base = exact(chapter["time_base"])
        start, end = chapter["start"] * base, chapter["end"] * base
        if timing.cut:
            start, end = max(start, timing.start), min(end, timing.end)
        if end > start or (not timing.cut and end == start):
            kept.append({**chapter, "start": round((start - origin) / base), "end": round((end - origin) / base)})
    return kept
