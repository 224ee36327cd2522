"""Little films in all sorts of files, and what a finished file holds."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vsgshift.errors import MissingProgramError
from vsgshift.video.programs import find_ffmpeg, find_vspipe

av = pytest.importorskip("av")
vs = pytest.importorskip("vapoursynth")


def found(find: Callable[[], str]) -> str | None:
    """What finds a program, or None if it is missing."""
    try:
        return find()
    except MissingProgramError:
        return None


FFMPEG, VSPIPE = found(find_ffmpeg), found(find_vspipe)
NEEDS_PROGRAMS = [
    pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed"),
    pytest.mark.skipif(VSPIPE is None, reason="vspipe is not installed"),
    pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="BestSource is not installed"),
]


def film(
    file: Path, *options: str, frames: int = 10, size: str = "64x48", rate: str = "25", inputs: Sequence[str] = ()
) -> Path:
    """A moving test card of few frames, written by ffmpeg with further inputs and options."""
    card = ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}"]
    command = [str(FFMPEG), "-y", "-loglevel", "error", *card, *inputs, "-frames:v", str(frames), *options, str(file)]
    subprocess.run(command, check=True)
    return file


@dataclass
class Stream:
    """A stream of a file with its packets in the order of time."""

    kind: str
    codec: str
    metadata: dict[str, str]
    times: list[Fraction]
    """In seconds."""
    packets: list[bytes]
    aspect: Any = None
    """The sample aspect ratio of a picture."""


def streams(file: Path) -> list[Stream]:
    """What a file holds."""
    with av.open(str(file)) as container:
        contents = []
        for stream in container.streams:
            if stream.type == "attachment":
                contents.append(Stream("attachment", "", dict(stream.metadata), [], [stream.data]))
                continue
            # Opened again: a search for 0 passes over what lies before it, as the first packet of many codecs does.
            with av.open(str(file)) as again:
                copy = again.streams[stream.index]
                packets = sorted((p for p in again.demux(copy) if p.size), key=lambda packet: packet.pts or 0)
            base = Fraction(stream.time_base.numerator, stream.time_base.denominator)
            times = [(packet.pts or 0) * base for packet in packets]
            # Chapters of MP4 are a stream without a codec.
            codec = stream.codec_context.name if stream.codec_context else ""
            aspect = stream.sample_aspect_ratio if stream.type == "video" else None
            data = [bytes(packet) for packet in packets]
            contents.append(Stream(stream.type, codec, dict(stream.metadata), times, data, aspect))
        return contents


def frame_props(file: Path) -> dict[str, Any]:
    """The properties of a file's first frame as BestSource tells them, the picture as it is stored."""
    return dict(vs.core.bs.VideoSource(str(file), cachemode=0, apply_rotation=0).get_frame(0).props)


def decoded(file: Path, format: str) -> bytes:
    """All frames of a film, as ffmpeg decodes them, in one of its pixel formats."""
    command = [str(FFMPEG), "-loglevel", "error", "-i", str(file), "-an", "-fps_mode", "passthrough"]
    command += ["-pix_fmt", format, "-f", "rawvideo", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout
