"""The programs that are run, what they say when they fail, and the files they are given."""

import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


class MissingProgramError(FileNotFoundError):
    """A program is not installed; one line that says how to."""


class VideoFileError(OSError):
    """A path is no video file, in one line."""


def find_vspipe() -> str:
    """vspipe of this Python, else of the system.

    Raises:
        MissingProgramError: there is neither.
    """
    # Not resolved: a virtual environment's python is a link out of its folder.
    beside = Path(sys.executable).parent / "vspipe"
    if found := str(beside) if beside.is_file() else shutil.which("vspipe"):
        return found
    raise MissingProgramError("vspipe is missing; install it with: pip install vapoursynth")


def find_ffmpeg() -> str:
    """ffmpeg of the system, else the one in imageio-ffmpeg's wheel.

    Raises:
        MissingProgramError: there is neither.
    """
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingProgramError("ffmpeg is missing; install it, or: pip install imageio-ffmpeg") from error


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of vspipe and ffmpeg."""

    vspipe: str
    ffmpeg: str

    @staticmethod
    def find() -> "Programs":
        """Both of them.

        Raises:
            MissingProgramError: one of them is missing.
        """
        return Programs(vspipe=find_vspipe(), ffmpeg=find_ffmpeg())

    def configure(self) -> None:
        """Tell VapourSynth which Python runs its scripts, where nobody has: once per environment."""
        command = [self.vspipe, "-c", "y4m", "--info", "-"]
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if b"vapoursynth config" in asked.stderr:
            subprocess.run([sys.executable, "-m", "vapoursynth", "config"], capture_output=True)


def check_file(path: Path) -> None:
    """Say what is wrong with a path before a reader is asked to open it.

    Raises:
        VideoFileError: a folder, nothing, an empty file, or one that may not be read.
    """
    if path.is_dir():
        raise VideoFileError(f"{path} is a folder; give a video file")
    if not path.exists():
        raise VideoFileError(f"no such file: {path}")
    if not path.is_file():
        raise VideoFileError(f"{path} is not a file; give a video file")
    if not os.access(path, os.R_OK):
        raise VideoFileError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise VideoFileError(f"{path} is empty")


def deinterlace_first(path: Path) -> str:
    """What to say of an interlaced video: the networks restore whole frames."""
    file = shlex.quote(str(path))
    return (
        f"{path} is interlaced; deinterlace it first, as with: "
        f"ffmpeg -i {file} -vf bwdif -c:v ffv1 -c:a copy progressive.mkv"
    )


def last_line(output: bytes, status: int = 0) -> str:
    """The last line of a program's complaints that says anything, or how it ended where none does."""
    lines = re.split(r"[\r\n]+", output.decode(errors="replace"))
    noise = r"(Frame|Output \d+|Script eval|Information: |x26[45] \[|\[q\] command)"
    told = [line.strip() for line in lines if line.strip() and not re.match(noise, line)]
    if told:
        # What ffmpeg says after this follows from it.
        full = [line for line in told if os.strerror(errno.ENOSPC) in line]
        # Which part of ffmpeg says so, and where in memory it is, helps nobody.
        return re.sub(r"^(\[[^\]]* @ 0x[0-9a-f]+\] )+", "", (full or told)[-1]).removeprefix("vapoursynth.Error: ")
    if status < 0:
        return f"ended by a signal: {signal.strsignal(-status) or -status}"
    return "failed without a word"
