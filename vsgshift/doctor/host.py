"""VapourSynth: the library, its plugins, and vspipe, which runs a Python of its own choice."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from vsgshift.doctor.asking import NoAnswerError, ask, run
from vsgshift.doctor.findings import Finding, ok, problem, warning
from vsgshift.doctor.libraries import PACKAGE, PIP

CONFIGURE = f"{sys.executable} -m vapoursynth config"

_VAPOURSYNTH = """
import vapoursynth as vs
answer(version=vs.core.core_version.release_major, threads=vs.core.num_threads, folder=os.path.dirname(vs.__file__))
"""
_PLUGIN = """
import vapoursynth as vs
from pathlib import Path
file = next(Path(vs.__file__).parent.glob("plugins/**/libgshift.*"), None)
if not hasattr(vs.core, "gshift") and file is not None:
    vs.core.std.LoadPlugin(str(file))
loaded = hasattr(vs.core, "gshift")
version = vs.core.gshift.Version() if loaded else {}
known = {key: value.decode() if isinstance(value, bytes) else value for key, value in version.items()}
answer(file=str(file) if file else None, loaded=loaded, version=known)
"""
_BESTSOURCE = """
import vapoursynth as vs
there = hasattr(vs.core, "bs")
answer(there=there, version=".".join(map(str, vs.core.bs.version)) if there else "")
"""


def vapoursynth() -> tuple[Finding, Path | None]:
    """The library; also the folder it is in, None where it does not work."""
    try:
        known = ask(_VAPOURSYNTH)
    except NoAnswerError as error:
        advice = f"install it into this Python: {PIP} --force-reinstall vapoursynth"
        return problem("VapourSynth", f"does not work: {error}", advice), None
    text = f"R{known['version']}, {known['threads']} threads, {known['folder']}"
    return ok("VapourSynth", text), Path(known["folder"])


def plugin() -> Finding:
    """Whether VapourSynth finds libgshift by itself, and it finds this package."""
    reinstall = f"install vsgshift into this Python anew: {PIP} --force-reinstall --no-deps vsgshift (in a clone: .)"
    try:
        known = ask(_PLUGIN)
    except NoAnswerError as error:
        return problem("plugin", f"core.gshift does not work: {error}", reinstall)
    if known["file"] is None and not known["loaded"]:
        return problem("plugin", "libgshift is not among VapourSynth's plugins", reinstall)
    there = Path(known["version"].get("path", ""))
    if there != PACKAGE:
        advice = "uninstall the one that is not wanted, or start Python elsewhere"
        return warning("plugin", f"core.gshift runs another vsgshift, {there}, not {PACKAGE}", advice)
    return ok("plugin", f"core.gshift {known['version']['version']}, {known['file']}")


def bestsource() -> Finding:
    """The plugin that reads video files."""
    advice = f"{PIP} vapoursynth-bestsource"
    try:
        known = ask(_BESTSOURCE)
    except NoAnswerError as error:
        return warning("BestSource", f"cannot be looked for: {error}", advice)
    if not known["there"]:
        return warning("BestSource", "missing: video files cannot be opened with core.bs.VideoSource", advice)
    return ok("BestSource", known["version"])


def find_vspipe(folder: Path | None) -> Path | None:
    """vspipe beside this Python, else in VapourSynth's folder, else on the path."""
    # Not resolved: a virtual environment's python is a link out of its folder.
    places = [Path(sys.executable).parent] + ([folder] if folder else [])
    for place in places:
        if (found := shutil.which("vspipe", path=str(place))) is not None:
            return Path(found)
    found = shutil.which("vspipe")
    return Path(found) if found else None


_SCRIPT = """
import json, os, sys
import vapoursynth as vs
known = dict(python=sys.executable, prefix=sys.prefix, plugin=hasattr(vs.core, "gshift"))
with open(os.environ["VSGSHIFT_DOCTOR"], "w") as file:
    json.dump(known, file)
vs.core.std.BlankClip(length=1).set_output()
"""


def vspipe(folder: Path | None) -> Finding:
    """Whether vspipe is there, runs scripts, and runs them with this Python.

    Asked by running a script: the configuration file may name a Python that is gone, or be for
    another VapourSynth.
    """
    found = find_vspipe(folder)
    if found is None:
        return problem("vspipe", "not found", f"it comes with VapourSynth: {PIP} --force-reinstall vapoursynth")
    try:
        known = _asked_through(found)
    except NoAnswerError as error:
        advice = f"{CONFIGURE}, or vsgshift doctor --fix; again after Python was updated"
        return problem("vspipe", f"{found} runs no script: {error}", advice)
    if Path(known["prefix"]) != Path(sys.prefix):
        advice = f"run the vspipe of this environment, or tell it: {CONFIGURE}, or vsgshift doctor --fix"
        return problem("vspipe", f"{found} runs another Python, {known['python']}", advice)
    if not known["plugin"]:
        return problem("vspipe", f"{found} finds no core.gshift", "see what is said of the plugin")
    return ok("vspipe", f"{found}, configured for this Python")


def _asked_through(vspipe: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        script, told = Path(place, "doctor.vpy"), Path(place, "told.json")
        script.write_text(_SCRIPT, encoding="utf-8")
        run([vspipe, "--info", script], environment={**os.environ, "VSGSHIFT_DOCTOR": str(told)})
        try:
            known = json.loads(told.read_text())
        except (OSError, ValueError):
            raise NoAnswerError("it ended without a word") from None
    if not isinstance(known, dict):
        raise NoAnswerError("it ended without a word")
    return known


def configure() -> str:
    """Tell VapourSynth which Python to run; returns what it says.

    Raises:
        NoAnswerError: it could not.
    """
    said = run([sys.executable, "-m", "vapoursynth", "config"]).strip()
    # VapourSynth's command has exit status 0 also where it failed.
    if "Failed" in said:
        raise NoAnswerError(said.splitlines()[-1])
    return said
