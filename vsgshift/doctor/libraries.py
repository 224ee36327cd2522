"""Python, this package, and the libraries it computes with."""

import json
import os
import platform
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from vsgshift._version import __version__
from vsgshift.doctor.finding import Finding, ok, problem, warning
from vsgshift.doctor.questions import ask
from vsgshift.errors import ProgramError

# An environment that uv has made has no pip.
PIP = f"{sys.executable} -m pip install" if find_spec("pip") else f"uv pip install --python {sys.executable}"
OLDEST_PYTHON = (3, 12)
PACKAGE = Path(__file__).parents[1]


def again(extra: str = "") -> str:
    """The command that installs this package, or an extra of it, from where it came: a clone, a wheel or an index."""
    origin, editable = "vsgshift", ""
    try:
        known = json.loads(metadata.distribution("vsgshift").read_text("direct_url.json") or "{}")
        url = urlsplit(known["url"])
        origin = url2pathname(url.path) if url.scheme == "file" else known["url"]
        editable = "-e " if known.get("dir_info", {}).get("editable") else ""
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        pass
    if extra:
        return f"{PIP} {editable}'{origin}[{extra}]'"
    return f"{PIP} --force-reinstall --no-deps {editable}{shlex.quote(origin)}"


def python() -> Finding:
    """Which Python this is."""
    text = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return problem("Python", text, "vsgshift needs Python 3.12 or later: install it into a newer one")
    return ok("Python", text)


def package() -> Finding:
    """This package, and whether its compiled part can be loaded."""
    text = f"{__version__}, {PACKAGE}"
    try:
        ask("import vsgshift.plugin._bridge as bridge\nanswer(path=bridge.__file__)")
    except ProgramError as error:
        advice = f"reinstall it: {again()}"
        return problem("vsgshift", f"{text}: the compiled part does not load: {error}", advice)
    return ok("vsgshift", text)


def library(distribution: str, name: str, code: str, extra: str = "") -> Finding:
    """A library, by a few lines that use it and answer with its version; one of an extra is not needed by scripts."""
    try:
        return ok(name, str(ask(code)["version"]))
    except ProgramError as error:
        if extra:
            return warning(name, f"{_installed(distribution, error)}: no vsgshift {extra}", again(extra))
        return problem(name, _installed(distribution, error), _reinstall(distribution))


def _installed(distribution: str, error: ProgramError) -> str:
    try:
        return f"{metadata.version(distribution)} does not work: {error}"
    except metadata.PackageNotFoundError:
        return "not installed"


def _reinstall(distribution: str) -> str:
    return f"reinstall it: {PIP} --force-reinstall {distribution}"


_TORCH = """
import torch
assert float(torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).sum()) == 36
cuda = torch.cuda.is_available()
devices = []
for number in range(torch.cuda.device_count() if cuda else 0):
    known = torch.cuda.get_device_properties(number)
    devices.append([number, known.name, known.total_memory, f"{known.major}.{known.minor}"])
answer(version=torch.__version__, cuda=torch.version.cuda, devices=devices, threads=torch.get_num_threads())
"""
_CHOICE = """
from vsgshift.plugin.devices import choose, unusable
device = choose(None)
answer(device=str(device), unusable=unusable(0) if device.type == "cpu" else None)
"""


def torch_and_devices() -> list[Finding]:
    """torch, CuPy, CUDA, and the devices to compute on."""
    try:
        known = ask(_TORCH)
    except ProgramError as error:
        return [problem("torch", _installed("torch", error), _reinstall("torch"))]
    built = f"built for CUDA {known['cuda']}" if known["cuda"] else "built for the CPU only"
    findings = [ok("torch", f"{known['version']}, {built}")]
    findings.append(ok("CPU", f"{processor()}, {os.cpu_count()} cores, {known['threads']} threads for torch"))
    findings += [
        ok(f"GPU {number}", f"{name}, {memory / 2**30:.1f} GiB, compute capability {capability}")
        for number, name, memory, capability in known["devices"]
    ]
    if known["devices"]:
        findings += [_usable(), _cupy(), _compiler()]
    else:
        findings.append(_no_gpu(known["cuda"]))
    return findings


def processor() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _usable() -> Finding:
    """Whether the plugin's own choice is a GPU."""
    try:
        chosen = ask(_CHOICE)
    except ProgramError as error:
        return problem("device", f"none can be chosen: {error}", "see what is said of torch and vsgshift")
    if chosen["unusable"]:
        reason, advice = chosen["unusable"]
        return warning("device", f"the GPU is not used, filters run on the CPU: {reason}", advice)
    return ok("device", f"filters run on {chosen['device']} if no device_id is given")


_CUPY = """
import cupy
assert int(cupy.arange(4).sum()) == 6
answer(version=cupy.__version__)
"""


def _cupy() -> Finding:
    try:
        return ok("CuPy", str(ask(_CUPY)["version"]))
    except ProgramError as error:
        advice = f"on the CPU, with device_id=-1, it is not needed; for the GPU: {again('cuda')}"
        return warning("CuPy", f"does not work: {error}", advice)


_COMPILER = """
from vsgshift.engine.compiler import missing
answer(missing=missing())
"""


def _compiler() -> Finding:
    """Whether the kernels for half precision can be compiled."""
    try:
        missing = ask(_COMPILER)["missing"]
    except ProgramError as error:
        return warning("kernels", f"cannot be checked: {error}", "see what is said of torch and vsgshift")
    if missing:
        reason, advice = missing
        return warning("kernels", f"those for half precision cannot be compiled: {reason}", advice)
    return ok("kernels", "what compiles those for half precision is there")


def _no_gpu(cuda: str | None) -> Finding:
    """No device that torch sees: is there one that it should see?"""
    driver = Path("/proc/driver/nvidia/version")
    if not driver.exists():
        return ok("GPU", "no NVIDIA GPU; filters run on the CPU")
    if cuda is None:
        advice = f"install torch for CUDA: {PIP} --force-reinstall torch, without an index for the CPU"
        return warning("GPU", "there is an NVIDIA driver, but this torch is built for the CPU only", advice)
    advice = "nvidia-smi prints the driver's version, which must be new enough; CUDA_VISIBLE_DEVICES hides GPUs"
    return warning("GPU", f"there is an NVIDIA driver, but torch (CUDA {cuda}) finds no GPU", advice)
