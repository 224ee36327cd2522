"""vspipe and ffmpeg: finding them, and telling VapourSynth which Python to run."""

import shutil
import sys
from dataclasses import dataclass
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
    """vspipe of this Python, else of its VapourSynth, else of the system. Raises MissingProgramError."""
    # Not resolved: a virtual environment's python is a link out of its folder.
    folders = [Path(sys.executable).parent]
    if (package := find_spec("vapoursynth")) and package.origin:
        folders.append(Path(package.origin).parent)
    for folder in (*folders, None):
        if vspipe := shutil.which("vspipe", path=folder):
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


def is_configured(vspipe: str) -> bool:
    """Whether VapourSynth knows which Python runs its scripts."""
    try:
        run([vspipe, "-c", "y4m", "--info", "-"])
    except ProgramError as error:
        return "vapoursynth config" not in str(error)
    return True


def configure() -> str:
    """Tell VapourSynth to run scripts with this Python, once per environment; returns what it says. Raises
    ProgramError."""
    message = run([sys.executable, "-m", "vapoursynth", "config"]).decode(errors="replace").strip()
    # VapourSynth's command has exit status 0 even if it failed.
    if "Failed" in message:
        raise ProgramError(message.splitlines()[-1])
    return message
