"""How frames meet in time: what the network asks for, and the whole-clip answer.

The network is written against `Timeline`. Whole-clip inference and training use `WholeClip`;
the streaming answer is `vsgshift.streaming.Pipeline`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from vsgshift.network.shift import Direction, shift_future, shift_past
from vsgshift.network.shifted import Shifted

Waiting = Callable[[], Tensor]
"""Gives, once the main path has come through, the kept frames that belong to the frames it has then."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames with their neighbours in time: what was kept of each frame at hand, in order; and for each outgoing frame,
    its index into these, and how many frames before and after it are near enough and of its segment."""

    frames: Sequence[Tensor]
    own: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same on the frames' device: the frames stacked; for each in order of time, its row of these; and (3, N)
        own, before and after. The numbers are int32."""
        kept = torch.stack(tuple(self.frames))
        order = torch.arange(len(kept), dtype=torch.int32, device=kept.device)
        return kept, order, torch.tensor((self.own, self.before, self.after), dtype=torch.int32).to(kept.device)


class Timeline(Protocol):
    """Where neighbouring frames come from, and where skips wait for frames that come late.

    The network calls these in the same order on every run, so an implementation may distinguish its call
    sites by counting.
    """

    def shift(self, x: Tensor, direction: Direction) -> Tensor:
        """Temporal shift: (T, C, H, W) -> (T', C, H, W). A frame whose neighbour is missing is held."""
        ...

    def keep(self, x: Tensor) -> Waiting:
        """Put a skip aside until the main path, which may be late, joins it again."""
        ...


@runtime_checkable
class LazyTimeline(Timeline, Protocol):
    """A timeline that can also say where the halves of a shift are, for code that reads them in place."""

    def shift_lazily(self, x: Tensor, direction: Direction) -> Shifted:
        """In place of `shift`: the same, not carried out. The caller calls `Shifted.done` before anything else of the
        timeline."""
        ...


@runtime_checkable
class WindowTimeline(Timeline, Protocol):
    """A timeline that also gives frames together with their neighbours, for `vsgshift.network.merge`."""

    def window(self, frames: Sequence[Tensor], reach: int) -> Window:
        """Frames with up to ``reach`` neighbours on each side; one tensor a frame, of any shape."""
        ...


class WholeClip:
    """All frames of a clip at once.

    ``cuts`` are the indices of frames that start a segment; frame 0 always does. ``boundary`` is what a shift gives
    frames without a neighbour: "hold" leaves them as they are, "wrap" takes the neighbour from the other end of the
    clip (and allows no cuts). ``context`` frames at both ends of each segment are neighbours in `window` only, and go
    no further: for training.
    """

    def __init__(
        self, frames: int, *, boundary: Literal["hold", "wrap"] = "hold", cuts: Iterable[int] = (), context: int = 0
    ) -> None:
        bounds = [0, *sorted({*cuts} - {0, frames}), frames]
        self._segments = [range(start, stop) for start, stop in pairwise(bounds)]
        self._inner = [number for segment in self._segments for number in segment[context : len(segment) - context]]
        starts = torch.zeros(len(self._inner) + 1, dtype=torch.bool)
        if boundary == "hold":
            starts[-1] = True
            for index, number in enumerate(self._inner):
                starts[index] = any(number == segment.start + context for segment in self._segments)
        self.starts = starts

    def window(self, frames: Sequence[Tensor], reach: int) -> Window:
        segments = {number: segment for segment in self._segments for number in segment}
        return Window(
            frames=frames,
            own=self._inner,
            before=[min(reach, number - segments[number].start) for number in self._inner],
            after=[min(reach, segments[number].stop - 1 - number) for number in self._inner],
        )

    def shift(self, x: Tensor, direction: Direction) -> Tensor:
        half = x.shape[1] // 2
        if direction is Direction.PAST:
            shifted = shift_past(x[:, half:].roll(1, 0), x)
            held = self.starts[:-1]
        else:
            shifted = shift_future(x, x[:, :half].roll(-1, 0))
            held = self.starts[1:]
        if not held.any():
            return shifted
        return torch.where(held.to(x.device).view(-1, 1, 1, 1), x, shifted)

    def shift_lazily(self, x: Tensor, direction: Direction) -> Shifted:
        own = torch.arange(len(x), dtype=torch.int32)
        if direction is Direction.PAST:
            neighbour, held = own.roll(1), self.starts[:-1]
        else:
            neighbour, held = own.roll(-1), self.starts[1:]
        return Shifted(
            direction=direction,
            frames=x,
            edge=None,
            own=own.to(x.device),
            neighbour=neighbour.to(x.device),
            held=held.to(x.device),
        )

    def keep(self, x: Tensor) -> Waiting:
        inner = x if len(x) == len(self._inner) else x[self._inner]
        return lambda: inner
