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
from vsgshift.streaming.graphed import WARM_UP
from vsgshift.streaming.stream import Execution

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
    task: Task, frames: int, size: tuple[int, int], device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor | None]:
    """Random frames (T, 3, H, W), and the noise map (T, 1, H, W) where the task wants one; the same each time.

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
    """A stream that is well under way; each call pushes a block more and returns as many restored frames.

    Args:
        size: H, W.
        block: frames per run of the network.
        execution: see `vsgshift.streaming.stream.Execution`.
    """
    clip, noise = footage(network.variant.task, block, size, device)
    stream = Stream(network, block=block, execution=execution)
    for _ in range(frames_under_way(network.radius, block) // block):
        stream.push(clip, noise)
    return lambda: stream.push(clip, noise)


def measure_stream(
    network: ShiftNet, size: tuple[int, int], device: torch.device, block: int, seconds: float
) -> StreamFigures:
    """Frames per second of the bare stream; arguments as for `under_way`.

    Args:
        seconds: to measure for, at least, in all rounds.
    """
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    push = under_way(network, size, device, block)
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
