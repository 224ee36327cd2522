"""Frames to a CUDA device and back while the network works: page-locked buffers and three CUDA streams.

One stream carries frames up and one carries planes down, both CuPy's; the filter's own stream has the network, and on
either side of it the conversions. So block i + 1 goes up and block i - 1 comes down while the network is at block i:

    up        ... copy i+1 .............
    network   ... unpack i, run, pack i, unpack i+1 ...
    down      ... copy i-1 .................... copy i

CuPy owns page-locked memory, the staging memory on the device, the two streams and all events; torch sees
the same device memory through DLPack and converts there, on the network's stream: unlike CuPy's, its kernels
need no compiler on the machine that runs them, and memory that torch allocates never meets a stream that
torch does not know. Staging memory is needed once each way: a block has been unpacked by the time
the network starts on it, long before the next one may come up.

The host writes a page-locked buffer again only after the event that says its copy is over, and waits nowhere else but
for finished planes. CuPy waits for events without the GIL, and the events here let the thread sleep.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from numpy.typing import NDArray
from torch import Tensor

from vsgshift.plugin._bridge import Frame
from vsgshift.plugin.planes import Size, fill_border, peak
from vsgshift.streaming.graphed import device_lock

UPLOAD_BUFFERS = 2
"""Page-locked buffers used in turn: the host fills one while the other's copy is under way."""


