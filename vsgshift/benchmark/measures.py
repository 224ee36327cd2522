"""Measurements: frames per second and memory."""

import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    import vapoursynth as vs

    from vsgshift.network.variants import Task

SIGMA = 25.5
"""Noise level that is asked for where a task needs one, on the 8-bit scale; the speed does not depend on it."""


def restored(source: "vs.VideoNode", task: "Task", **options: Any) -> "vs.VideoNode":
    """The plugin over a clip."""
    if task == "deblur":
        return source.gshift.Deblur(**options)
    return source.gshift.Denoise(sigma=SIGMA, **options)


def blank(width: int, height: int, length: int) -> "vs.VideoNode":
    """A clip that costs nothing: RGBS, so that no conversion is measured either."""
    import vapoursynth as vs

    return vs.core.std.BlankClip(width=width, height=height, format=vs.RGBS, length=length, keep=True)


def steady_rate(frames: Iterator[object], block: int, seconds: float) -> tuple[float, int]:
    """Frames per second once all is warm, over at least two whole blocks and `seconds`; and over how many frames.

    The first blocks are not counted: caches fill, kernels are chosen, and the network looks ahead.
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


def peak_resident() -> float:
    """The most resident memory that this process has had, MiB."""
    if sys.platform == "win32":
        from vsgshift import windows

        return windows.resident()[1] / 2**20
    with suppress(OSError):
        # Linux's own answer: getrusage's starts with that of the process which started this one.
        if match := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(match[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def busyness() -> float:
    """Processes that want to compute, for each core, over the last minute, more than 1 is too many; 0 on Windows, which
    does not count them."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if sys.platform != "win32" else 0.0


def device_name(device: "torch.device") -> str:
    """A GPU by its maker's name, a CPU by its architecture and cores, as reports have them."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()}, {os.cpu_count()} cores"
