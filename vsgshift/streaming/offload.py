"""A pipeline whose skips wait in the host's memory, for devices that have little.

What waits makes up most of a stream's state, and is touched twice: when it is put aside, and `radius` frames later. So
each skip goes to the host once and comes back once. What the temporal shifts keep is needed in every run; it goes to
the host only if many streams, such as the tiles of a picture, take turns. Results are the same to the bit.
"""

from collections.abc import Callable, Set

import torch
from torch import Tensor

from vsgshift.streaming.pipeline import Pipeline


def to_host(x: Tensor) -> Tensor:
    """A copy in page-locked memory; on the CPU the tensor itself.

    The copy is queued on the current CUDA stream and not waited for: what is queued after it may overwrite the original
    or read the copy, the CPU may not. torch does not reuse page-locked memory before the copies out of it are done.
    """
    if not x.is_cuda:
        return x
    return torch.empty_like(x, device="cpu", pin_memory=True).copy_(x, non_blocking=True)


class OffloadingPipeline(Pipeline):
    """A `Pipeline` whose skips wait where ``host`` takes them, and come back by `Tensor.to`; on one CUDA stream."""

    def __init__(self, host: Callable[[Tensor], Tensor] = to_host) -> None:
        super().__init__()
        self._host = host
        self._device: torch.device | None = None

    def rest(self) -> None:
        """Take what the shifts keep to the host as well, until the next run."""

        def away(kept: Tensor) -> Tensor:
            self._device = kept.device
            return self._host(kept)

        self.move_kept(away)

    def step(self, span: range, clock: int, *, cuts: Set[int], length: int | None = None) -> None:
        if (device := self._device) is not None:
            self.move_kept(lambda kept: kept.to(device, non_blocking=True))
            self._device = None
        super().step(span, clock, cuts=cuts, length=length)

    def _put_aside(self, x: Tensor) -> Tensor:
        return self._host(x)
