"""Measurements: frames per second, memory, and what the figures belong to."""

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    import vapoursynth as vs

    from vsgshift.network import ShiftNet
    from vsgshift.network.variants import Task

SIGMA = 25.5
"""Noise level that is asked for where a task needs one, on the 8-bit scale; the speed does not depend on it."""


def frames_per_second(run: Callable[[], int]) -> float:
    """Frames that ``run`` says it made, per second."""
    started = time.perf_counter()
    return run() / (time.perf_counter() - started)


def run_stream(network: "ShiftNet", frames: "torch.Tensor", noise: "torch.Tensor | None", count: int) -> int:
    """Restore ``count`` frames, the same few again and again."""
    from vsgshift.streaming import Stream

    stream = Stream(network)
    for _ in range(count // len(frames)):
        stream.push(frames, noise)
    stream.finish()
    return count


def restored(source: "vs.VideoNode", task: "Task", **options: Any) -> "vs.VideoNode":
    """The plugin over a clip."""
    if task == "deblur":
        return source.gshift.Deblur(**options)
    return source.gshift.Denoise(sigma=SIGMA, **options)


def run_filter(source: "vs.VideoNode", task: "Task", **options: Any) -> int:
    """Restore all frames of ``source`` through the plugin."""
    return sum(1 for _ in restored(source, task, **options).frames(close=True))


def blank(width: int, height: int, length: int) -> "vs.VideoNode":
    """A clip that costs nothing: RGBS, so that no conversion is measured either."""
    import vapoursynth as vs

    return vs.core.std.BlankClip(width=width, height=height, format=vs.RGBS, length=length, keep=True)


def steady_rate(frames: Iterator[object], block: int, seconds: float) -> tuple[float, int]:
    """Frames per second once all is warm, over whole blocks.

    The first blocks are not counted: caches fill, kernels are chosen, and the network looks ahead.

    Args:
        frames: endless.
        block: frames that come at once.
        seconds: to measure for, at least; at least two blocks are measured in any case.

    Returns:
        The rate, and the number of frames it was measured over.
    """
    _drop(frames, 2 * block)
    started = time.perf_counter()
    count = 0
    while True:
        _drop(frames, block)
        count += block
        passed = time.perf_counter() - started
        if count >= 2 * block and passed >= seconds:
            return count / passed, count


def whole_rate(frames: Iterator[object]) -> tuple[float, int]:
    """Frames per second over all frames of a clip, from the first request to the last frame; and how many they are."""
    started = time.perf_counter()
    count = sum(1 for _ in frames)
    return count / (time.perf_counter() - started), count


def _drop(frames: Iterator[object], count: int) -> None:
    for _ in range(count):
        next(frames)


def resident() -> float:
    """Resident memory of this process, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_resident() -> float:
    """The most resident memory that this process has had, MiB."""
    with suppress(OSError):
        # Linux's own answer: getrusage's starts with that of the process which started this one.
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_of(run: Callable[[], object], device: "torch.device") -> float | None:
    """The most memory that a run took beyond what was in use before it, MiB; None where the system does not tell."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    from vsgshift.plugin.memory import give_back_freed

    give_back_freed()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
    except OSError:
        run()
        return None
    before_mib = resident()
    run()
    return peak_resident() - before_mib


def busyness() -> float:
    """Processes that want to compute, for each core, over the last minute; more than 1 is too many."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def device_name(device: "torch.device") -> str:
    """A GPU by its maker's name, a CPU by its architecture and cores, as reports have them."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()}, {os.cpu_count()} cores"


def surroundings() -> dict[str, object]:
    """What figures belong to: the device that is used by default, and versions."""
    import torch
    import vapoursynth as vs

    return {
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "torch": torch.__version__,
        "vapoursynth": vs.core.core_version.release_major,
        "python": platform.python_version(),
    }
