"""All checks, in the order of what rests on what."""

from collections.abc import Callable, Iterator

from vsgshift.doctor import host, libraries, surroundings
from vsgshift.doctor.findings import Finding, problem


def examine() -> Iterator[Finding]:
    """Yield each finding as soon as it is known. Nothing is raised: what fails is a finding."""
    yield from _guarded("Python", lambda: [libraries.python()])
    yield from _guarded("vsgshift", lambda: [libraries.package()])
    yield from _guarded("NumPy", lambda: [libraries.numpy()])
    yield from _guarded("safetensors", lambda: [libraries.safetensors()])
    yield from _guarded("torch", libraries.torch_and_devices)
    yield from _guarded("memory", lambda: [surroundings.memory()])
    yield from _guarded("VapourSynth", _host)
    yield from _guarded("ffmpeg", lambda: [surroundings.ffmpeg()])
    yield from _guarded("models", surroundings.models)
    yield from _guarded("editor stubs", lambda: [found for found in [surroundings.stubs()] if found])


def _host() -> list[Finding]:
    finding, folder = host.vapoursynth()
    if folder is None:
        return [finding]
    return [finding, host.plugin(), host.vspipe(folder), host.bestsource()]


def _guarded(subject: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What a check finds; where the check itself fails, that."""
    try:
        return check()
    except Exception as error:
        advice = "this is a fault of vsgshift doctor: please report it"
        return [problem(subject, f"could not be checked: {type(error).__name__}: {error}", advice)]
