"""Frames of a script, as vspipe gives them, and an encoder that takes them; both as Y4M.

One vspipe runs for all frames that are wanted, since loading the network takes seconds. Each part of
the film has an ffmpeg of its own, so that it is a whole file, whose bytes do not depend on others.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vsgshift.errors import ProgramError, VideoError
from vsgshift.processes import Process, feed

SAMPLES = {"410": 1 / 8, "411": 1 / 2, "420": 1 / 2, "422": 1.0, "440": 1.0, "444": 2.0, "mono": 0.0}
"""Chroma samples for each one of brightness, by Y4M's name."""
MARK = b"FRAME\n"
"""What stands before each frame."""
MEASURED_FRAMES, MEASURED_SECONDS, MEASURED_BYTES = 24, 8.0, 256 * 2**20
"""What `ScriptFrames.pace` reads at most."""


def y4m_header(format: str, size: tuple[int, int]) -> bytes:
    """The first line of a Y4M stream of an integer format, by VapourSynth's name, and a width and height."""
    match = re.fullmatch(r"(?i:YUV(?P<kind>\d{3})P|GRAY)(?P<bits>\d+)", format)
    assert match
    kind, bits = match["kind"], int(match["bits"])
    depth = str(bits) if bits > 8 else ""
    colours = f"{kind}{'p' if depth else ''}{depth}" if kind else f"mono{depth}"
    return f"YUV4MPEG2 C{colours} W{size[0]} H{size[1]} F25:1 Ip A0:0\n".encode()


def frame_bytes(header: bytes) -> int:
    """Bytes of a frame's planes, from the first line of a Y4M stream. Raises VideoError if it is none."""
    match = re.fullmatch(
        rb"YUV4MPEG2 (?=.*\bC(?P<kind>\d{3}|mono)p?(?P<bits>\d*)\b)(?=.*\bW(?P<w>\d+))(?=.*\bH(?P<h>\d+)).*\n", header
    )
    if not match or match["kind"].decode() not in SAMPLES:
        raise VideoError(f"vspipe sent something else than Y4M: {header[:60]!r}")
    width, height, kind = int(match["w"]), int(match["h"]), match["kind"].decode()
    # Every plane has whole samples: VapourSynth takes no size that is not a multiple of its subsampling.
    samples = width * height + round(width * height * SAMPLES[kind])
    return samples * (2 if int(match["bits"] or 8) > 8 else 1)


class ScriptFrames:
    """The frames of a script's output from ``first`` on, in order; a context manager that ends vspipe."""

    def __init__(self, vspipe: str, script: Path, *, first: int = 0) -> None:
        """Start vspipe. Raises ProgramError."""
        self.first = first
        start = ["-s", str(first)] if first else []
        self._process = Process([vspipe, "-c", "y4m", *start, str(script), "-"], stdout=True)
        self._header = b""
        self._waiting: deque[memoryview] = deque()

    def __enter__(self) -> "ScriptFrames":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)

    @property
    def header(self) -> bytes:
        """The first line of the Y4M stream; waits for it. Raises VideoError."""
        if not self._header:
            self._header = self._process.stdout.readline()
            if not self._header:
                raise self._failure()
        return self._header

    def read(self, count: int) -> Iterator[memoryview]:
        """The next frames, each with its mark; a frame's memory is used again for the next. Raises VideoError if vspipe
        fails, or the script has fewer."""
        for _ in range(min(count, len(self._waiting))):
            count -= 1
            yield self._waiting.popleft()
        frame = memoryview(bytearray(len(MARK) + frame_bytes(self.header)))
        for _ in range(count):
            # A buffered reader gives what is asked for, unless the stream has ended.
            if self._process.stdout.readinto(frame) < len(frame):  # type: ignore[attr-defined]
                raise self._failure()
            yield frame

    def pace(self, count: int) -> float:
        """Frames per second, as the next ones come, of which there are ``count``; they are kept for `read`. Raises
        VideoError."""
        size = len(MARK) + frame_bytes(self.header)
        arrived: list[float] = []
        kept: list[memoryview] = []
        for frame in self.read(min(count, MEASURED_FRAMES, max(MEASURED_BYTES // size, 2))):
            kept.append(memoryview(bytes(frame)))
            arrived.append(time.monotonic())
            if arrived[-1] - arrived[0] > MEASURED_SECONDS:
                break
        self._waiting.extend(kept)
        return _rate(arrived)

    def finish(self) -> None:
        """Wait for vspipe's end, after all frames that the script has. Raises VideoError if it failed, or has more."""
        if self._process.stdout.read(1):
            raise VideoError("vspipe: gave more frames than the script has")
        if self._process.status():
            raise self._failure()

    def _failure(self) -> VideoError:
        status = self._process.status()
        message = self._process.complaint(status) if status else "gave fewer frames than the script has"
        return VideoError(f"vspipe: {message}")


def _rate(arrived: Sequence[float]) -> float:
    """Frames per second from the times at which frames came, which they do in blocks; infinite for fewer than two."""
    span = arrived[-1] - arrived[0] if arrived else 0.0
    # The last block counts for the time after it.
    before = sum(moment < arrived[-1] - 0.02 * span for moment in arrived)
    return before / span if before else float("inf")


def encode(frames: ScriptFrames, count: int, command: Sequence[str], passed: Callable[[], None]) -> None:
    """Run an encoder, which reads Y4M from its stdin, on the next ``count`` frames; ``passed`` is called after each.

    Raises VideoError if one of the two programs fails, or there are fewer frames.
    """
    header = frames.header

    def chunks() -> Iterator[bytes | memoryview]:
        yield header
        for frame in frames.read(count):
            yield frame
            passed()

    try:
        feed(command, chunks())
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error
