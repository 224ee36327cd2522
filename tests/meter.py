"""Follows the tensors of a computation, so that its memory can be read without carrying it out."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vsgshift.network import ShiftNet, Variant
from vsgshift.streaming.pipeline import Pipeline


class Meter(TorchDispatchMode):
    """Bytes of the tensors made while it is on: ``now``, and at the most since it was last set, ``peak``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._follow(tensor)
        return out

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._gone, key, storage.nbytes())
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def stream_bytes(variant: Variant, block: int, size: int, dtype: torch.dtype = torch.float32) -> tuple[int, int]:
    """Bytes that lie between two runs of a stream in its middle, and at the peak of a run, without weights.

    torch's meta device has shapes and layouts, and no numbers: nothing is computed.
    """
    network = ShiftNet(variant).to(device="meta", dtype=dtype).requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pipeline = Pipeline()
    between = 0
    with torch.inference_mode(), Meter() as meter:
        # Until the first frames have come out and all that they were merged with has gone, and two runs more.
        for run in range((variant.radius + variant.merge) // block + 3):
            frames = torch.empty((block, 3, size, size), device="meta")
            noise = frames.new_empty((block, 1, size, size)) if variant.task == "denoise" else None
            span = range(run * block, (run + 1) * block)
            pipeline.step(span, span.stop, cuts={0})
            meter.peak = meter.now
            restored = network.run(frames, noise, pipeline)
            del frames, noise, restored
            between = meter.now
    return between, meter.peak
