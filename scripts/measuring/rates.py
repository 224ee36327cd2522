"""What a device can do at best, measured: bytes to and from memory, and operations of its matrix units.

Together with the work of a layer they give the time that it takes at least: see `measuring.cost`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F

GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one device in one precision."""

    copy_gb_s: float
    """Bytes read and written by a copy, 1e9 a second."""
    triad_gb_s: float
    """Bytes read and written by a = b + s * c."""
    matmul_gflops: float
    """Operations of a large product of square matrices, 1e9 a second; a multiplication and an addition are two."""
    conv_gflops: float
    """The same of a 3x3 convolution of 64 channels."""

    @property
    def bytes_per_second(self) -> float:
        return GIGA * max(self.copy_gb_s, self.triad_gb_s)

    @property
    def operations_per_second(self) -> float:
        return GIGA * max(self.matmul_gflops, self.conv_gflops)

    def floor(self, moved: float, operations: float) -> float:
        """Seconds that so many bytes and operations take at least, if one hides behind the other entirely."""
        return max(moved / self.bytes_per_second, operations / self.operations_per_second)


def measure_rates(device: torch.device, dtype: torch.dtype, *, quick: bool = False) -> Rates:
    """Measure a device in a few seconds.

    Args:
        quick: with sizes too small for the figures to be right, to try the measurement itself.
    """
    cuda = device.type == "cuda"
    # Far larger than any cache.
    count = 2**16 if quick else (2**30 if cuda else 2**27) // dtype.itemsize
    side = 64 if quick else 8192 if cuda else 1536
    height, frames = (16, 1) if quick else (512, 8) if cuda else (256, 2)
    with torch.inference_mode():
        a, b, c = (torch.rand(count, device=device).to(dtype) for _ in range(3))
        size = count * dtype.itemsize
        copy = best_seconds(lambda: a.copy_(b), device)
        triad = best_seconds(lambda: torch.add(b, c, alpha=0.5, out=a), device)
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        product = best_seconds(lambda: left @ right, device)
        x = torch.randn(frames, 64, height, height, device=device).to(dtype, memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
        conv = best_seconds(lambda: F.conv2d(x, kernel, padding=1), device)
    return Rates(
        copy_gb_s=2 * size / copy / GIGA,
        triad_gb_s=3 * size / triad / GIGA,
        matmul_gflops=2 * side**3 / product / GIGA,
        conv_gflops=2 * 9 * 64 * 64 * x[:, 0].numel() / conv / GIGA,
    )


def best_seconds(run: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Seconds of the fastest of several runs, after a warm-up: other programs can only make it slower."""
    return min(seconds_of(run, device, rounds))


def median_seconds(run: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Seconds of a run as it usually is, after a warm-up."""
    return median(seconds_of(run, device, rounds))


def seconds_of(run: Callable[[], object], device: torch.device, rounds: int) -> list[float]:
    """Seconds of each of several runs, after one that is not counted."""
    run()
    return [timed(run, device) for _ in range(rounds)]


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
