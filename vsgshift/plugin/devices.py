"""Devices: which one a filter runs on, and the one thread that computes there."""

import logging
import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch

logger = logging.getLogger(__name__)

CPU = -1
"""The ``device_id`` of the CPU."""
APPLE = -2
"""The ``device_id`` of Apple's GPU, which runs the plain network, and only if it is asked for; untested."""


def choose(device_id: int | None) -> torch.device:
    """The torch device of a ``device_id``; None is the first CUDA device that can be used, else the CPU, with a
    warning, once, if there are some that cannot. Raises ValueError if there is no such device, or it cannot be used;
    says what to do."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device_id is None:
        reasons = [unusable(number) for number in range(count)]
        if None in reasons:
            return torch.device("cuda", reasons.index(None))
        if reasons:
            _warn_once(f"the GPU is not used, filters run on the CPU: {reasons[0]}")
        return torch.device("cpu")
    if device_id == CPU:
        return torch.device("cpu")
    if device_id == APPLE:
        if not torch.backends.mps.is_available():
            raise ValueError("device_id=-2 is Apple's GPU, which is not here; -1 is the CPU")
        return torch.device("mps")
    if not 0 <= device_id < count:
        known = f"CUDA devices 0 to {count - 1}, and -1, the CPU" if count else "no CUDA device, only -1, the CPU"
        raise ValueError(f"device_id={device_id} does not exist; there is {known}")
    if reason := unusable(device_id):
        raise ValueError(f"device_id={device_id} cannot be used: {reason}; or run on the CPU with device_id=-1")
    return torch.device("cuda", device_id)


class Unusable(NamedTuple):
    """Why a CUDA device cannot be used, and what to do about it."""

    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.advice}"


def unusable(number: int) -> Unusable | None:
    """What keeps a CUDA device that is there from being used; None if nothing does."""
    capability = torch.cuda.get_device_capability(number)
    built = torch.cuda.get_arch_list()
    if not any(_runs(name, capability) for name in built):
        major, minor = capability
        return Unusable(
            f"torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(number)}, of compute capability "
            f"{major}.{minor}, but for {', '.join(built) or 'none'}",
            "install a build of torch that has them",
        )
    if find_spec("cupy") is None:
        return Unusable("CuPy is not installed", "pip install 'vsgshift[cuda]'")
    return None


def _runs(name: str, capability: tuple[int, int]) -> bool:
    """Whether what was built for an architecture of NVIDIA's runs on a device: machine code (sm) or PTX (compute)."""
    known = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
    if known is None:
        return False
    built = int(known[2]), int(known[3])
    if known[4] == "a":
        return built == capability
    if known[1] == "sm" or known[4] == "f":
        return built[0] == capability[0] and built[1] <= capability[1]
    return built <= capability


@cache
def _warn_once(text: str) -> None:
    logger.warning(text)


def precision(device: torch.device, fp16: bool | None) -> torch.dtype:
    """What a filter's network computes in. Raises ValueError if half precision is asked for where there is none.

    Half precision is float16 on a GPU, and bfloat16 on a CPU that multiplies it natively. By default it is taken where
    the fused kernels for it run.
    """
    if fp16 is None:
        fp16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not fp16:
        return torch.float32
    if device.type != "cpu":
        return torch.float16
    if not torch.cpu._is_avx512_bf16_supported():
        raise ValueError("fp16=True needs a GPU or a CPU with bfloat16 arithmetic (AVX512_BF16 or AMX); leave it out")
    return torch.bfloat16


def properties(device_id: int | None) -> dict[str, str | int]:
    """What `gshift.DeviceProperties` returns: name, total memory in bytes, compute capability (0.0 if not CUDA's)."""
    device = choose(device_id)
    if device.type != "cuda":
        import os
        import platform
        import sys

        if sys.platform == "win32":
            from vsgshift import windows

            memory = windows.memory()[0]
        else:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return {
            "name": platform.processor() or platform.machine() if device.type == "cpu" else "Apple's GPU",
            "total_memory": memory,
            "compute_capability": "0.0",
            "device_id": CPU if device.type == "cpu" else APPLE,
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
