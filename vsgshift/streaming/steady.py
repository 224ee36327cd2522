"""The streaming timeline while a clip runs: a block goes in, a block comes out, and no shape changes.

Once every site of a `Pipeline` is full, each run takes and gives the same number of frames. From then on the state lies
in tensors that are updated in place, and nothing that a run does depends on a number only the host knows. So a run can
be captured as a CUDA graph, state update included, and replayed (`vsgshift.streaming.graphed`).

Where a waiting skip lies in its ring changes from run to run, while a graph has its addresses fixed. The positions are
in a small tensor on the device: each ring is exactly as long as its skip is late, for one copy of each waiting frame
out of the ring, a hundredth of what the network reads and writes at the skip's resolution. A graph for each position
would need no copy, but rings of a common length that is a multiple of the block.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vsgshift.network.shift import Direction
from vsgshift.network.shifted import EDGE, Shifted
from vsgshift.network.timeline import Waiting, Window
from vsgshift.streaming.pipeline import Pipeline, _FutureSite, _PastSite, _Site, _WaitingSite, _WindowSite


class _Past:
    """The second half of the channels of the last frame seen."""

    def __init__(self, tail: Tensor) -> None:
        self.tail = tail

    def push(self, x: Tensor, held: Tensor) -> Tensor:
        """``held`` (T, 1, 1, 1): whether each frame starts a segment."""
        half = x.shape[1] // 2
        first, second = x[:, :half], x[:, half:]
        shifted = torch.empty_like(x)
        # Straight into place: a concatenation and a choice after it would write everything three times.
        torch.where(held[:1], first[:1], self.tail, out=shifted[:1, :half])
        torch.where(held[1:], first[1:], second[:-1], out=shifted[1:, :half])
        torch.where(held, second, first, out=shifted[:, half:])
        self.remember(x)
        return shifted

    def remember(self, x: Tensor) -> None:
        self.tail.copy_(x[-1:, x.shape[1] // 2 :])

    def as_site(self) -> _PastSite:
        site = _PastSite()
        site.tail = self.tail
        return site


class _Future:
    """The last frame seen, which waits for its successor."""

    def __init__(self, waiting: Tensor) -> None:
        self.waiting = waiting

    def push(self, x: Tensor, held: Tensor) -> Tensor:
        """``held`` (T, 1, 1, 1): whether each incoming frame starts a segment, so that the one before ends one."""
        half = x.shape[1] // 2
        shifted = torch.empty_like(x)
        first, rest = slice(0, 1), slice(1, None)
        for position, own, following in ((first, self.waiting, x[:1]), (rest, x[:-1], x[1:])):
            torch.where(held[position], own[:, :half], own[:, half:], out=shifted[position, :half])
            torch.where(held[position], own[:, half:], following[:, :half], out=shifted[position, half:])
        self.remember(x)
        return shifted

    def remember(self, x: Tensor) -> None:
        self.waiting.copy_(x[-1:])

    def as_site(self) -> _FutureSite:
        site = _FutureSite()
        site.waiting = self.waiting
        return site


class _Delay:
    """Frames of a skip, in a ring as long as the main path is late: a frame takes the position of the one that is due
    in the same run. They lie in it as in memory before, so that taking them out does not change their layout."""

    def __init__(self, site: _WaitingSite, block: int) -> None:
        self.lag = sum(len(piece) for _, piece in site.pieces)
        if not self.lag:
            return
        sample = site.pieces[0][1]
        last = sample.is_contiguous(memory_format=torch.channels_last) and not sample.is_contiguous()
        self.order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
        self.back = (0, 3, 1, 2) if last else (0, 1, 2, 3)
        self.shape = tuple(sample.shape[index] for index in self.order[1:])
        self.ring = sample.new_empty((self.lag, sample[0].numel()))
        position = 0
        while site.pieces:
            _, piece = site.pieces.pop(0)
            self.ring[position : position + len(piece)] = self._flat(piece)
            position += len(piece)
        self.slots = torch.arange(block, device=sample.device)

    def _flat(self, x: Tensor) -> Tensor:
        return x.permute(self.order).reshape(len(x), -1)

    def _shaped(self, flat: Tensor) -> Tensor:
        return flat.view(-1, *self.shape).permute(self.back)

    def exchange(self, x: Tensor) -> Tensor:
        """Put a block in, take out the one that is due."""
        if not self.lag:
            return x
        flat, block = self._flat(x), len(x)
        if self.lag < block:
            due = torch.cat((self.ring, flat[: block - self.lag]))
            self.ring.copy_(flat[block - self.lag :])
        else:
            due = self.ring.index_select(0, self.slots)
            self.ring.index_copy_(0, self.slots, flat)
            self.slots.add_(block).remainder_(self.lag)
        return self._shaped(due)

    def as_site(self, stop: int, runs: int, block: int) -> _WaitingSite:
        """The frames before number ``stop``, after that many runs."""
        site = _WaitingSite()
        if not self.lag:
            return site
        oldest = runs * block % self.lag if self.lag >= block else 0
        start = stop - self.lag
        for part in (self.ring[oldest:], self.ring[:oldest]):
            site.push(self._shaped(part), range(start, start + len(part)))
            start += len(part)
        return site


@dataclass(frozen=True, kw_only=True)
class _HeldWindow(Window):
    """A window whose tensors there are already."""

    held: tuple[Tensor, Tensor, Tensor]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.held


class _Neighbours:
    """The frames of a window in a ring: frame f is in row f modulo its length. The host has the numbers of a run too,
    for a merge that is no part of a graph."""

    def __init__(self, site: _WindowSite, block: int) -> None:
        self.reach, self.entered = site.reach, site.entered
        self.stop = site.first + len(site.frames)
        """Number of the next frame to come."""
        kept = site.frames[0]
        # Of frames before a clip's first there is nothing, and nothing is read.
        self.ring = kept.new_zeros((2 * self.reach + block, *kept.shape))
        for number in range(site.first, self.stop):
            self.ring[number % len(self.ring)] = site.frames.pop(0)
        rows = torch.arange(self.stop - 2 * self.reach - block, self.stop) % len(self.ring)
        self.order = rows.to(self.ring.device, torch.int32)
        self.counts = [[self.reach] * block] * 2
        own = range(self.reach, self.reach + block)
        self.places = torch.tensor((own, *self.counts), dtype=torch.int32).to(self.ring.device)

    def step(self, cuts: Set[int]) -> None:
        """Say how many neighbours the frames have that go out in the next run."""
        block = self.places.shape[1]
        reach, out = self.reach, range(self.stop - self.reach, self.stop - self.reach + block)
        before = [next((away for away in range(reach) if number - away in cuts), reach) for number in out]
        after = [next((away for away in range(reach) if number + away + 1 in cuts), reach) for number in out]
        if [before, after] != self.counts:
            self.counts = [before, after]
            _send(torch.tensor(self.counts, dtype=torch.int32), self.places[1:])
        self.stop += block

    def exchange(self, frames: Sequence[Tensor]) -> Window:
        self.order.add_(len(frames)).remainder_(len(self.ring))
        self.ring.index_copy_(0, self.order[-len(frames) :].long(), torch.stack(tuple(frames)))
        own = range(self.reach, self.reach + len(frames))
        before, after = self.counts
        return _HeldWindow(
            frames=self._frames(self.stop - len(self.ring)),
            own=own,
            before=before,
            after=after,
            held=(self.ring, self.order, self.places),
        )

    def _frames(self, start: int) -> list[Tensor]:
        return [self.ring[number % len(self.ring)] for number in range(start, self.stop)]

    def as_site(self) -> _WindowSite:
        site = _WindowSite()
        assert self.entered is not None
        site.reach, site.entered = self.reach, self.entered
        site.next = self.stop - self.reach
        site.first = max(site.next - self.reach, self.entered)
        site.frames = self._frames(site.first)
        return site


def _send(numbers: Tensor, to: Tensor) -> None:
    # Page-locked, and so copied when the device gets there; torch keeps it until then.
    to.copy_(numbers.pin_memory() if to.is_cuda else numbers, non_blocking=True)


class SteadyTimeline:
    """Takes over from a `Pipeline` whose last run gave a whole block. Before each run of the network call `step`, then
    `begin`.

    All its tensors stay where they are. `begin`, `shift` and `keep` leave nothing on the host that the next run depends
    on; `step` alone does, and is no part of what may be captured. ``span`` are the numbers of the frames that the last
    run restored.
    """

    def __init__(self, pipeline: Pipeline, block: int) -> None:
        if len(pipeline.span) != block:
            raise ValueError(f"the pipeline gave {len(pipeline.span)} frames, not a block of {block}: it is not full")
        self.block, self.span = block, pipeline.span
        sites = pipeline.give_up_sites()
        self.lateness = sum(map(_lateness, sites))
        self._entered = self.span.stop + self.lateness
        self._runs = 0
        self._sites: list[_Past | _Future | _Delay | _Neighbours] = []
        while sites:
            # One at a time: the skips of the pipeline go as those here come, so that memory never holds both.
            self._sites.append(_moved(sites.pop(0), block))
        self._next_site = self._passed = 0
        device = next(site.waiting.device for site in self._sites if isinstance(site, _Future))
        self._itself = torch.arange(block, dtype=torch.int32, device=device)
        self._before = self._itself - 1
        assert EDGE == -1
        self._known = [False] * (self.lateness + block)
        self._flags = torch.zeros(len(self._known), dtype=torch.bool, device=device)
        # Each future shift makes the main path one frame later, a window as many as it reaches.
        self._held = [
            self._flags[self.lateness - passed :][:block].view(-1, 1, 1, 1) for passed in range(self.lateness + 1)
        ]

    def step(self, cuts: Set[int]) -> None:
        """Say what the next run gets: a block of frames, and which frames in the pipe start a segment."""
        numbers = range(self._entered - self.lateness, self._entered + self.block)
        flags = [number in cuts for number in numbers]
        if flags != self._known:
            self._known = flags
            _send(torch.tensor(flags), self._flags)
        for site in self._sites:
            if isinstance(site, _Neighbours):
                site.step(cuts)
        self._entered += self.block
        self._runs += 1
        self.span = range(self.span.stop, self.span.stop + self.block)

    def begin(self) -> None:
        """The network starts a run."""
        self._next_site = self._passed = 0

    def shift(self, x: Tensor, direction: Direction) -> Tensor:
        held = self._held[self._passed]
        if direction is Direction.PAST:
            return self._site(_Past).push(x, held)
        self._passed += 1
        return self._site(_Future).push(x, held)

    def shift_lazily(self, x: Tensor, direction: Direction) -> Shifted:
        held = self._held[self._passed].flatten()
        if direction is Direction.PAST:
            past = self._site(_Past)
            edge, own, neighbour, remember = past.tail, self._itself, self._before, past.remember
        else:
            self._passed += 1
            future = self._site(_Future)
            edge, own, neighbour, remember = future.waiting, self._before, self._itself, future.remember
        return Shifted(
            direction=direction,
            frames=x,
            edge=edge,
            own=own,
            neighbour=neighbour,
            held=held,
            # The edge is this state, so that it must not change before it has been read.
            done=partial(remember, x),
        )

    def window(self, frames: Sequence[Tensor], reach: int) -> Window:
        self._passed += reach
        return self._site(_Neighbours).exchange(frames)

    def keep(self, x: Tensor) -> Waiting:
        site = self._site(_Delay)
        return lambda: site.exchange(x)

    def hand_back(self) -> Pipeline:
        """A pipeline in the same state, to which all state moves."""
        sites: list[_Site] = []
        stop = self._entered
        for site in self._sites:
            if isinstance(site, _Delay):
                sites.append(site.as_site(stop, self._runs, self.block))
            else:
                sites.append(site.as_site())
                stop -= _lateness(sites[-1])
        self._sites = []
        return Pipeline(sites)

    def _site[Kind: (_Past, _Future, _Delay, _Neighbours)](self, kind: type[Kind]) -> Kind:
        site = self._sites[self._next_site]
        self._next_site += 1
        assert isinstance(site, kind)
        return site


def _lateness(site: _Site) -> int:
    """Frames by which the main path is later after a site."""
    return site.reach if isinstance(site, _WindowSite) else int(isinstance(site, _FutureSite))


def _moved(site: _Site, block: int) -> _Past | _Future | _Delay | _Neighbours:
    if isinstance(site, _WaitingSite):
        return _Delay(site, block)
    if isinstance(site, _WindowSite):
        return _Neighbours(site, block)
    if isinstance(site, _PastSite):
        assert site.tail is not None
        return _Past(site.tail)
    assert isinstance(site, _FutureSite)
    assert site.waiting is not None
    assert len(site.waiting) == 1
    return _Future(site.waiting)
