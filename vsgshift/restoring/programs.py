"""The programs that are run."""

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