class _Host:
    """A page-locked buffer, and the event of the last copy from or to it."""

    def __init__(self, cupy: ModuleType, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        count = int(np.prod(shape))
        memory = cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
        self.array: NDArray[Any] = np.frombuffer(memory, dtype, count).reshape(shape)
        self.copied = cupy.cuda.Event(block=True, disable_timing=True)
        self.held = False


class _Buffers:
    """Buffers for frames of one kind, in one direction: staging memory on the device (CuPy's, and the same as a torch
    tensor), and page-locked ones. After ``idle`` the staging memory may be written again; after ``full`` it may be
    read."""

    def __init__(self, cupy: ModuleType, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._cupy, self.shape, self.dtype = cupy, shape, dtype
        self.staging = cupy.empty(shape, dtype)
        self.tensor: Tensor = torch.utils.dlpack.from_dlpack(self.staging)
        self.idle = cupy.cuda.Event(disable_timing=True)
        self.full = cupy.cuda.Event(disable_timing=True)
        self.hosts: list[_Host] = []

    def next(self) -> _Host:
        """A new buffer, or the one that was filled longest ago; its copy may still be under way."""
        host = self.hosts.pop(0) if len(self.hosts) == UPLOAD_BUFFERS else self._new_host()
        self.hosts.append(host)
        return host

    def unheld(self) -> _Host:
        """A buffer that is not being read."""
        for host in self.hosts:
            if not host.held:
                return host
        self.hosts.append(self._new_host())
        return self.hosts[-1]

    def _new_host(self) -> _Host:
        return _Host(self._cupy, self.shape, self.dtype)

    def synchronize(self) -> None:
        """Wait for all copies, so that the memory may be used for something else."""
        self.idle.synchronize()
        for host in self.hosts:
            host.copied.synchronize()


class CudaTransfer:
    """Planes to page-locked memory, from there to the device, and back; all of it beside the network's work.

    ``cupy`` and ``cuda`` (`torch.cuda`) may be stand-ins in a test. The network's stream is the filter's own: filters
    on one device run side by side as far as it has room; the work of one stays in order.
    """

    blocks_ahead = 1

    def __init__(self, device: torch.device, cupy: ModuleType, cuda: Any = torch.cuda) -> None:
        self.device, self._cupy, self._cuda = device, cupy, cuda
        self._buffers: dict[tuple[str, tuple[int, ...], np.dtype[Any]], _Buffers] = {}
        with cupy.cuda.Device(device.index):
            self._up, self._down = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        self.stream = cuda.Stream(device)
        # The weights have come on the stream of whoever made the filter.
        self.stream.wait_stream(cuda.current_stream(device))

    def running(self) -> AbstractContextManager[object]:
        context: AbstractContextManager[object] = self._cuda.stream(self.stream)
        return context

    def upload(self, frames: Sequence[Frame], channels: int, size: Size) -> Tensor:
        count, first = len(frames), frames[0]
        planes = min(first.format.num_planes, channels)
        sample = np.asarray(first.plane(0)).dtype
        with self._cupy.cuda.Device(self.device.index), self.running():
            buffers = self._buffers_for(f"up {channels}", (count, planes, first.height, first.width), sample)
            host = buffers.next()
            host.copied.synchronize()
            for target, frame in zip(host.array, frames, strict=False):
                for index, plane in enumerate(target):
                    np.copyto(plane, np.asarray(frame.plane(index)))
            self._up.wait_event(buffers.idle)
            buffers.staging[:count].set(host.array[:count], stream=self._up)
            host.copied.record(self._up)
            self._network_waits_for(host.copied)
            tensor = torch.empty((count, channels, *size), device=self.device, memory_format=torch.channels_last)
            unpack(buffers.tensor[:count], tensor, peak(first))
            self._network_records(buffers.idle)
        return tensor

    def download(
        self, tensor: Tensor, planes: int, size: Size, sample: type[np.floating[Any]] = np.float32
    ) -> "CudaDownload":
        count = len(tensor)
        with self._cupy.cuda.Device(self.device.index), self.running():
            buffers = self._buffers_for("down", (count, planes, *size), np.dtype(sample))
            host = buffers.unheld()
            self._network_waits_for(buffers.idle)
            pack(tensor, buffers.tensor[:count])
            self._network_records(buffers.full)
            self._down.wait_event(buffers.full)
            buffers.staging[:count].get(stream=self._down, out=host.array[:count], blocking=False)
            buffers.idle.record(self._down)
            host.copied.record(self._down)
        return CudaDownload(self._cupy, self.device, host, count)

    def close(self) -> None:
        with device_lock(self.device), self._cupy.cuda.Device(self.device.index):
            for buffers in self._buffers.values():
                buffers.synchronize()
            self._buffers.clear()
            self._cupy.get_default_memory_pool().free_all_blocks()
            self._cupy.get_default_pinned_memory_pool().free_all_blocks()

    def _buffers_for(self, use: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Buffers:
        """The buffers for a purpose, for at least shape[0] frames."""
        key = (use, shape[1:], dtype)
        buffers = self._buffers.get(key)
        if buffers is None or buffers.shape[0] < shape[0]:
            if buffers is not None:
                buffers.synchronize()
            buffers = self._buffers[key] = _Buffers(self._cupy, shape, dtype)
        return buffers

    def _network_waits_for(self, event: Any) -> None:
        self._cupy.cuda.runtime.streamWaitEvent(self.stream.cuda_stream, event.ptr)

    def _network_records(self, event: Any) -> None:
        self._cupy.cuda.runtime.eventRecord(event.ptr, self.stream.cuda_stream)


class CudaDownload:
    """Planes on their way into a page-locked buffer, which is held for them."""

    def __init__(self, cupy: ModuleType, device: torch.device, host: _Host, count: int) -> None:
        self._cupy, self._device, self._host, self._count = cupy, device, host, count
        host.held = True

    def wait(self) -> NDArray[Any]:
        with self._cupy.cuda.Device(self._device.index):
            self._host.copied.synchronize()
        planes: NDArray[Any] = self._host.array[: self._count]
        return planes

    def release(self) -> None:
        self._host.held = False


def unpack(raw: Tensor, tensor: Tensor, white: float) -> None:
    """Samples (T, 1 or C, h, w), in which ``white`` counts as 1, into (T, C, H, W); the border is repeated."""
    height, width = raw.shape[2:]
    tensor[:, :, :height, :width] = raw if raw.is_floating_point() else raw.float().mul_(1 / white)
    fill_border(tensor, (height, width))


def pack(tensor: Tensor, raw: Tensor) -> None:
    """The upper left of (T, C, H, W) into planes (T, C or 1, h, w); one plane gets the channels' mean."""
    cropped = tensor[:, :, : raw.shape[2], : raw.shape[3]]
    raw.copy_(cropped if raw.shape[1] == cropped.shape[1] else cropped.mean(1, keepdim=True, dtype=torch.float32))
