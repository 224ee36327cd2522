"""Check an installed vsgshift: run this with the Python of a clean environment, away from the sources.

    python -I check_wheel.py                 # everything: restores a few frames with both bundled models
    python -I check_wheel.py --without-torch # only what needs no torch: the plugin, the bridge, their errors

Prints what it found; the exit status is 1 at the first thing that is not as it should be.
"""

import argparse
import os
import platform
import sys
import time
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import vapoursynth as vs

LENGTH = 12
"""Frames of the clip that is restored: more than the bundled models look ahead."""
MODELS = ("tiny-deblur", "tiny-denoise", "fine-denoise")
BELONG_IN = ("LICENSE", "THIRD_PARTY_NOTICES.md")
NOT_IN = (".c", ".h", ".pyx", ".pxi")


def main() -> int:
    """Run the checks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-torch", action="store_true", help="check only what works without torch")
    arguments = parser.parse_args()
    package = Path(str(import_module("vsgshift").__file__)).parent
    print(f"Python {platform.python_version()}, {platform.platform()}")
    print(f"package: {package}")
    check_files()
    check_bridge()
    check_system()
    if arguments.without_torch:
        check_complaint()
    else:
        check_frames(package)
    print("all is well")
    return 0


def check(right: bool, complaint: str) -> None:
    """End the program unless things are as they should be."""
    if not right:
        raise SystemExit(f"check_wheel.py: {complaint}")


def check_files() -> None:
    """Licence files, weights, the clip of the demo and the plugin file are there; sources of the binaries are not."""
    files = metadata.files("vsgshift") or []
    names = {file.name for file in files}
    for name in (*BELONG_IN, *(f"{model}.safetensors" for model in MODELS), "flower.mkv", "py.typed"):
        check(name in names, f"{name} is not in the installation")
    plugins = sorted(file.name for file in files if "vapoursynth/plugins/gshift/" in file.as_posix())
    check(len(plugins) == 2 and plugins[1] == "manifest.vs", f"not the plugin file and its manifest, but {plugins}")
    builds = {file.stem for file in files if file.name.startswith("_kernels_")}
    check("_kernels_baseline" in builds, f"the kernels for the CPU are not there, only {sorted(builds)}")
    strays = [str(file) for file in files if file.suffix in NOT_IN]
    check(not strays, f"sources are in the installation: {', '.join(strays)}")
    print(f"files: {len(files)}; plugin: {plugins[0]}; kernels: {', '.join(sorted(builds))}")


def check_bridge() -> None:
    """VapourSynth found the plugin by itself, its version is the package's, and the extension loads."""
    check(hasattr(vs.core, "gshift"), "VapourSynth does not find the plugin")
    version = metadata.version("vsgshift")
    check(version == import_module("vsgshift").__version__, "the package and its metadata differ in version")
    major, minor = (int(part) for part in version.split(".")[:2])
    loaded = vs.core.gshift.version
    check((loaded.major, loaded.minor) == (major, minor), f"the plugin says version {loaded}, the package {version}")
    bridge = import_module("vsgshift.plugin._bridge")
    print(f"version: {version}; bridge: {Path(str(bridge.__file__)).name}")


def check_system() -> None:
    """Locks keep others away, and a program is ended with all that it has started."""
    from vsgshift.files import lock
    from vsgshift.processes import Process

    with TemporaryDirectory() as folder:
        file = Path(folder, "lock")
        with file.open("w") as one, file.open("r+") as two:
            check(lock(one.fileno(), shared=True) and lock(two.fileno(), shared=True), "a lock is not shared")
            check(not lock(one.fileno()), "a lock is taken that another shares")
            two.close()
            check(lock(one.fileno()), "a lock is not let go of")
            with file.open("r+") as two:
                check(not lock(two.fileno(), shared=True), "a lock is taken that another has")
    child = "import time; print(flush=True); time.sleep(30)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], stdout=sys.stdout)"
    with Process([sys.executable, "-c", parent], stdout=True) as process:
        process.stdout.readline()
        pipe = os.dup(process.stdout.fileno())
    since = time.monotonic()
    # The pipe ends when none is left that could write to it.
    check(os.read(pipe, 1) == b"" and time.monotonic() - since < 20, "a program's child outlives it")
    os.close(pipe)
    print("system: locks and processes")


def check_complaint() -> None:
    """The call comes through the bridge into Python, and what went wrong there comes back as one line."""
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=1)
    expected = "No module named 'torch'" if find_spec("torch") is None else "sigma=-1 is out of range"
    try:
        vs.core.gshift.Denoise(clip, sigma=-1)
    except vs.Error as error:
        check(expected in str(error), f"an unexpected error: {error}")
    else:
        check(False, "sigma=-1 was accepted")
    print(f"bridge: calls and errors come through: {expected}")


def check_frames(package: Path) -> None:
    """Both bundled models restore a clip, and the versions are printed."""
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=LENGTH, color=[90, 110, 140])
    restored = vs.core.gshift.Deblur(vs.core.gshift.Denoise(clip, sigma=10))
    count = sum(1 for _ in restored.frames(close=True))
    check(count == LENGTH, f"{count} frames came out of {LENGTH}")
    version = vs.core.gshift.Version()
    check(Path(str(version["path"])) == package, f"the plugin runs another package: {version['path']}")
    check(version["cpu_kernels"] != "none", "the kernels for the CPU do not load")
    print(f"frames: {count}; kernels: {version['cpu_kernels']}")
    print(f"torch {version['torch']}, numpy {version['numpy']}, VapourSynth {version['vapoursynth']}")


if __name__ == "__main__":
    sys.exit(main())
