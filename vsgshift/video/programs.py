"""vspipe and ffmpeg: finding them, and telling VapourSynth which Python to run."""

import shutil
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from vsgshift.errors import MissingProgramError, ProgramError
from vsgshift.processes import run


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of vspipe and ffmpeg."""

    vspipe: str
    ffmpeg: str

    @staticmethod
    def find() -> "Programs":
        """Both of them. Raises MissingProgramError."""
        return Programs(vspipe=find_vspipe(), ffmpeg=find_ffmpeg())


def find_vspipe() -> str:
    """vspipe of this Python's VapourSynth, else beside Python, else of the system. Raises MissingProgramError."""
    package = find_spec("vapoursynth")
    # A wheel's vspipe beside Python is a Python program that starts the one in the package. The path is not resolved:
    # a virtual environment's python is a link out of its folder.
    for folder in ((package and package.origin) or "", sys.executable, None):
        if vspipe := shutil.which("vspipe", path=folder and Path(folder).parent):
            return vspipe
    raise MissingProgramError("vspipe is missing; it comes with VapourSynth: pip install --force-reinstall vapoursynth")


def find_ffmpeg() -> str:
    """ffmpeg of the system, else the one in imageio-ffmpeg's wheel. Raises MissingProgramError."""
    if ffmpeg := shutil.which("ffmpeg"):
        return ffmpeg
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingProgramError("ffmpeg is missing; install it, or: pip install imageio-ffmpeg") from error


@cache
def make_configured(vspipe: str) -> None:
    """Configure VapourSynth if it does not know which Python runs its scripts. Raises ProgramError."""
    try:
        run([vspipe, "-c", "y4m", "--info", "-"])
    except ProgramError as error:
        if "vapoursynth config" in str(error):
            configure()


def configure() -> str:
    """Tell VapourSynth to run scripts with this Python, once per environment; returns what it says. Raises
    ProgramError."""
    message = run([sys.executable, "-m", "vapoursynth", "config"]).decode(errors="replace").strip()
    # VapourSynth's command has exit status 0 even if it failed.
    if "Failed" in message:
        raise ProgramError(message.splitlines()[-1])
    return message
