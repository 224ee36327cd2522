"""vspipe's frames, handed to one ffmpeg after another.

One vspipe runs for all frames that are wanted, since loading the network takes seconds. Each part of
the film has an ffmpeg of its own, so that it is a whole file, whose bytes do not depend on others.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Self

from vsgshift.video.programs import Programs, last_line
from vsgshift.video.restore.errors import RestoreError

SAMPLES = {"410": 1 / 8, "411": 1 / 2, "420": 1 / 2, "422": 1.0, "440": 1.0, "444": 2.0, "mono": 0.0}
"""Chroma samples for each one of brightness, by Y4M's name."""


def y4m_header(format: str, size: tuple[int, int]) -> bytes:
    """The first line of a Y4M stream.

    Args:
        format: VapourSynth's name of an integer format, as YUV422P10 or Gray8.
        size: width and height.
    """
    found = re.fullmatch(r"(?i:YUV(?P<kind>\d{3})P|GRAY)(?P<bits>\d+)", format)
    assert found
    kind, bits = found["kind"], int(found["bits"])
    depth = str(bits) if bits > 8 else ""
    colours = f"{kind}{'p' if depth else ''}{depth}" if kind else f"mono{depth}"
    return f"YUV4MPEG2 C{colours} W{size[0]} H{size[1]} F25:1 Ip A0:0\n".encode()


def frame_bytes(header: bytes) -> int:
    """Bytes of a frame's planes, from the first line of a Y4M stream. Raises RestoreError where it is none."""
    found = re.fullmatch(
        rb"YUV4MPEG2 (?=.*\bC(?P<kind>\d{3}|mono)p?(?P<bits>\d*)\b)(?=.*\bW(?P<w>\d+))(?=.*\bH(?P<h>\d+)).*\n", header
    )
    if not found or found["kind"].decode() not in SAMPLES:
        raise RestoreError(f"vspipe sent something else than Y4M: {header[:60]!r}")
    width, height, kind = int(found["w"]), int(found["h"]), found["kind"].decode()
    # Every plane has whole samples: VapourSynth takes no size that is not a multiple of its subsampling.
    samples = width * height + round(width * height * SAMPLES[kind])
    return samples * (2 if int(found["bits"] or 8) > 8 else 1)


class Frames:
    """The frames of a script's output from ``first`` on, as vspipe gives them; a context manager that ends vspipe.

    Children have a session of their own: a Ctrl-C at the terminal is for us, who end them in order.
    """

    def __init__(self, programs: Programs, script: str, *, first: int = 0) -> None:
        self.command = [programs.vspipe, "-c", "y4m", *(["-s", str(first)] if first else []), script, "-"]
        self.complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            start_new_session=True,
        )
        self.header, self.size = b"", 0
        self.encoder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.encoder, self.process):
            if process is not None and process.poll() is None:
                # The whole session: the vspipe of a wheel is a Python that starts the real one.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.complaints.close()

    @property
    def processes(self) -> list[int]:
        """Ids of what is running."""
        running = [process for process in (self.process, self.encoder) if process is not None]
        return [process.pid for process in running if process.poll() is None]

    def encode(self, count: int | None, command: Sequence[str], passed: Callable[[], None] = lambda: None) -> int:
        """Run an encoder, which reads Y4M from its stdin, on the next frames.

        Args:
            count: how many; None for all there are.
            command: what to run.
            passed: called after each frame.

        Returns:
            The number of frames passed on.

        Raises:
            RestoreError: one of the two programs failed, or there were fewer frames.
        """
        stdout = self.process.stdout
        assert stdout is not None
        if not self.header:
            self.header = stdout.readline()
            if not self.header:
                self._failed()
            self.size = len(b"FRAME\n") + frame_bytes(self.header)
        frame = memoryview(bytearray(self.size))
        done = 0
        with tempfile.TemporaryFile() as complaints:
            self.encoder = encoder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=complaints, stderr=complaints, start_new_session=True
            )
            stdin = encoder.stdin
            assert stdin is not None
            # Where ffmpeg does not take the frames, its own words will explain.
            with suppress(BrokenPipeError), stdin:
                stdin.write(self.header)
                while done != count and self._read(frame):
                    stdin.write(frame)
                    done += 1
                    passed()
            refused = encoder.wait()
            complaints.seek(0)
            said = complaints.read()
        self.encoder = None
        if refused:
            raise RestoreError(f"ffmpeg: {last_line(said, refused)}")
        if done != count and (count is not None or self.process.wait()):
            self._failed()
        return done

    def finish(self) -> None:
        """Wait for vspipe, which has given all that the script has. Raises RestoreError where it failed."""
        assert self.process.stdout is not None
        if self.process.stdout.read(1):
            raise RestoreError("vspipe: gave more frames than the script has")
        if self.process.wait():
            self._failed()

    def _read(self, frame: memoryview) -> bool:
        """Fill the buffer; whether there was a whole frame."""
        assert self.process.stdout is not None
        filled = 0
        while filled < len(frame):
            # A buffered reader gives what is asked for, unless the stream has ended.
            count = self.process.stdout.readinto(frame[filled:])  # type: ignore[attr-defined]
            if not count:
                return False
            filled += count
        return True

    def _failed(self) -> None:
        status = self.process.wait()
        if status >= 256 - signal.NSIG:
            # The vspipe of a wheel is a Python that exits with the real one's status, of which a byte is left.
            status -= 256
        self.complaints.seek(0)
        said = self.complaints.read()
        if not status and not said.strip():
            raise RestoreError("vspipe: gave fewer frames than the script has")
        raise RestoreError(f"vspipe: {last_line(said, status)}")
