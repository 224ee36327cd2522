"""Measurements that only the workshop needs; the others are the product's, in `vsgshift.benchmark.measures`."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import vapoursynth as vs

from vsgshift.benchmark.measures import device_name, peak_resident, restored
from vsgshift.network import ShiftNet
from vsgshift.network.variants import Task
from vsgshift.plugin.memory import give_back_freed
from vsgshift.streaming import Stream


def frames_per_second(run: Callable[[], int]) -> float:
    """Frames that ``run`` says it made, per second."""
    started = time.perf_counter()
    return run() / (time.perf_counter() - started)


def run_stream(network: ShiftNet, frames: torch.Tensor, noise: torch.Tensor | None, count: int) -> int:
    """Restore ``count`` frames, the same few again and again."""
    stream = Stream(network)
    for _ in range(count // len(frames)):
        stream.push(frames, noise)
    stream.finish()
    return count


def run_filter(source: vs.VideoNode, task: Task, **options: Any) -> int:
    """Restore all frames of ``source`` through the plugin."""
    return sum(1 for _ in restored(source, task, **options).frames(close=True))


def resident() -> float:
    """Resident memory of this process, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_of(run: Callable[[], object], device: torch.device) -> float | None:
    """The most memory that a run took beyond what was in use before it, MiB; None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    give_back_freed()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
    except OSError:
        run()
        return None
    before_mib = resident()
    run()
    return peak_resident() - before_mib


def surroundings() -> dict[str, object]:
    """What figures belong to: the device that is used by default, and versions."""
    return {
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "torch": torch.__version__,
        "vapoursynth": vs.core.core_version.release_major,
        "python": platform.python_version(),
    }
