"""Which source frames to fetch and to push for the frames that are requested, in whatever order the requests come.

A restored frame n depends on the source frames n - R to n + R of its scene. In order, each run of the stream takes
one block of source frames and gives one block of restored ones; those are stored until they are requested. A request
far ahead, or before what is still stored, begins a new stream R frames before it, which gives the same frames.

Source frames that failed are remembered as doubtful: nothing but a frame that depends on one asks for it again, so
that one broken frame of a source fails its neighbours alone, and them only for as long as it fails.

This is bookkeeping: frames are of any type, and nothing here waits, computes or knows VapourSynth.

The rule of the lock: every public method holds it from beginning to end, and nothing outside this file touches what it
guards. `scene_marks` is called with the lock held and must not call back.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CLIP, SIGMA_MAP = 0, 1
"""The inputs of the filter."""
MOST_DOUBTFUL = 1024
"""Source frames that are remembered as doubtful."""
MOST_SPARE = 64
"""Source frames that are kept beside those that two blocks and the frames around them need."""
type Key = tuple[int, int]
"""Input of the filter and frame number."""


@dataclass(frozen=True, kw_only=True)
class Push[Source]:
    """A block of source frames, or the rest of the clip, for the stream."""

    numbers: range
    inputs: tuple[list[Source], ...]
    """The frames of each input."""
    cuts: list[bool]
    """For each frame, whether it starts a scene."""


@dataclass(frozen=True, kw_only=True)
class Run[Source]:
    """What the stream has to do for a frame, in this order."""

    begin: int | None
    """A new stream begins at this source frame, 0 being the clip's start; None: go on with the stream there is."""
    pushes: list[Push[Source]]
    finish: bool
    """The stream ends after them."""
    end: int
    """Restored frames from this number on are not to be used: the stream ends, but not the clip."""


@dataclass(frozen=True)
class _Plan:
    """Source frames to push for a request: those from ``start`` on, up to ``stop``."""

    restart: bool
    start: int
    stop: int


