"""The programs that are run, and what they say when they fail."""

import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vsgshift.restoring.errors import RestoreError


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of vspipe and ffmpeg."""

    vspipe: str
    ffmpeg: str

    @staticmethod
    def find() -> "Programs":
        """vspipe of this Python, else of the system; ffmpeg of the system, else the one in imageio-ffmpeg's wheel.

        Raises:
            RestoreError: one of them is missing.
        """
        # Not resolved: a virtual environment's python is a link out of its folder.
        beside = Path(sys.executable).parent / "vspipe"
        vspipe = str(beside) if beside.is_file() else shutil.which("vspipe")
        if vspipe is None:
            raise RestoreError("vspipe is missing; install it with: pip install vapoursynth")
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is None:
            try:
                import imageio_ffmpeg

                ffmpeg = str(imageio_ffmpeg.get_ffmpeg_exe())
            except (ImportError, RuntimeError) as error:
                raise RestoreError("ffmpeg is missing; install it, or: pip install imageio-ffmpeg") from error
        return Programs(vspipe=vspipe, ffmpeg=ffmpeg)

    def configure(self) -> None:
        """Tell VapourSynth which Python runs its scripts, where nobody has: once per environment."""
        command = [self.vspipe, "-c", "y4m", "--info", "-"]
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if b"vapoursynth config" in asked.stderr:
            subprocess.run([sys.executable, "-m", "vapoursynth", "config"], capture_output=True)


def last_line(output: bytes, status: int = 0) -> str:
    """The last line of a program's complaints that says anything, or how it ended where none does."""
    lines = re.split(r"[\r\n]+", output.decode(errors="replace"))
    noise = r"(Frame|Output \d+|Script eval|Information: |x26[45] \[|\[q\] command)"
    told = [line.strip() for line in lines if line.strip() and not re.match(noise, line)]
    if told:
        return told[-1].removeprefix("vapoursynth.Error: ")
    if status < 0:
        return f"ended by a signal: {signal.strsignal(-status) or -status}"
    return "failed without a word"
