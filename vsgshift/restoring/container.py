"""What files hold beside the picture, and what each kind of file can hold."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import AttachmentStream, Disposition, Stream

from vsgshift.restoring.errors import RestoreError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm"}
"""Endings of the files that can be written, with ffmpeg's name of their format."""


def companions(source: "InputContainer", *, audio: bool, subtitles: bool) -> tuple[list[Stream], list[str]]:
    """The streams to be copied beside the picture, and remarks on those that are left behind."""
    chosen, remarks, pictures = [], [], 0
    for stream in source.streams:
        kind = stream.type
        if kind == "video":
            if stream.disposition & Disposition.attached_pic:
                chosen.append(stream)
            else:
                pictures += 1
                remarks += [f"stream {stream.index} is a further video; it is left behind"] if pictures > 1 else []
        elif (kind == "audio" and audio) or (kind == "subtitle" and subtitles) or kind == "attachment":
            chosen.append(stream)
        elif kind not in ("audio", "subtitle") and not (kind == "data" and source.chapters()):
            # Where there are chapters, MP4 has a data stream with their names.
            remarks.append(f"stream {stream.index} is {kind}; it is left behind")
    return chosen, remarks


@dataclass(frozen=True, kw_only=True)
class Track:
    """What the container says of a film's picture."""

    index: int
    """Of the stream in the file."""
    size: tuple[int, int]
    """Width and height as stored."""
    seconds: float
    """How long the film is said to be; 0 where nothing is said."""


def video_track(path: Path) -> Track:
    """A file's first video stream that is not a cover picture. Raises RestoreError."""
    with opened(path) as source:
        for stream in source.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                seconds = (source.duration or 0) / av.time_base
                return Track(index=stream.index, size=(stream.width, stream.height), seconds=seconds)
    raise RestoreError(f"{path} has no video in it")


def opened(path: Path) -> "InputContainer":
    """A file opened for reading. Raises RestoreError."""
    try:
        return av.open(str(path), "r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise RestoreError(f"{path} is no video that can be read: {reason(error)}") from error


def check_container(source: Path, sample: Path, ending: str, *, audio: bool, subtitles: bool) -> list[str]:
    """Find out early whether a kind of file can hold what is to go into it.

    Args:
        source: the film.
        sample: a file with a frame from the encoder.
        ending: of the output.
        audio, subtitles: whether they are copied.

    Returns:
        Remarks on what is left behind.

    Raises:
        RestoreError: it cannot hold one of the streams.
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
            raise RestoreError(
                f"a {ending} file cannot hold {name} video; choose another --codec, or .mkv for the output"
            )
        chosen, remarks = companions(film, audio=audio, subtitles=subtitles)
        for stream in chosen:
            if stream.type in ("audio", "subtitle") and not fits(stream):
                name, leave = stream.codec_context.name, "audio" if stream.type == "audio" else "subtitles"
                raise RestoreError(
                    f"a {ending} file cannot hold stream {stream.index} ({name}); "
                    f"choose another ending, as .mkv, or leave it behind with --no-{leave}"
                )
            if stream.type in ("video", "attachment") and not fits(stream):
                remarks.append(f"stream {stream.index} ({stream.type}) does not fit into {ending}; it is left behind")
    return remarks


def add_copy(out: "OutputContainer", stream: Stream) -> Stream:
    """A stream of the same kind in the output."""
    if isinstance(stream, AttachmentStream):
        mimetype = stream.mimetype or "application/octet-stream"
        return out.add_attachment(stream.name or f"attachment-{stream.index}", mimetype, stream.data)
    return out.add_stream_from_template(stream, opaque=True)


def reason(error: BaseException) -> str:
    """An error's reason without the path that it repeats."""
    return str(getattr(error, "strerror", None) or error)