class Schedule[Source, Restored]:
    """The schedule of one stream.

    Args:
        length: frames of the clip.
        radius: R, frames before and after that a restored frame depends on.
        block: frames per run of the network.
        inputs: of the filter, each of which gives a source frame for every frame.
        ahead: blocks worth pushing beyond those that a frame needs.
        parallel: requests that may come at a time.
        scene_marks: of a source frame of the clip, whether it is marked as the first and as the last of a scene.
    """

    def __init__(
        self,
        *,
        length: int,
        radius: int,
        block: int,
        inputs: int,
        ahead: int,
        parallel: int,
        scene_marks: Callable[[Source], tuple[bool, bool]],
    ) -> None:
        self._length, self._radius, self._block, self._inputs = length, radius, block, range(inputs)
        self._ahead, self._parallel, self._scene_marks = ahead, parallel, scene_marks
        self._lock = threading.Lock()

        self._open = False
        """A stream goes on: there is more to push."""
        self._start = 0
        """The first source frame of the stream."""
        self._next_input = 0
        self._next_output = 0
        """No frame before this one comes out of the stream any more."""
        self._end = 0
        """If the stream is finished: the first frame that did not come out of it."""
        self._scene_ended = False
        """The last frame pushed ends a scene."""
        self._last_restored = 0

        self._sources: dict[Key, Source] = {}
        self._store: OrderedDict[int, Restored] = OrderedDict()
        self._requests: dict[int, list[Key]] = {}
        """Requests without an answer, by frame number, and the source frames that each has asked for last."""
        self._under_way: set[Key] = set()
        self._doubtful: dict[Key, None] = {}

    def request(self, n: int) -> Restored | list[Key]:
        """Frame n has been requested. Returns it if it is stored, else source frames to ask for, at least one."""
        with self._lock:
            if (frame := self._stored(n)) is not None:
                return frame
            self._requests.setdefault(n, [])
            missing = self._missing(self._plan(n))
            own = [key for key in missing if key not in self._under_way]
            # If others have asked for all of it, the last frame that n depends on says when theirs are there.
            last = min(n + self._radius, self._length - 1)
            waiting = [key for key in missing if key[1] <= last][-len(self._inputs) :]
            return self._request(n, own or waiting or [(CLIP, last)])

    def arrive(self, n: int, frames: Mapping[Key, Source]) -> Restored | list[Key] | Run[Source]:
        """The source frames that n has asked for have come.

        Returns:
            Frame n, or source frames to ask for, or what to run before `complete` is called.
        """
        with self._lock:
            for key, source in frames.items():
                self._sources[key] = source
                self._under_way.discard(key)
                self._doubtful.pop(key, None)
            if (frame := self._stored(n)) is not None:
                return frame
            plan = self._plan(n)
            if missing := self._missing(plan):
                return self._request(n, missing)
            self._last_restored = n
            return self._begin(plan, n)

    def complete(self, n: int, restored: Mapping[int, Restored]) -> Restored:
        """Frames have come out of the stream, n among them or stored before. Returns n."""
        with self._lock:
            self._store.update(restored)
            if restored:
                self._next_output = max(restored) + 1
            frame = self._stored(n)
            self._evict()
        if frame is None:
            raise RuntimeError(f"frame {n} was not restored; please report this")
        return frame

    def source_failed(self, n: int) -> None:
        """A source frame that n has asked for has failed, which one is not known, and n with it."""
        with self._lock:
            for key in self._requests.pop(n, []):
                self._under_way.discard(key)
                if key not in self._sources:
                    self._doubtful[key] = None
            _delete(self._doubtful, list(self._doubtful)[:-MOST_DOUBTFUL])
            self._evict()

    def run_failed(self, n: int) -> None:
        """The run for frame n has failed, and n with it: the stream and what would have come out of it are gone."""
        with self._lock:
            self._requests.pop(n, None)
            self._open = False
            self._next_output = self._end = 0

    def clear(self) -> list[Source | Restored]:
        """Forget everything; returns all frames."""
        with self._lock:
            frames: list[Source | Restored] = [*self._sources.values(), *self._store.values()]
            self._sources.clear()
            self._store.clear()
            self._open = False
            self._end = 0
        return frames

    # With the lock held

    def _stored(self, n: int) -> Restored | None:
        frame = self._store.get(n)
        if frame is not None:
            self._store.move_to_end(n)
            self._requests.pop(n, None)
        return frame

    def _request(self, n: int, keys: list[Key]) -> list[Key]:
        self._requests[n] = keys
        self._under_way.update(keys)
        return keys

    def _missing(self, plan: _Plan) -> list[Key]:
        numbers = range(plan.start, plan.stop)
        return [(each, number) for number in numbers for each in self._inputs if (each, number) not in self._sources]

    def _is_doubtful(self, number: int) -> bool:
        return any((each, number) in self._doubtful for each in self._inputs)

    def _plan(self, n: int) -> _Plan:
        """What has to be pushed for frame n."""
        nothing = _Plan(False, self._next_input, self._next_input)
        if not self._open and self._next_output <= n < self._end:
            return nothing
        between = sum(1 for number in self._requests if self._next_output <= number < n)
        reach = self._next_output + self._radius + self._block + between
        skipped = range(self._next_input, n - self._radius)
        if self._open and self._next_output <= n <= reach and not any(map(self._is_doubtful, skipped)):
            return _Plan(False, self._next_input, self._stop(n, self._start, self._next_input))
        # Who steps backwards will request the frames before this one next.
        backwards = 0 < self._last_restored - n <= self._block + self._radius
        first = max(n - self._radius, 0) if backwards else n
        # Requests that came together and lie just before this one are served by the same start.
        while first - 1 in self._requests:
            first -= 1
        start = max(first - self._radius, 0)
        needed = max(n - self._radius, 0)
        start = next((number + 1 for number in reversed(range(start, needed)) if self._is_doubtful(number)), start)
        return _Plan(True, start, self._stop(n, start, start))

    def _stop(self, n: int, start: int, next_input: int) -> int:
        """The end of the source frames to push for n, in whole blocks from the stream's start.

        Less than a block if one that n does not depend on is doubtful; then the stream will end there.
        """
        needed = n + self._radius + 1
        blocks = -(-(needed - start) // self._block) + self._ahead
        stop = min(start + blocks * self._block, self._length)
        for number in range(max(needed, next_input), stop):
            if self._is_doubtful(number):
                whole = number - (number - start) % self._block
                return whole if whole >= needed else number
        return stop

    def _begin(self, plan: _Plan, n: int) -> Run[Source]:
        """The run of a plan whose source frames are there; from now on the schedule counts on it."""
        begin = None
        if plan.restart:
            begin = self._restart(plan, n)
        block, first = self._block, self._next_input
        stops = range(first, plan.stop, block)
        pushes = [self._push(range(number, min(number + block, plan.stop))) for number in stops]
        self._next_input = max(first, plan.stop)
        # The stream holds back less than a block until it is finished.
        partial = (self._next_input - self._start) % block > 0
        finish = self._open and (self._next_input == self._length or partial)
        if finish:
            self._open = False
            self._end = self._length if self._next_input == self._length else self._next_input - self._radius
        return Run(begin=begin, pushes=pushes, finish=finish, end=self._end if finish else self._length)

    def _restart(self, plan: _Plan, n: int) -> int:
        """Begin a stream such that frame n and those before it, back to the plan's, come out. Returns its start."""
        first = min(plan.start + self._radius, n) if plan.start else 0
        cut = plan.start
        ended = False
        for number in range(plan.start, first + 1):
            starts, ends = self._scene_marks(self._sources[CLIP, number])
            if number > plan.start and (starts or ended):
                cut = number
            ended = ends
        # Nothing before the last cut matters; whole blocks of it need not be pushed.
        start = plan.start + (cut - plan.start) // self._block * self._block
        self._open = True
        self._start = self._next_input = start
        self._next_output = cut if cut > plan.start else first
        self._scene_ended = start > plan.start and self._scene_marks(self._sources[CLIP, start - 1])[1]
        return start

    def _push(self, numbers: range) -> Push[Source]:
        cuts = []
        for number in numbers:
            starts, ends = self._scene_marks(self._sources[CLIP, number])
            cuts.append(starts or self._scene_ended)
            self._scene_ended = ends
        inputs = tuple([self._sources[each, number] for number in numbers] for each in self._inputs)
        return Push(numbers=numbers, inputs=inputs, cuts=cuts)

    def _evict(self) -> None:
        """Forget what is least likely to be requested again."""
        room = 2 * self._block + self._parallel
        surplus = [number for number in self._store if number not in self._requests]
        _delete(self._store, surplus[: max(len(self._store) - room, 0)])
        if self._open:
            _delete(self._sources, [key for key in self._sources if self._start <= key[1] < self._next_input])
        spare = len(self._sources) - len(self._inputs) * (2 * self._radius + 2 * self._block + MOST_SPARE)
        _delete(self._sources, list(self._sources)[: max(spare, 0)])


def _delete[K](mapping: dict[K, Any], keys: Iterable[K]) -> None:
    for key in keys:
        del mapping[key]
