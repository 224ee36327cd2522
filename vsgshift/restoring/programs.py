"""The programs that are run, and what they say when they fail."""

import re
import signal
import subprocess
import sys
from dataclasses import dataclass

from vsgshift.programs import find_ffmpeg, find_vspipe


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


def last_line(output: bytes, status: int = 0) -> str:
    """The last line of a program's complaints that says anything, or how it ended where none does."""
    lines = re.split(r"[\r\n]+", output.decode(errors="replace"))
    noise = r"(Frame|Output \d+|Script eval|Information: |x26[45] \[|\[q\] command)"
    told = [line.strip() for line in lines if line.strip() and not re.match(noise, line)]
    if told:
        # Which part of ffmpeg says so, and where in memory it is, helps nobody.
        return re.sub(r"^(\[[^\]]* @ 0x[0-9a-f]+\] )+", "", told[-1]).removeprefix("vapoursynth.Error: ")
    if status < 0:
        return f"ended by a signal: {signal.strsignal(-status) or -status}"
    return "failed without a word"
