"""The bare stream, without VapourSynth: a clip of noise that never ends, and how fast it goes through."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from measuring.rates import timed, wait_for
from vsgshift.network import ShiftNet
from vsgshift.network.variants import Task
from vsgshift.streaming import Stream

ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class StreamFigures:
    """Of a stream that is well under way."""

    fps: float
    frames: int
    """That were measured, in all rounds."""
    spread: float
    """Fastest round over the slowest."""
    gpu_memory_mib: float | None
    """The most memory that torch used for tensors on the GPU; None on the CPU."""


def footage(
    task: Task, frames: int, size: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Random frames (T, 3, H, W), and the noise map (T, 1, H, W) where the task wants one; the same each time.

    Half precision has all the values exactly, so that every precision gets the same.
    """
    clip = torch.randint(257, (frames, 3, *size), generator=torch.Generator().manual_seed(0)) / 256
    clip = clip.to(device, dtype)
    return clip, clip.new_full((frames, 1, *size), 1 / 8) if task == "denoise" else None


def under_way(
    network: ShiftNet, size: tuple[int, int], device: torch.device, dtype: torch.dtype, block: int
) -> Callable[[], Tensor]:
    """A stream in which every layer has frames; each call pushes a block more and returns as many restored frames.

    Args:
        size: H, W.
        block: frames per run of the network.
    """
    clip, noise = footage(network.variant.task, block, size, device, dtype)
    stream = Stream(network, block=block)
    for _ in range(math.ceil((network.radius + 1) / block) + 1):
        stream.push(clip, noise)
    return lambda: stream.push(clip, noise)


def measure_stream(
    network: ShiftNet, size: tuple[int, int], device: torch.device, dtype: torch.dtype, block: int, seconds: float
) -> StreamFigures:
    """Frames per second of the bare stream; arguments as for `under_way`.

    Args:
        seconds: to measure for, at least, in all rounds.
    """
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    push = under_way(network, size, device, dtype, block)
    wait_for(device)
    one = timed(push, device)
    # The clock is read when the device is done, so many blocks are given to it at once.
    blocks = max(1, math.ceil(seconds / ROUNDS / one))

    def run() -> None:
        for _ in range(blocks):
            push()

    rounds = [timed(run, device) for _ in range(ROUNDS)]
    return StreamFigures(
        fps=block * blocks / median(rounds),
        frames=block * blocks * ROUNDS,
        spread=min(rounds) / max(rounds),
        gpu_memory_mib=torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None,
    )
