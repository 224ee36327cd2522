"""What files hold besides the picture, and what each kind of file can hold."""

import io
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.stream import AttachmentStream, Disposition, Stream

from vsgshift.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
"""Endings of the files that can be written, with ffmpeg's name of their format."""
BESIDE = {"attachment": ("matroska",), "video": ("matroska", "mp4", "mov")}
"""The formats that hold attachments, and a cover picture besides the film."""
COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
"""Ending and type of a cover picture's file."""


def companions(source: "InputContainer", *, audio: bool, subtitles: bool) -> tuple[list[Stream], list[str]]:
    """The streams to be copied besides the picture, and remarks on those that are left out."""
    chosen, remarks, pictures = [], [], 0
    for stream in source.streams:
        kind = stream.type
        if kind == "video":
            if stream.disposition & Disposition.attached_pic:
                chosen.append(stream)
            else:
                pictures += 1
                remarks += [f"stream {stream.index} is a further video; it is left out"] if pictures > 1 else []
        elif (kind == "audio" and audio) or (kind == "subtitle" and subtitles) or kind == "attachment":
            chosen.append(stream)
        elif kind not in ("audio", "subtitle") and not (kind == "data" and source.chapters()):
            # If there are chapters, MP4 has a data stream with their names.
            remarks.append(f"stream {stream.index} is {kind}; it is left out")
    return chosen, remarks


@dataclass(frozen=True, kw_only=True)
class Track:
    """What the container says of a film's picture."""

    index: int
    """Of the stream in the file."""
    size: tuple[int, int]
    """Width and height as stored."""
    rate: Fraction
    """Frames per second; 0 if nothing is said."""
    end: float
    """When the film is said to end, in seconds on its own clock; 0 if nothing is said."""


def video_track(path: Path) -> Track:
    """A file's first video stream that is not a cover picture. Raises VideoError."""
    with opened(path) as source:
        for stream in source.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                # With a clock that does not start at 0, some kinds of file say when it ends, and others how long it is.
                end = ((source.duration or 0) + min(source.start_time or 0, 0)) / av.time_base
                rate = exact(stream.average_rate)
                return Track(index=stream.index, size=(stream.width, stream.height), rate=rate, end=end)
    raise VideoError(f"{path} has no video in it")


def last_moment(path: Path) -> float:
    """When the last packet of any kind ends, in seconds on the film's clock. Reads the whole file."""
    last = Fraction(0)
    with opened(path) as source, suppress(av.FFmpegError):
        for packet in source.demux([stream for stream in source.streams if stream.type in ("video", "audio")]):
            if packet.pts is not None and packet.size:
                last = max(last, (packet.pts + (packet.duration or 0)) * exact(packet.time_base))
    return float(last)


def opened(path: Path) -> "InputContainer":
    """A file opened for reading. Raises VideoError."""
    try:
        return av.open(str(path), "r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path} is no video that can be read: {reason(error)}") from error


def check_container(source: Path, sample: Path, ending: str, *, audio: bool, subtitles: bool) -> list[str]:
    """Find out early whether a kind of file can hold what is to go into it.

    Args:
        source: the film.
        sample: a file with a frame from the encoder.
        ending: of the output.
        audio, subtitles: whether they are copied.

    Returns:
        Remarks on what is left out.

    Raises:
        VideoError: it cannot hold one of the streams.
    """

    def fits(stream: Stream) -> bool:
        try:
            with av.open(io.BytesIO(), "w", format=FORMATS[ending]) as trial:
                add_copy(trial, stream)
                trial.start_encoding()
        except (av.FFmpegError, OSError, ValueError):
            return False
        return True

    with opened(source) as film, opened(sample) as encoded:
        if not fits(encoded.streams.video[0]):
            name = encoded.streams.video[0].codec_context.name
            raise VideoError(
                f"a {ending} file cannot hold {name} video; choose another --codec, or .mkv for the output"
            )
        chosen, remarks = companions(film, audio=audio, subtitles=subtitles)
        for stream in chosen:
            if stream.type in ("audio", "subtitle") and not fits(stream):
                name = stream.codec_context.name if stream.codec_context else "of a codec that is not known"
                leave = "audio" if stream.type == "audio" else "subtitles"
                raise VideoError(
                    f"a {ending} file cannot hold stream {stream.index} ({name}); "
                    f"choose another ending, as .mkv, or leave it out with --no-{leave}"
                )
            if stream.type in BESIDE and FORMATS[ending] not in BESIDE[stream.type]:
                what = "a cover picture" if stream.type == "video" else "an attachment"
                remarks.append(f"stream {stream.index} is {what}, which {ending} files do not hold; it is left out")
    return remarks


def add_copy(out: "OutputContainer", stream: Stream) -> Stream:
    """A stream of the same kind in the output."""
    return out.add_stream_from_template(stream, opaque=True)


def add_beside(out: "OutputContainer", stream: Stream, film: Path) -> Stream | None:
    """Add what `companions` found to the output.

    Returns:
        The stream that takes its packets; None if there are none to copy, or the kind of file has no place for it.
    """
    kind = out.format.name
    if stream.type in BESIDE and kind not in BESIDE[stream.type]:
        return None
    if isinstance(stream, AttachmentStream):
        name = stream.metadata.get("filename", f"attachment-{stream.index}")
        out.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
        return None
    if stream.type == "video" and kind == "matroska":
        # There a cover is an attachment of that name.
        codec = stream.codec_context.name if stream.codec_context else ""
        ending, mimetype = COVERS.get(codec, ("bin", "application/octet-stream"))
        with opened(film) as again:
            data = next((bytes(packet) for packet in again.demux(again.streams[stream.index]) if packet.size), b"")
        out.add_attachment(f"cover.{ending}", mimetype, data)
        return None
    return add_copy(out, stream)


def exact(value: Any) -> Fraction:
    """A rational number of PyAV's as one of Python's; None is 0."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)


def reason(error: BaseException) -> str:
    """An error's reason without the path that it repeats."""
    return str(getattr(error, "strerror", None) or error)
