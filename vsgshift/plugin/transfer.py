"""Planes of VapourSynth frames to tensors where the network is, and back.

Frames are RGB or GRAY, of any sample type; tensors are (T, C, H, W), float32, on the [0, 1] scale and may be
larger than the frames: rows and columns beyond a frame's repeat its last ones. A GRAY frame fills
all channels, and comes back as their mean. CUDA devices have `vsgshift.plugin.cuda_transfer`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsgshift.plugin._bridge import Frame
from vsgshift.plugin.planes import Size, fill_border, peak

if TYPE_CHECKING:
    from vsgshift.plugin.cuda_transfer import CudaDownload, CudaTransfer


type Download = CpuDownload | CudaDownload
"""Restored frames on their way to ordinary memory."""
type Transfer = CpuTransfer | CudaTransfer
"""Carries frames to where the network is, and back."""


class CpuTransfer:
    """One copy each way: planes into a new tensor, and out of it; and another to a device without a way of its own."""

    blocks_ahead = 0
    """Blocks that are worth pushing before the results of one are waited for."""

    def __init__(self, device: torch.device = torch.device("cpu")) -> None:  # noqa: B008 -- devices do not change
        self._device = device

    def running(self) -> AbstractContextManager[object]:
        """The context for uploads, downloads and the network; on one thread."""
        return nullcontext()

    def upload(self, frames: Sequence[Frame], channels: int, size: Size) -> Tensor:
        """Frames of one size and format to a tensor (T, channels, *size)."""
        tensor = torch.empty((len(frames), channels, *size))
        height, width = frames[0].height, frames[0].width
        scale = np.float32(1 / peak(frames[0]))
        for target, frame in zip(tensor.numpy()[:, :, :height, :width], frames, strict=True):
            for channel in range(channels):
                plane = np.asarray(frame.plane(channel if frame.format.num_planes > 1 else 0))
                if scale == 1:
                    target[channel] = plane
                else:
                    np.multiply(plane, scale, out=target[channel], dtype=np.float32)
        fill_border(tensor, (height, width))
        return tensor.to(self._device)

    def download(
        self, tensor: Tensor, planes: int, size: Size, sample: type[np.floating[Any]] = np.float32
    ) -> "CpuDownload":
        """Begin to fetch planes of ``size`` out of a tensor (T, 3, H, W): three, or one, their mean.

        sample: the type to carry them in, the planes' own; here they are float32 until they are copied into frames.
        """
        cropped = tensor[:, :, : size[0], : size[1]].cpu()
        return CpuDownload(cropped if planes == cropped.shape[1] else cropped.mean(1, keepdim=True))

    def close(self) -> None:
        """Wait for what is under way and give memory back. The last call."""


class CpuDownload:
    """Planes that are in ordinary memory already."""

    def __init__(self, planes: Tensor) -> None:
        self._planes = planes

    def wait(self) -> NDArray[np.float32]:
        """Planes (T, planes, height, width), once they are there; from any thread."""
        array: NDArray[np.float32] = self._planes.numpy()
        return array

    def release(self) -> None:
        """The planes are not needed any more: their memory may be used again."""


def transfer_for(device: torch.device) -> Transfer:
    """The transfer of a device, for one filter. On a CUDA device it waits for what the caller's stream has to do."""
    if device.type != "cuda":
        return CpuTransfer(device)
    import cupy

    from vsgshift.plugin.cuda_transfer import CudaTransfer

    return CudaTransfer(device, cupy)
