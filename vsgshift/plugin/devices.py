"""Devices: which one a filter runs on, and the one thread that computes there."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch

CPU = -1
"""The ``device_id`` of the CPU."""


def choose(device_id: int | None) -> torch.device:
    """The torch device of a ``device_id``; None is the first CUDA device, or the CPU if there is none.

    Raises:
        ValueError: there is no such device, or what it needs is not installed.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device_id is None:
        device_id = 0 if count else CPU
    if device_id == CPU:
        return torch.device("cpu")
    if not 0 <= device_id < count:
        known = f"CUDA devices 0 to {count - 1}, and -1, the CPU" if count else "no CUDA device, only -1, the CPU"
        raise ValueError(f"device_id={device_id} does not exist; there is {known}")
    if find_spec("cupy") is None:
        raise ValueError("a CUDA device needs CuPy: pip install 'vsgshift[cuda]', or run on the CPU with device_id=-1")
    return torch.device("cuda", device_id)


def check_half(device: torch.device) -> None:
    """Raise ValueError if the device has no half precision arithmetic."""
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise ValueError("fp16=True needs a CUDA device or a CPU with half precision arithmetic; leave it out")


def properties(device_id: int | None) -> dict[str, str | int]:
    """What `gshift.DeviceProperties` returns: name, total memory in bytes, compute capability (0.0 on the CPU)."""
    device = choose(device_id)
    if device.type == "cpu":
        import os
        import platform

        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return {
            "name": platform.processor() or platform.machine(),
            "total_memory": memory,
            "compute_capability": "0.0",
            "device_id": CPU,
            "threads": torch.get_num_threads(),
        }
    cuda = torch.cuda.get_device_properties(device)
    return {
        "name": cuda.name,
        "total_memory": cuda.total_memory,
        "compute_capability": f"{cuda.major}.{cuda.minor}",
        "device_id": device.index,
        "threads": cuda.multi_processor_count,
    }


class Worker:
    """A daemon thread that runs the jobs it is given, one after the other.

    All filters on one device share one. torch keeps a pool of CPU threads for every thread that
    calls it; calls from VapourSynth's many threads would set up pools that fight for the cores.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def _loop(self) -> None:
        # Numbers too small for normal precision make a CPU many times slower.
        torch.set_flush_denormal(True)
        while True:
            future, job = self._jobs.get()
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
            del future, job

    def run[Result](self, job: Callable[[], Result]) -> Result:
        """Run ``job`` on the thread, wait, and return its result or raise its exception."""
        future: Future[Result] = Future()
        self._jobs.put((future, job))
        return future.result()


@cache
def worker(device: torch.device) -> Worker:
    """The worker of a device."""
    return Worker(f"vsgshift {device}")
