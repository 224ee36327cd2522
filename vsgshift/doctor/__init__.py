"""Whether this installation works, and what to do if it does not.

Each check asks a Python of its own: a library that is broken, hangs or brings the process down is then a finding like
any other. Nothing of torch, VapourSynth or the package's compiled part is imported here.
"""

from collections.abc import Callable, Iterator

from vsgshift.doctor import libraries, system, vapoursynth
from vsgshift.doctor.finding import Finding, State, problem

__all__ = ["Finding", "State", "examine"]


_NUMPY = "import numpy\nnumpy.ones(2).sum()\nanswer(version=numpy.__version__)"
_AV = "import av\nanswer(version=av.__version__)"
_SAFETENSORS = "import safetensors\nanswer(version=safetensors.__version__)"


def examine() -> Iterator[Finding]:
    """Yield each finding as soon as it is known. Nothing is raised: what fails is a finding."""
    yield from _guarded("Python", lambda: [libraries.python()])
    yield from _guarded("vsgshift", lambda: [libraries.package()])
    yield from _guarded("NumPy", lambda: [libraries.library("numpy", "NumPy", _NUMPY)])
    yield from _guarded("safetensors", lambda: [libraries.library("safetensors", "safetensors", _SAFETENSORS)])
    yield from _guarded("torch", libraries.torch_and_devices)
    yield from _guarded("memory", lambda: [system.memory()])
    yield from _guarded("VapourSynth", _vapoursynth)
    yield from _guarded("PyAV", lambda: [libraries.library("av", "PyAV", _AV, "restore")])
    yield from _guarded("ffmpeg", lambda: [system.ffmpeg()])
    yield from _guarded("disk", lambda: [system.disk()])
    yield from _guarded("models", system.models)
    yield from _guarded("editor stubs", lambda: [missing for missing in [system.stubs()] if missing])


def _vapoursynth() -> list[Finding]:
    library = vapoursynth.library()
    if library.state != State.OK:
        return [library]
    return [library, vapoursynth.plugin(), vapoursynth.vspipe(), vapoursynth.bestsource()]


def _guarded(subject: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What a check finds; if the check itself fails, that."""
    try:
        return check()
    except Exception as error:
        advice = "this is a fault of vsgshift doctor: please report it"
        return [problem(subject, f"could not be checked: {type(error).__name__}: {error}", advice)]
