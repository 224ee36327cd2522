"""A pipeline whose skips wait in the host's memory, for devices that have little.

What waits makes up most of a stream's state, and is touched twice: when it is put aside, and `radius`
frames later. So each skip goes to the host once and comes back once, while the temporal shifts, which
need theirs in every run, keep them on the device. Results are the same to the bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vsgshift.streaming.pipeline import Pipeline


def to_host(x: Tensor) -> Tensor:
    """A copy in page-locked memory; on the CPU the tensor itself.

    The copy is queued on the current CUDA stream and not waited for. What is queued behind it on that
    stream may overwrite the original, or read the copy; the CPU may not. torch keeps freed page-locked
    memory from being reused before the copies out of it are done.
    """
    if not x.is_cuda:
        return x
    return torch.empty_like(x, device="cpu", pin_memory=True).copy_(x, non_blocking=True)


class OffloadingPipeline(Pipeline):
    """A `Pipeline` whose skips wait where ``host`` takes them, and come back by `Tensor.to`.

    Run it on one and the same CUDA stream.
    """

    def __init__(self, host: Callable[[Tensor], Tensor] = to_host) -> None:
        super().__init__()
        self._host = host

    def _put_aside(self, x: Tensor) -> Tensor:
        return self._host(x)
