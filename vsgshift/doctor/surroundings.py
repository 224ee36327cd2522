"""What is around the libraries: memory, ffmpeg, models, an editor's stubs."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from vsgshift.doctor.asking import NoAnswerError, ask, run
from vsgshift.doctor.findings import Finding, ok, problem, warning
from vsgshift.doctor.libraries import PIP

LITTLE_MEMORY = 1.5
"""GiB; the tiny models at 320x180 take 0.8 GB, at 640x360 1.2 GB."""


def memory() -> Finding:
    """The machine's memory, and what of it is free."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = {key: int(value.split()[0]) / 2**20 for key, _, value in (line.partition(":") for line in lines)}
        total, free = known["MemTotal"], known["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        return ok("memory", "not told by this system")
    text = f"{total:.1f} GiB, {free:.1f} GiB free"
    if free < LITTLE_MEMORY:
        return warning("memory", text, "close other programs; block=1 and small frames need the least")
    return ok("memory", text)


_PACKED_FFMPEG = "import imageio_ffmpeg\nanswer(path=imageio_ffmpeg.get_ffmpeg_exe())"


def ffmpeg() -> Finding:
    """ffmpeg of the system, else the one in imageio-ffmpeg's wheel."""
    advice = f"install ffmpeg by the system's package manager, or: {PIP} imageio-ffmpeg"
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            found = str(ask(_PACKED_FFMPEG)["path"])
        except NoAnswerError:
            return warning("ffmpeg", "not found: files cannot be encoded", advice)
    try:
        first = run([found, "-hide_banner", "-version"]).partition("\n")[0]
    except NoAnswerError as error:
        return warning("ffmpeg", f"{found} does not run: {error}", advice)
    words = first.split()
    return ok("ffmpeg", f"{words[2] if len(words) > 2 else 'of unknown version'}, {found}")


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
    except NoAnswerError as error:
        return [
            problem("models", f"cannot be looked at: {error}", "see what is said of torch, safetensors and vsgshift")
        ]
    findings = []
    missing = [name for name in known["bundled"] if name not in known["installed"]]
    if missing:
        why = known["broken"].get(missing[0], "not there")
        advice = f"install vsgshift anew: {PIP} --force-reinstall --no-deps vsgshift"
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
    """Whether the stubs that vsstubs wrote know the plugin; None where there are none."""
    folder = Path(sysconfig.get_path("purelib"), "vapoursynth-stubs")
    try:
        text = (folder / "__init__.pyi").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    if "class _gshift" not in text:
        advice = f"{sys.executable} -m vsstubs add gshift"
        return warning("editor stubs", f"{folder} do not know core.gshift", advice)
    return ok("editor stubs", f"{folder} know core.gshift")
