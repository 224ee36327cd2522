"""Files of video as containers: opening them, and what they say of their picture."""

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.sidedata.sidedata import Type
from av.stream import AttachmentStream, Disposition, Stream

from vsgshift.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
"""Endings of the files that can be written, with ffmpeg's name of their format."""
CAPTIONED = 50
"""Frames that are searched for closed captions."""
COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
"""Ending and type of a cover picture's file."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """What the container says of a film's picture."""

    index: int
    """Of the stream in the file."""
    size: tuple[int, int]
    """Width and height as stored."""
    aspect: Fraction
    """Of a pixel, width to height, as players show it; 0 if nothing is said."""
    rate: Fraction
    """Frames per second; 0 if nothing is said."""
    end: float
    """When the film is said to end, in seconds on its own clock; 0 if nothing is said."""


def video_track(path: Path) -> Track:
    """A file's first video stream that is not a cover picture. Raises VideoError."""
    with opened(path) as source:
        for stream in source.streams.video:
            # A stream of no known codec has no size.
            if stream.codec_context and not stream.disposition & Disposition.attached_pic:
                # With a clock that does not start at 0, some kinds of file say when it ends, and others how long it is.
                end = ((source.duration or 0) + min(source.start_time or 0, 0)) / av.time_base
                rate = exact(stream.average_rate)
                aspect = exact(stream.sample_aspect_ratio)
                size = stream.width, stream.height
                return Track(index=stream.index, size=size, aspect=aspect, rate=rate, end=end)
    raise VideoError(f"{path} has no video in it")


def pixel_format(path: Path) -> str:
    """ffmpeg's name of the format of a film's pixels; "" if the codec does not say. Raises VideoError."""
    with opened(path) as source:
        return source.streams.video[0].codec_context.pix_fmt or ""


def has_captions(path: Path, track: int) -> bool:
    """Whether the first frames of a stream of video carry closed captions. Raises VideoError."""
    with opened(path) as source, suppress(av.FFmpegError):
        frames: Any = source.decode(source.streams[track])
        return any(Type.A53_CC in frame.side_data for frame in islice(frames, CAPTIONED))
    return False


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


def add_copy(out: "OutputContainer", stream: Stream) -> Stream:
    """A stream of the same kind in the output."""
    return out.add_stream_from_template(stream, opaque=True)


def add_attached(out: "OutputContainer", stream: Stream, film: Path) -> None:
    """Attach to a Matroska file what another film has attached, or its cover picture, under its name."""
    if isinstance(stream, AttachmentStream):
        name = stream.metadata.get("filename", f"attachment-{stream.index}")
        out.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
        return
    codec = stream.codec_context.name if stream.codec_context else ""
    ending, mimetype = COVERS.get(codec, ("bin", "application/octet-stream"))
    with opened(film) as again:
        data = next((bytes(packet) for packet in again.demux(again.streams[stream.index]) if packet.size), b"")
    out.add_attachment(stream.metadata.get("filename", f"cover.{ending}"), mimetype, data)


def exact(value: Any) -> Fraction:
    """A rational number of PyAV's as one of Python's; None is 0."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)


def reason(error: BaseException) -> str:
    """An error's reason without the path that it repeats."""
    return str(getattr(error, "strerror", None) or error)
