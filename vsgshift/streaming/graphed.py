"""One run of the network as a CUDA graph: thousands of launches become one.

A graph replays the same work on the same addresses: what is captured keeps its state in tensors that stay where they
are, and takes nothing from the host that changes, for which `SteadyTimeline` is made. Capturing records the work
without doing it, so that a capture that fails leaves the state as it was, and the run is done the ordinary way.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

log = logging.getLogger(__name__)

type Step = Callable[[Tensor, Tensor | None], Tensor]

WARM_UP = 2
"""Runs on the side stream before the capture; they are real ones. Libraries set themselves up in them."""


@cache
def device_lock(device: torch.device) -> threading.RLock:
    """To be held while a graph is captured or kernels are timed on a device.

    Both wait for all that the device has to do, which breaks a capture of another thread.
    """
    return threading.RLock()


class _Shared:
    """Memory and side stream that are shared by the graphs that are replayed on one CUDA stream.

    Graphs that never run at once may share the memory of their intermediate results: those of one stream never do, also
    if torch, which has a small pool of streams, gives one to two filters.
    """

    def __init__(self, cuda: Any, device: torch.device) -> None:
        self.pool = cuda.graph_pool_handle()
        self.side = cuda.Stream(device)


_by_stream: WeakValueDictionary[tuple[int, int], _Shared] = WeakValueDictionary()
"""By device and stream. A pool is not to be used again once its last graph is gone: entries go with their users."""


def _shared(cuda: Any, device: torch.device) -> _Shared:
    stream = cuda.current_stream(device)
    key = (stream.device_index, stream.cuda_stream)
    shared = _by_stream.get(key)
    if shared is None:
        shared = _by_stream[key] = _Shared(cuda, device)
    return shared


@contextmanager
def _fastest_convolutions(wanted: bool) -> Iterator[None]:
    """Have cuDNN time its ways to convolve shapes that are new to this thread, and use the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class _Captured:
    """A graph with the tensors it reads and writes."""

    def __init__(self, graph: Any, frames: Tensor, noise: Tensor | None, restored: Tensor) -> None:
        self.graph, self.frames, self.noise, self.restored = graph, frames, noise, restored

    def replay(self, frames: Tensor, noise: Tensor | None) -> Tensor:
        self.frames.copy_(frames)
        if self.noise is not None and noise is not None:
            self.noise.copy_(noise)
        self.graph.replay()
        # The next run writes over it, and another graph of this pool may.
        return self.restored.clone()


class GraphedStep:
    """Runs a step of constant shapes: a few times as it is, then as a CUDA graph.

    Args:
        step: frames (T, 3, H, W) and noise (T, 1, H, W) or None, of the same shapes each time, to the restored frames;
            changes state only in place and on the device. Each call belongs on the same CUDA stream.
        cuda: `torch.cuda`, or what stands in for it in a test.

    Attributes:
        mode: "warming up", "graph", or "eager" after a capture that failed.
    """

    def __init__(self, step: Step, *, cuda: Any = torch.cuda) -> None:
        self.mode = "warming up"
        self._step, self._cuda = step, cuda
        self._runs = 0
        self._threads: set[int] = set()
        self._shared: _Shared | None = None
        self._captured: _Captured | None = None

    def __call__(self, frames: Tensor, noise: Tensor | None) -> Tensor:
        """One step. The result is the caller's."""
        if self.mode == "warming up":
            if self._runs < WARM_UP:
                self._runs += 1
                return self._aside(frames, noise)
            self._capture(frames, noise)
        if self._captured is None:
            return self._step(frames, noise)
        return self._captured.replay(frames, noise)

    def release(self) -> None:
        """Free the graph and its memory; further steps are run one by one."""
        self.mode = "eager"
        self._captured = self._shared = None

    def _aside(self, frames: Tensor, noise: Tensor | None) -> Tensor:
        """Run the step on the side stream."""
        if self._shared is None:
            self._shared = _shared(self._cuda, frames.device)
        here, side = self._cuda.current_stream(frames.device), self._shared.side
        side.wait_stream(here)
        self._threads.add(threading.get_ident())
        with self._cuda.stream(side), _fastest_convolutions(True):
            restored = self._step(frames, noise)
        here.wait_stream(side)
        if restored.is_cuda:
            restored.record_stream(here)
        return restored

    def _capture(self, frames: Tensor, noise: Tensor | None) -> None:
        """Record the step, which is not run by that."""
        assert self._shared is not None
        try:
            graph = self._cuda.CUDAGraph()
            inputs = frames.clone(), None if noise is None else noise.clone()
            # What other threads do on the device, such as another filter's copies, does no harm.
            mode = "thread_local"
            # Where a capture cannot be ended, torch leaves the side stream current.
            here = self._cuda.stream(self._cuda.current_stream(frames.device))
            capture = self._cuda.graph(graph, pool=self._shared.pool, stream=self._shared.side, capture_error_mode=mode)
            # Nothing can be timed now: the choices are a thread's own.
            chosen = self._threads == {threading.get_ident()}
            with device_lock(frames.device), here, _fastest_convolutions(chosen), capture:
                restored = self._step(*inputs)
        except RuntimeError as error:
            log.info("no CUDA graph, each step is launched by itself: %s", str(error).partition("\n")[0])
            self.release()
        else:
            self._captured = _Captured(graph, *inputs, restored)
            self.mode = "graph"
