"""What the network has to do: operations and bytes of each part, counted on tensors without contents.

Operations are those of convolutions and matrix products, a multiplication and an addition being two. Bytes are those of
a part's inputs, outputs and weights, each once; what lies between stays in caches. No way of computing the part needs
fewer, unless it is joined with its neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from measuring.hooks import Groups, hooked
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.timeline import WholeClip


@dataclass(kw_only=True)
class Cost:
    """Of some part of the network, over all frames that were counted."""

    operations: float = 0
    least_bytes: float = 0

    def per(self, frames: int) -> "Cost":
        """The same for one frame."""
        return Cost(
            operations=self.operations / frames,
            least_bytes=self.least_bytes / frames,
        )


def size_of(things: Any) -> int:
    """Bytes of the tensors in nested lists and tuples; each element once, however it is expanded."""
    total = 0
    for thing in things:
        if isinstance(thing, Tensor):
            elements = thing.numel()
            for length, stride in zip(thing.shape, thing.stride(), strict=True):
                if stride == 0 and length:
                    elements //= length
            total += elements * thing.element_size()
        elif isinstance(thing, Sequence | Mapping) and not isinstance(thing, str):
            total += size_of(thing.values() if isinstance(thing, Mapping) else thing)
    return total


def count_costs(
    variant: Variant, size: tuple[int, int], frames: int, dtype: torch.dtype, parts: Groups | None = None
) -> dict[str, Cost]:
    """The work of each group of parts, and of the "whole".

    Args:
        size: H, W; padded to what the network takes, as a stream does.
        frames: that go through the network at once, as in a stream that is well under way.
        parts: see `hooks`; the hooks are on a network without contents, so any part of the variant may be named.

    The counts do not depend on the device, nor on how the network is executed there.
    """
    multiple = variant.multiple
    height, width = (-(-side // multiple) * multiple for side in size)
    with torch.device("meta"):
        network = ShiftNet(variant).to(dtype).requires_grad_(False)
        clip = torch.empty(frames, 3, height, width, dtype=dtype)
        noise = torch.empty(frames, 1, height, width, dtype=dtype) if variant.task == "denoise" else None
    found = {name: Cost() for name in parts or {}} | {"whole": Cost()}
    flops = FlopCounterMode(display=False)
    before: dict[str, int] = {}

    def enter(group: str) -> None:
        before[group] = flops.get_total_flops()

    def leave(group: str, module: nn.Module, given: Sequence[Any], result: Any) -> None:
        work = found[group]
        work.operations += flops.get_total_flops() - before.pop(group)
        work.least_bytes += size_of((*given, result)) + _weights(module)

    # No frame is held: the steady state of a long clip.
    time = WholeClip(frames, boundary="wrap")
    with torch.no_grad(), flops, hooked(network, parts or {}, enter, leave):
        result = network.run(clip, noise, time)
    found["whole"] = Cost(
        operations=flops.get_total_flops(),
        least_bytes=size_of((clip, noise, result)) + _weights(network),
    )
    return {name: work.per(frames) for name, work in found.items()}


def total(works: Iterable[Cost]) -> Cost:
    """The sum of several parts' work."""
    both = Cost()
    for work in works:
        both.operations += work.operations
        both.least_bytes += work.least_bytes
    return both


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
