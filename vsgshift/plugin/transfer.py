"""Planes of VapourSynth frames to tensors on a device, and back.

Frames are RGBS or GRAYS; tensors are (T, 3, H, W). A GRAY frame fills all three channels, and comes
back as their mean. The CUDA path differs only in where its buffers are: CuPy owns them, and torch
sees the same memory through DLPack.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
import torch.utils.dlpack
from numpy.typing import NDArray
from torch import Tensor

from vsgshift.plugin._bridge import Frame


class Transfer(Protocol):
    """Carries frames to where the network is, and back."""

    def upload(self, frames: Sequence[Frame], channels: int) -> Tensor:
        """Frames to a tensor (T, channels, H, W)."""
        ...

    def download(self, tensor: Tensor) -> NDArray[np.float32]:
        """A tensor to an array of the same shape in ordinary memory."""
        ...


def planes_into(array: NDArray[np.float32], frames: Sequence[Frame]) -> None:
    """Copy the planes of each frame into (T, C, H, W); a single plane fills every channel."""
    for target, frame in zip(array, frames, strict=True):
        for channel in range(len(target)):
            target[channel] = np.asarray(frame.plane(channel if frame.format.num_planes > 1 else 0))


def into_planes(frame: Frame, array: NDArray[np.float32]) -> None:
    """Copy (3, H, W) into the planes of a new frame; a single plane gets the channels' mean."""
    if frame.format.num_planes == 1:
        array = array.mean(0, keepdims=True)
    for index, channel in enumerate(array):
        np.copyto(np.asarray(frame.plane(index)), channel)


class CpuTransfer:
    """One copy each way: planes into a new tensor, and out of it."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def upload(self, frames: Sequence[Frame], channels: int) -> Tensor:
        tensor = torch.empty((len(frames), channels, frames[0].height, frames[0].width))
        planes_into(tensor.numpy(), frames)
        return tensor.to(self.dtype)

    def download(self, tensor: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = tensor.float().numpy()
        return array


class CudaTransfer:
    """Planes to page-locked memory, from there to the device in one copy, converted there."""

    def __init__(self, device: torch.device, dtype: torch.dtype, cupy: ModuleType) -> None:
        self.device, self.dtype, self.cupy = device, dtype, cupy
        self._host: dict[str, NDArray[np.float32]] = {}

    def _pinned(self, use: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        buffer = self._host.get(use)
        if buffer is None or buffer.shape != shape:
            size = int(np.prod(shape))
            memory = self.cupy.cuda.alloc_pinned_memory(size * 4)
            buffer = np.frombuffer(memory, np.float32, size).reshape(shape)
            self._host[use] = buffer
        return buffer

    def upload(self, frames: Sequence[Frame], channels: int) -> Tensor:
        with self.cupy.cuda.Device(self.device.index):
            host = self._pinned(f"up{channels}", (len(frames), channels, frames[0].height, frames[0].width))
            planes_into(host, frames)
            array = self.cupy.asarray(host)
            self.cupy.cuda.get_current_stream().synchronize()
            tensor: Tensor = torch.utils.dlpack.from_dlpack(array)
        return tensor.to(self.dtype)

    def download(self, tensor: Tensor) -> NDArray[np.float32]:
        with self.cupy.cuda.Device(self.device.index):
            source = tensor.float().contiguous()
            torch.cuda.current_stream(self.device).synchronize()
            host = self._pinned("down", tuple(source.shape))
            self.cupy.from_dlpack(source).get(out=host)
        return host


def transfer_for(device: torch.device, dtype: torch.dtype) -> Transfer:
    """The transfer of a device."""
    if device.type == "cpu":
        return CpuTransfer(dtype)
    import cupy

    return CudaTransfer(device, dtype, cupy)
