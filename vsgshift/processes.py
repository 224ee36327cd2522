"""Other programs: running them to their end or with pipes, and what they say when they fail."""

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from vsgshift.errors import ProgramError, TooSlowError

ISOLATED = {"PYTHONSAFEPATH": "1"}
"""Added to the environment: a Python takes no modules from the current folder, where anyone's json.py may lie."""
NOISE = re.compile(r"(Frame|Output \d+|Script eval|Information: |x26[45] \[|\[q\] command)")
"""How lines of vspipe and ffmpeg begin that never say why they failed."""
NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""For Windows, which knows no sessions."""
FOLLOWS = re.compile(
    r"(Error (while|initializing|opening|splitting|sending|submitting|encoding|muxing|processing|parsing|binding)"
    r"|Could not open encoder|Conversion failed|Task finished|Terminating|Nothing was written|Failed to set value"
    r"|maybe incorrect|Possible (presets|tunes|profiles))"
)
"""How lines of ffmpeg begin that follow from what it said first."""
WHO = re.compile(r"^(\[[^\]]*\] )+")
"""Which part of ffmpeg says so, and its address in memory, help no one."""


class Process:
    """A running program; a context manager that ends it, and all that it has started.

    It has a session of its own, a process group on Windows: a Ctrl-C at the terminal reaches only us, who end the
    others in order. Pipes to its stdin and from its stdout are opened if asked for; otherwise it reads nothing, and
    what it says counts as complaints. Raises ProgramError if it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        stdin: bool = False,
        stdout: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout else self._complaints,
                stderr=self._complaints,
                start_new_session=True,
                creationflags=NEW_GROUP,
                # Without a home, as in some services, VapourSynth does not find its settings.
                env={"HOME": str(Path("~").expanduser()), **(environment or os.environ), **ISOLATED},
            )
        except OSError as error:
            self._complaints.close()
            raise ProgramError(f"{command[0]}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            # And those that it has started: a program may be one that starts another.
            if sys.platform == "win32":
                words = ["taskkill", "/F", "/T", "/PID", str(self._process.pid)]
                subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            else:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with _pipe_may_break():
                    stream.close()
        self._complaints.close()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to the program."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from the program."""
        assert self._process.stdout is not None
        return self._process.stdout

    def communicate(self, data: bytes | None = None, timeout: float | None = None) -> bytes:
        """Write to the program, if that is wanted, and return all that it writes until its end. Raises ProgramError."""
        try:
            output, _ = self._process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            raise TooSlowError(f"no answer within {timeout:.0f} seconds") from None
        self.wait()
        return output

    def wait(self) -> None:
        """Wait for the program's end. Raises ProgramError if it failed."""
        if status := self.status():
            raise ProgramError(self.complaint(status))

    def status(self, timeout: float | None = None) -> int:
        """Wait for the program's end and return its exit status; that of a signal is negative. Raises TooSlowError."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TooSlowError(f"no answer within {timeout:.0f} seconds") from None

    def complaints(self) -> bytes:
        """All that the program has said so far that is not in its pipe."""
        self._complaints.seek(0)
        return self._complaints.read()

    def complaint(self, status: int) -> str:
        """Why the program, which has ended, failed; one line."""
        return reason_of(self.complaints(), status)


def run(
    command: Sequence[str | Path],
    *,
    data: bytes | None = None,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program to its end, with ``data`` on its stdin, within ``timeout`` seconds, and return its stdout.

    Raises ProgramError if it cannot be started or fails, TooSlowError if it does not end in time.
    """
    with Process(command, stdin=data is not None, stdout=True, environment=environment) as process:
        return process.communicate(data, timeout)


def feed(command: Sequence[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Run a program that reads chunks of bytes from stdin; an error of theirs ends it. Raises ProgramError."""
    with Process(command, stdin=True) as process:
        # If the program does not take the chunks, its own words explain why.
        with _pipe_may_break():
            for chunk in chunks:
                process.stdin.write(chunk)
            # Not after an error: a program that does not read would never take the rest.
            process.stdin.close()
        process.wait()


@contextmanager
def _pipe_may_break() -> Iterator[None]:
    """Let it pass that no one reads a pipe any more, which Windows calls an invalid argument."""
    try:
        yield
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)):
            raise


def reason_of(complaints: bytes, status: int) -> str:
    """The line of a program's complaints that says why, and the signal that ended it, if one did."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", complaints.decode(errors="replace"))]
    lines = [line for line in lines if line and not NOISE.match(line)]
    # What ffmpeg says after this follows from it.
    lines = [line for line in lines if os.strerror(errno.ENOSPC) in line] or lines
    lines = [WHO.sub("", line) for line in lines]
    reasons = [line for line in lines if not FOLLOWS.match(line)]
    # ffmpeg says the reason first, and then what failed by it; a traceback ends with it.
    line = reasons[0] if reasons and len(reasons) < len(lines) else lines[-1] if lines else ""
    line = line.removeprefix("vapoursynth.Error: ")
    if status < 0:
        return f"ended by a signal: {signal.strsignal(-status) or -status}{f' ({line})' if line else ''}"
    return line or "failed without a word"
