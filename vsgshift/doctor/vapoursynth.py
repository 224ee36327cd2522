"""VapourSynth: the library, its plugins, and vspipe, which runs a Python of its own choice."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vsgshift.doctor.finding import Finding, ok, problem, warning
from vsgshift.doctor.libraries import PACKAGE, PIP, again
from vsgshift.doctor.questions import TIMEOUT, ask, parse
from vsgshift.errors import MissingProgramError, ProgramError
from vsgshift.processes import run
from vsgshift.video.programs import find_vspipe

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


def library() -> Finding:
    """Whether VapourSynth can be imported and has a core."""
    try:
        known = ask(_VAPOURSYNTH)
    except ProgramError as error:
        advice = f"install it into this Python: {PIP} --force-reinstall vapoursynth"
        return problem("VapourSynth", f"does not work: {error}", advice)
    return ok("VapourSynth", f"R{known['version']}, {known['threads']} threads, {known['folder']}")


def plugin() -> Finding:
    """Whether VapourSynth finds libgshift by itself, and it finds this package."""
    reinstall = f"reinstall vsgshift into this Python: {again()}"
    try:
        known = ask(_PLUGIN)
    except ProgramError as error:
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
    except ProgramError as error:
        return warning("BestSource", f"cannot be looked for: {error}", advice)
    if not known["there"]:
        return warning("BestSource", "missing: video files cannot be opened with core.bs.VideoSource", advice)
    return ok("BestSource", known["version"])


_SCRIPT = """
import json, os, sys
import vapoursynth as vs
known = dict(python=sys.executable, prefix=sys.prefix, plugin=hasattr(vs.core, "gshift"))
with open(os.environ["VSGSHIFT_DOCTOR"], "w") as file:
    json.dump(known, file)
vs.core.std.BlankClip(length=1).set_output()
"""


def vspipe() -> Finding:
    """Whether vspipe is there, runs scripts, and runs them with this Python.

    Found out by running a script: the configuration file may name a Python that is gone, or be for another VapourSynth.
    """
    try:
        path = find_vspipe()
    except MissingProgramError:
        return problem("vspipe", "not found", f"it comes with VapourSynth: {PIP} --force-reinstall vapoursynth")
    try:
        answer = _ask_vspipe(path)
    except ProgramError as error:
        advice = f"{CONFIGURE}, or vsgshift doctor --fix; again after Python was updated"
        return problem("vspipe", f"{path} runs no script: {error}", advice)
    if Path(answer["prefix"]) != Path(sys.prefix):
        advice = f"run the vspipe of this environment, or configure it: {CONFIGURE}, or vsgshift doctor --fix"
        return problem("vspipe", f"{path} runs another Python, {answer['python']}", advice)
    if not answer["plugin"]:
        return problem("vspipe", f"{path} finds no core.gshift", "see what is said of the plugin")
    return ok("vspipe", f"{path}, configured for this Python")


def _ask_vspipe(path: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        script, answer = Path(folder, "doctor.vpy"), Path(folder, "answer.json")
        script.write_text(_SCRIPT, encoding="utf-8")
        run([path, "--info", script], environment={**os.environ, "VSGSHIFT_DOCTOR": str(answer)}, timeout=TIMEOUT)
        return parse(answer.read_text() if answer.exists() else "")
