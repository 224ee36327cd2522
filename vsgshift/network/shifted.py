"""A temporal shift that is not carried out: the frames as they are, and where each half comes from.

`Timeline.shift` copies every frame to put two halves of channels side by side. Code that reads
the halves in place needs no copy; a `LazyTimeline` says where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vsgshift.network.shift import Direction, shift_future, shift_past

EDGE = -1
"""In `Shifted.own` and `Shifted.neighbour`: the frame is `Shifted.edge`."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """T frames of C channels, the outcome of a temporal shift, as indices into what it was asked for.

    Attributes:
        direction: where the arriving half comes from.
        frames: (N, C, H, W).
        edge: one frame more, from before ``frames``, (1, C, H, W). If it is read as a neighbour only
            (past), the second half of its channels is enough, (1, C/2, H, W).
        own: (T,), int32, on the device of the frames: for each outgoing frame the index into
            ``frames`` of itself, or `EDGE`.
        neighbour: (T,), int32, on the same device: the index of its predecessor (past; `EDGE` is
            allowed) or its successor (future). Any index will do if the frame is held.
        held: (T,), bool, on the same device: the frame has no neighbour and stays as it is.
        done: to be called once nothing will read this any more, before the timeline is asked
            again. The memory of the edge may be overwritten then.
    """

    direction: Direction
    frames: Tensor
    edge: Tensor | None
    own: Tensor
    neighbour: Tensor
    held: Tensor
    done: Callable[[], object] = _nothing

    def whole(self) -> Tensor:
        """Carry the shift out: (T, C, H, W), what `Timeline.shift` would have given."""
        half = self.frames.shape[1] // 2
        # Index -1, the edge, is the last of what it is appended to.
        own = self._with_edge(slice(None))[self.own.long()]
        if self.direction is Direction.PAST:
            shifted = shift_past(self._with_edge(slice(half, None))[self.neighbour.long()], own)
        else:
            shifted = shift_future(own, self.frames[self.neighbour.long(), :half])
        return torch.where(self.held.view(-1, 1, 1, 1), own, shifted)

    def _with_edge(self, channels: slice) -> Tensor:
        """These channels of all frames, and of the edge if it has them."""
        frames = self.frames[:, channels]
        if self.edge is None:
            return frames
        edge = self.edge[:, channels] if self.edge.shape[1] == self.frames.shape[1] else self.edge
        return torch.cat((frames, edge)) if edge.shape[1] == frames.shape[1] else frames
