"""The bare stream, without VapourSynth: frames per second, memory, and the kernels that take the time."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from measuring.networks import Subject, load
from measuring.settings import Settings
from vsgshift.benchmark.measures import peak_resident
from vsgshift.network import ShiftNet
from vsgshift.network.variants import Task
from vsgshift.plugin.memory import give_back_freed
from vsgshift.streaming import Stream
from vsgshift.streaming.graphed import WARM_UP
from vsgshift.streaming.stream import Execution

ROUNDS = 3
KERNELS = 30
"""Kernels of a network that a report has, the slowest first."""


def engine(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    """Frames per second of a stream in the middle of a long clip, and the most memory that it took."""
    network = load(subject, settings.device, settings.dtype)
    rounds: list[float] = []

    def measure() -> None:
        push = under_way(network, size[::-1], settings.device, settings.block)
        # The clock is read when the device is done, so a number of blocks is given to it at once.
        blocks = max(1, math.ceil(settings.seconds / ROUNDS / timed(push, settings.device)))

        def run() -> None:
            for _ in range(blocks):
                push()

        rounds.extend(timed(run, settings.device) / blocks for _ in range(ROUNDS))

    memory = peak_of(measure, settings.device)
    figures = {"fps": round(settings.block / median(rounds), 3), "spread": round(min(rounds) / max(rounds), 3)}
    if memory is not None:
        figures["gpu_memory_mib" if settings.device.type == "cuda" else "memory_mib"] = round(memory, 1)
    return figures


def kernels(settings: Settings, subject: Subject, size: tuple[int, int]) -> str:
    """The table of torch's profiler for one push of a stream under way."""
    network = load(subject, settings.device, settings.dtype)
    push = under_way(network, size[::-1], settings.device, settings.block)
    push()
    cuda = settings.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        push()
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=column, row_limit=KERNELS, max_name_column_width=60))


def footage(
    task: Task, frames: int, size: tuple[int, int], device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor | None]:
    """Random frames (T, 3, H, W), and the noise map (T, 1, H, W) if the task takes one; the same each time.

    Half precision has all the values exactly, so that every precision gets the same.
    """
    clip = torch.randint(257, (frames, 3, *size), generator=torch.Generator().manual_seed(0)) / 256
    clip = clip.to(device, dtype)
    return clip, clip.new_full((frames, 1, *size), 1 / 8) if task == "denoise" else None


def frames_under_way(radius: int, block: int) -> int:
    """Frames after which each block comes out as all others do: every layer has frames, and a GPU has its graph."""
    return block * (math.ceil((radius + 1) / block) + WARM_UP + 2)


def under_way(
    network: ShiftNet, size: tuple[int, int], device: torch.device, block: int, execution: Execution = "auto"
) -> Callable[[], Tensor]:
    """A stream of frames (H, W) that is well under way; each call pushes a block more and returns as many restored
    frames."""
    clip, noise = footage(network.variant.task, block, size, device)
    stream = Stream(network, block=block, execution=execution)
    for _ in range(frames_under_way(network.radius, block) // block):
        stream.push(clip, noise)
    return lambda: stream.push(clip, noise)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds until a run is done, on the device too."""
    wait_for(device)
    started = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_of(run: Callable[[], object], device: torch.device) -> float | None:
    """The most memory that a run took beyond what was in use before it, MiB; None if the system does not say."""
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        wait_for(device)
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    give_back_freed()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
    except OSError:
        run()
        return None
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    run()
    return peak_resident() - resident
