"""The streaming timeline: a few frames go in at a time, restored ones come out R frames later.

Each temporal shift and each waiting skip of the network is a *site* with a little state of its
own. Frames carry numbers. Every site works only on frames that it has whole knowledge of, so that
no filler is ever computed, and each frame passes each layer exactly once:

- A past shift keeps the frame it saw last. A frame without predecessor is held where it starts a
  segment; where the stream was entered midway, it is dropped, since its result cannot be known.
- A future shift answers one frame late, when it has seen the frame's successor, or knows that a
  segment ends between the two.
- A window answers when it has seen as many frames after a frame as that may be merged with, or knows
  that there are no more.
- A skip waits in a queue until the main path arrives at its frames.

After the last frame the clock runs on with nothing coming in: what each site still holds moves on
by as many frames per step as in the middle of the clip, so that memory stays bounded.
"""

from collections.abc import Callable, Iterable, Sequence, Set

import torch
from torch import Tensor

from vsgshift.network.shift import Direction, shift_future, shift_past
from vsgshift.network.shifted import Shifted
from vsgshift.network.timeline import Waiting, Window


def _copy(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.channels_last)


class _PastSite:
    """The second half of the channels of the last frame seen."""

    def __init__(self) -> None:
        self.tail: Tensor | None = None

    def push(self, x: Tensor, span: range, cuts: Set[int]) -> tuple[Tensor, range]:
        if not span:
            return x, span
        half = x.shape[1] // 2
        tail = self.tail
        self.tail = x[-1:, half:].clone()
        held = [number - span.start for number in span if number in cuts]
        if tail is None and 0 not in held:
            previous, x, span = x[:-1, half:], x[1:], span[1:]
            held = [index - 1 for index in held]
        else:
            first = x[:1, half:] if tail is None else tail
            previous = torch.cat((first, x[:-1, half:]))
        shifted = shift_past(previous, x)
        for index in held:
            shifted[index] = x[index]
        return shifted, span

    def push_lazily(self, x: Tensor, span: range, cuts: Set[int]) -> tuple[Shifted, range]:
        edge, first = self.tail, 0
        if span:
            self.tail = _copy(x[-1:, x.shape[1] // 2 :])
            first = int(edge is None and span.start not in cuts)
        span = span[first:]
        own = torch.arange(first, first + len(span), dtype=torch.int32, device=x.device)
        held = torch.tensor([number in cuts for number in span], dtype=torch.bool, device=x.device)
        return Shifted(direction=Direction.PAST, frames=x, edge=edge, own=own, neighbour=own - 1, held=held), span


class _FutureSite:
    """The last frame seen, until its successor is known."""

    def __init__(self) -> None:
        self.waiting: Tensor | None = None

    def push(self, x: Tensor, span: range, emit_until: int, cuts: Set[int]) -> tuple[Tensor, range]:
        if self.waiting is not None:
            x = torch.cat((self.waiting, x))
            span = range(span.start - 1, span.stop)
        count = max(min(emit_until, span.stop) - span.start, 0)
        self.waiting = x[count:].clone() if count < len(span) else None
        if not count:
            return x[:0], span[:0]
        half = x.shape[1] // 2
        following = x[1 : count + 1, :half]
        if len(following) < count:
            following = torch.cat((following, x[-1:, :half]))
        shifted = shift_future(x[:count], following)
        for index in range(count):
            if span[index] + 1 in cuts:
                shifted[index] = x[index]
        return shifted, span[:count]

    def push_lazily(self, x: Tensor, span: range, emit_until: int, cuts: Set[int]) -> tuple[Shifted, range]:
        edge = self.waiting
        if edge is not None:
            span = range(span.start - len(edge), span.stop)
            if len(edge) > 1:
                x, edge = torch.cat((edge, x)), None
        early = 0 if edge is None else 1
        count = max(min(emit_until, span.stop) - span.start, 0)
        if count == len(span):
            self.waiting = None
        elif edge is not None and not count:
            self.waiting = torch.cat((edge, x))
        else:
            self.waiting = _copy(x[count - early :])
        span = span[:count]
        own = torch.arange(-early, count - early, dtype=torch.int32, device=x.device)
        held = torch.tensor([number + 1 in cuts for number in span], dtype=torch.bool, device=x.device)
        return Shifted(direction=Direction.FUTURE, frames=x, edge=edge, own=own, neighbour=own + 1, held=held), span


class _WaitingSite:
    """Frames of a skip, in the pieces they came in."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, Tensor]] = []

    def push(self, x: Tensor, span: range) -> None:
        if span:
            self.pieces.append((span.start, x))

    def pop(self, span: range, empty: Tensor) -> Tensor:
        parts = []
        rest = []
        for start, piece in self.pieces:
            stop = start + len(piece)
            if stop > span.start and start < span.stop:
                part = piece[max(span.start - start, 0) : span.stop - start]
                # Pieces that wait elsewhere come back one by one: only a device's own queue knows when they are whole.
                parts.append(part.to(empty.device, non_blocking=True))
            if stop > span.stop:
                if start < span.stop and piece.device == empty.device:
                    # A view would keep the frames that have left alive.
                    start, piece = span.stop, piece[span.stop - start :].clone()
                rest.append((start, piece))
        self.pieces = rest
        if not parts:
            return empty
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _WindowSite:
    """The frames that are neighbours of frames to come."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []
        self.first = self.next = 0
        """Numbers of the first of them, and of the next to go out."""
        self.reach = 0
        self.entered: int | None = None
        """Number of the first frame that ever came."""

    def push(
        self, frames: Sequence[Tensor], span: range, emit_until: int, reach: int, cuts: Set[int]
    ) -> tuple[Window, range]:
        if span:
            if self.entered is None:
                self.entered = self.first = self.next = span.start
            self.frames += frames
        self.reach = reach
        last = self.first + len(self.frames)
        own, before, after = [], [], []
        out = range(self.next, max(self.next, min(emit_until, last)))
        for number in out:
            earlier = self._reach(number, -1, reach, cuts)
            # Entered midway: what lies before the first frame is not known.
            if number - earlier == self.entered and earlier < reach and self.entered not in cuts:
                continue
            own.append(number - self.first)
            before.append(earlier)
            after.append(min(self._reach(number, 1, reach, cuts), last - 1 - number))
        window = Window(frames=list(self.frames), own=own, before=before, after=after)
        if out:
            self.next = out.stop
            gone = max(out.stop - reach - self.first, 0)
            del self.frames[:gone]
            self.first += gone
        return window, range(out.stop - len(own), out.stop)

    def _reach(self, number: int, direction: int, reach: int, cuts: Set[int]) -> int:
        """How many frames, up to ``reach``, lie next to one without a cut between."""
        assert self.entered is not None
        for distance in range(reach):
            at = number + direction * distance
            if (at if direction < 0 else at + 1) in cuts or at + direction < self.entered:
                return distance
        return reach


_Site = _PastSite | _FutureSite | _WaitingSite | _WindowSite


class Pipeline:
    """A `Timeline` that lives across steps. Before each run of the network call `step`.

    Attributes:
        span: numbers of the frames that the main path has now; after a run, those restored.
    """

    def __init__(self, sites: Iterable[_Site] = ()) -> None:
        self._sites = list(sites)
        self._next_site = 0
        self._clock = 0
        self._cuts: Set[int] = frozenset()
        self.span = range(0)

    def step(self, span: range, clock: int, *, cuts: Set[int], length: int | None = None) -> None:
        """Say what the next run gets.

        Args:
            span: numbers of the frames that enter; they continue those of the step before.
            clock: frames numbered below this have entered, or are after the end of the clip.
            cuts: numbers of frames that start a segment, among all those in the pipe.
            length: of the clip, once known.
        """
        self.span, self._clock = span, clock
        self._cuts = cuts if length is None else {*cuts, length}
        self._next_site = 0

    def give_up_sites(self) -> list[_Site]:
        """All sites in the order in which the network comes by; this pipeline has none then."""
        sites, self._sites = self._sites, []
        return sites

    def _site[Site: (_PastSite, _FutureSite, _WaitingSite, _WindowSite)](self, kind: type[Site]) -> Site:
        if self._next_site == len(self._sites):
            self._sites.append(kind())
        site = self._sites[self._next_site]
        self._next_site += 1
        assert isinstance(site, kind)
        return site

    def shift(self, x: Tensor, direction: Direction) -> Tensor:
        if direction is Direction.PAST:
            shifted, self.span = self._site(_PastSite).push(x, self.span, self._cuts)
            return shifted
        self._clock -= 1
        shifted, self.span = self._site(_FutureSite).push(x, self.span, self._clock, self._cuts)
        return shifted

    def shift_lazily(self, x: Tensor, direction: Direction) -> Shifted:
        if direction is Direction.PAST:
            shifted, self.span = self._site(_PastSite).push_lazily(x, self.span, self._cuts)
            return shifted
        self._clock -= 1
        shifted, self.span = self._site(_FutureSite).push_lazily(x, self.span, self._clock, self._cuts)
        return shifted

    def window(self, frames: Sequence[Tensor], reach: int) -> Window:
        self._clock -= reach
        window, self.span = self._site(_WindowSite).push(frames, self.span, self._clock, reach, self._cuts)
        return window

    def keep(self, x: Tensor) -> Waiting:
        site = self._site(_WaitingSite)
        site.push(self._put_aside(x), self.span)
        empty = x[:0]
        return lambda: site.pop(self.span, empty)

    def move_kept(self, move: Callable[[Tensor], Tensor]) -> None:
        """Replace what each shift keeps."""
        for site in self._sites:
            if isinstance(site, _PastSite) and site.tail is not None:
                site.tail = move(site.tail)
            elif isinstance(site, _FutureSite) and site.waiting is not None:
                site.waiting = move(site.waiting)
            elif isinstance(site, _WindowSite):
                site.frames = [move(frame) for frame in site.frames]

    def _put_aside(self, x: Tensor) -> Tensor:
        """Where a skip waits: on the device, as it is."""
        return x
