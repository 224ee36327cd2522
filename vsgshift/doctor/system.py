"""The rest of the system: memory, ffmpeg, models, an editor's stubs."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from vsgshift.doctor.finding import Finding, ok, problem, warning
from vsgshift.doctor.libraries import PIP, again
from vsgshift.doctor.questions import ask
from vsgshift.errors import ProgramError
from vsgshift.processes import run

ENCODERS = ("libx264", "libx265", "libvpx-vp9")
"""Of ffmpeg, which restore takes if nothing else is asked for."""
LITTLE_DISK = 2.0
"""GB; a film's parts lie next to it, a few GB for an hour."""
LITTLE_MEMORY = 1.5
"""GiB; the tiny models at 320x180 take 0.8 GB, at 640x360 1.2 GB."""


def memory() -> Finding:
    """The machine's memory, and how much of it is free."""
    try:
        if sys.platform == "win32":
            from vsgshift import windows

            total, free = (size / 2**30 for size in windows.memory())
        else:
            lines = Path("/proc/meminfo").read_text().splitlines()
            known = {key: int(value.split()[0]) / 2**20 for key, _, value in (line.partition(":") for line in lines)}
            total, free = known["MemTotal"], known["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        return ok("memory", "this system does not say")
    text = f"{total:.1f} GiB, {free:.1f} GiB free"
    if free < LITTLE_MEMORY:
        return warning("memory", text, "close other programs; block=1 and small frames need the least")
    return ok("memory", text)


def disk() -> Finding:
    """What is free here, and where temporary files go."""
    free = {Path(folder): shutil.disk_usage(folder).free / 1e9 for folder in (Path.cwd(), tempfile.gettempdir())}
    text = ", ".join(f"{size:.1f} GB free in {folder}" for folder, size in free.items())
    if min(free.values()) < LITTLE_DISK:
        return warning("disk", text, "make room, or write elsewhere; TMPDIR names a folder for temporary files")
    return ok("disk", text)


_FFMPEG = "from vsgshift.video.programs import find_ffmpeg\nanswer(path=find_ffmpeg())"


def ffmpeg() -> Finding:
    """The ffmpeg that restore uses, and its version."""
    advice = f"install ffmpeg by the system's package manager, or: {PIP} imageio-ffmpeg"
    try:
        path = str(ask(_FFMPEG)["path"])
    except ProgramError:
        return warning("ffmpeg", "not found: files cannot be encoded", advice)
    try:
        words = run([path, "-hide_banner", "-version"]).decode(errors="replace").split()
        known = run([path, "-hide_banner", "-encoders"]).decode(errors="replace").split()
    except ProgramError as error:
        return warning("ffmpeg", f"{path} does not run: {error}", advice)
    text = f"{words[2] if len(words) > 2 else 'of unknown version'}, {path}"
    if missing := [encoder for encoder in ENCODERS if encoder not in known]:
        return warning("ffmpeg", f"{text}: has no {', '.join(missing)}", f"{advice}; or restore with another --codec")
    return ok("ffmpeg", f"{text}; {', '.join(ENCODERS)}")


_MODELS = """
from vsgshift.weights import MODELS, load_network, models_folder
from vsgshift.weights.catalogue import imported_names
installed, broken = [], {}
for name in [model.name for model in MODELS.values() if model.installed] + imported_names():
    try:
        load_network(name)
        installed.append(name)
    except (ValueError, OSError, RuntimeError) as error:
        broken[name] = str(error).splitlines()[0]
bundled = [model.name for model in MODELS.values() if model.published_as is None]
answer(installed=installed, broken=broken, bundled=bundled, folder=str(models_folder()))
"""


def models() -> list[Finding]:
    """Whether every model that is here can be loaded, and new ones be installed."""
    try:
        known = ask(_MODELS)
    except ProgramError as error:
        return [problem("models", f"cannot be checked: {error}", "see what is said of torch, safetensors and vsgshift")]
    findings = []
    missing = [name for name in known["bundled"] if name not in known["installed"]]
    if missing:
        why = known["broken"].get(missing[0], "not there")
        advice = f"reinstall vsgshift: {again()}"
        findings.append(problem("models", f"bundled {', '.join(missing)}: {why}", advice))
    else:
        findings.append(ok("models", f"{', '.join(known['installed'])}; others go to {known['folder']}"))
    findings += [
        warning("models", f"{name}: {why}", f"vsgshift remove {name}, then download or import it again")
        for name, why in known["broken"].items()
        if name not in known["bundled"]
    ]
    if not _writable(Path(known["folder"])):
        advice = "set VSGSHIFT_MODELS to a folder that can be written to"
        findings.append(warning("models", f"{known['folder']} cannot be written to", advice))
    return findings


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that there is, can be written to."""
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError:
        return False
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def stubs() -> Finding | None:
    """Whether the stubs that vsstubs wrote know the plugin; None if there are none."""
    folder = Path(sysconfig.get_path("purelib"), "vapoursynth-stubs")
    try:
        text = (folder / "__init__.pyi").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    if "class _gshift" not in text:
        advice = f"{sys.executable} -m vsstubs add gshift"
        return warning("editor stubs", f"{folder} do not know core.gshift", advice)
    return ok("editor stubs", f"{folder} know core.gshift")
