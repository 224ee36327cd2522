"""The schedule, without VapourSynth and without a network: every frame comes once and right, in whatever order.

A source frame is its number here, and a restored frame is the range of source frames that it was made from: those
within the radius, of its scene. The stream below gives what `vsgshift.streaming.Stream` gives, and when.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from vsgshift.plugin.schedule import CLIP, MOST_SPARE, Key, Run, Schedule

RADIUS = 3
LENGTHS = (*range(1, 18), *range(21, 49, 9))
"""All up to two radii and the longest block more than the shortest, and some."""


@dataclass
class Stream:
    """Restored frames from blocks of source frames; numbers count from the clip's start."""

    block: int
    start: int
    stop: int
    """The end of what was pushed."""
    given: int
    """The frame that comes out next."""
    cuts: list[int]

    def push(self, numbers: range, cuts: list[bool]) -> range:
        assert numbers.start == self.stop
        self.stop = numbers.stop
        self.cuts += [number for number, cut in zip(numbers, cuts, strict=True) if cut]
        if self.start and self.given == self.start + RADIUS:
            # The first scene that is seen from its start may begin before that.
            self.given = min([self.given, *self.cuts])
        entered = self.stop - (self.stop - self.start) % self.block
        return self._give(entered - RADIUS)

    def finish(self) -> range:
        return self._give(self.stop)

    def _give(self, stop: int) -> range:
        given = range(self.given, max(stop, self.given))
        self.given = given.stop
        return given

    def made_from(self, n: int) -> range:
        """The source frames of a restored one."""
        first = max([number for number in self.cuts if number <= n], default=self.start)
        last = min([number for number in self.cuts if number > n], default=self.stop)
        return range(max(n - RADIUS, first), min(n + RADIUS + 1, last))


@dataclass
class Host:
    """Requests as VapourSynth makes them, several at a time, and the delivery of frames.

    Frames that are fetched come in any order; those of ``broken`` fail, and with them the requests that wait for them.
    """

    length: int
    block: int = 4
    inputs: int = 1
    ahead: int = 0
    parallel: int = 1
    cuts: frozenset[int] = frozenset()
    broken: set[Key] = field(default_factory=set)
    seed: int = 0

    def __post_init__(self) -> None:
        self.schedule: Schedule[int, range] = Schedule(
            length=self.length,
            radius=RADIUS,
            block=self.block,
            inputs=self.inputs,
            ahead=self.ahead,
            parallel=self.parallel,
            # A cut is marked on the frame before it or after it.
            scene_marks=lambda n: (n in self.cuts and n % 2 == 0, n + 1 in self.cuts and n % 2 == 0),
        )
        self.asked: Counter[Key] = Counter()
        self.begun: list[int] = []
        self.pushed: Counter[int] = Counter()
        self.restored: Counter[int] = Counter()
        self.stream: Stream | None = None
        self.outputs: list[tuple[int, range]] = []
        self.rng = random.Random(self.seed)
        self.ready = threading.Lock()

    def right(self, n: int) -> range:
        """What frame n should be made from."""
        first = max([0, *(cut for cut in self.cuts if cut <= n)])
        last = min([self.length, *(cut for cut in self.cuts if cut > n)])
        return range(max(n - RADIUS, first), min(n + RADIUS + 1, last))

    def play(self, order: Iterable[int]) -> list[int]:
        """Request frames in this order, `parallel` at a time, and check each. Returns those that failed."""
        waiting = list(order)[::-1]
        under_way: dict[int, list[Key]] = {}
        failed = []

        def answered(n: int, answer: range | list[Key]) -> None:
            if isinstance(answer, range):
                assert answer == self.right(n), n
            else:
                under_way[n] = answer

        while waiting or under_way:
            while waiting and len(under_way) < self.parallel:
                # VapourSynth makes one of several requests for the same frame.
                if (n := waiting.pop()) not in under_way:
                    answered(n, self.request(n))
            if under_way:
                n = self.rng.choice(list(under_way))
                keys = under_way.pop(n)
                if self.broken & set(keys):
                    self.schedule.source_failed(n)
                    failed.append(n)
                else:
                    answered(n, self.arrive(n, keys))
        return failed

    def request(self, n: int) -> range | list[Key]:
        return self._counted(self.schedule.request(n))

    def arrive(self, n: int, keys: list[Key]) -> range | list[Key]:
        with self.ready:
            answer = self.schedule.arrive(n, {key: key[1] for key in keys})
            if isinstance(answer, Run):
                self.run(answer)
                return self.schedule.complete(n, self.receive(n))
        return self._counted(answer)

    def _counted(self, answer: range | list[Key]) -> range | list[Key]:
        if isinstance(answer, list):
            assert answer
            assert all(0 <= number < self.length and 0 <= each < self.inputs for each, number in answer)
            self.asked.update(answer)
        return answer

    def run(self, run: Run[int]) -> None:
        if run.begin is not None:
            self.begun.append(run.begin)
            self.outputs.clear()
            first = run.begin + RADIUS if run.begin else 0
            self.stream = Stream(self.block, run.begin, run.begin, first, [0] if run.begin == 0 else [])
        for push in run.pushes:
            assert self.stream is not None
            assert all(frames == list(push.numbers) for frames in push.inputs)
            assert len(push.inputs) == self.inputs
            assert 0 < len(push.numbers) <= self.block
            self.pushed.update(push.numbers)
            self.keep(self.stream.push(push.numbers, push.cuts), self.length)
        if run.finish:
            assert self.stream is not None
            self.keep(self.stream.finish(), run.end)
            self.stream = None

    def keep(self, numbers: range, end: int) -> None:
        assert self.stream is not None
        self.restored.update(numbers)
        self.outputs += [(n, self.stream.made_from(n)) for n in numbers if n < end]

    def receive(self, n: int) -> dict[int, range]:
        """As the restorer does: the block with frame n and those before it."""
        count = next((index for index, (number, _) in enumerate(self.outputs) if number > n), len(self.outputs))
        count += -count % self.block
        taken, self.outputs = self.outputs[:count], self.outputs[count:]
        return dict(taken)


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("block", [1, 2, 4, 7])
@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_in_order_each_frame_is_fetched_pushed_and_restored_once(block: int, ahead: int, parallel: int) -> None:
    for length in LENGTHS:
        host = Host(length, block=block, ahead=ahead, inputs=2)
        assert host.play(range(length)) == []
        assert host.begun == [0]
        assert host.restored == Counter(range(length))
        assert host.pushed == Counter(range(length))
        # Without asking, `arrive` would not be called: a frame that is restored and not fetched yet asks again.
        assert set(host.asked) == {(each, number) for each in range(2) for number in range(length)}
        host = Host(length, block=block, ahead=ahead, parallel=parallel, seed=length)
        assert host.play(range(length)) == []
        assert host.begun == [0]
        assert host.restored == Counter(range(length))


ORDERS: dict[str, Callable[[int, random.Random], list[int]]] = {
    "backwards": lambda length, rng: list(range(length))[::-1],
    "every third": lambda length, rng: list(range(0, length, 3)),
    "shuffled": lambda length, rng: rng.sample(range(length), length),
    "again and again": lambda length, rng: [*range(length)] * 2,
    "seeking": lambda length, rng: [n for _ in range(6) for n in range(rng.randrange(length), length)[:9]],
    "two positions": lambda length, rng: [
        n for pair in zip(range(length), range(length)[::-1], strict=True) for n in pair
    ],
    "random": lambda length, rng: rng.choices(range(length), k=2 * length),
}


@pytest.mark.parametrize("block", [1, 3, 4])
@pytest.mark.parametrize("order", ORDERS)
def test_in_any_order_each_frame_is_right(order: str, block: int) -> None:
    for length in LENGTHS:
        rng = random.Random(length)
        cuts = frozenset(rng.sample(range(1, length), min(rng.randrange(4), length - 1)) if length > 1 else ())
        for ahead, parallel in ((0, 1), (1, 1), (0, 4), (1, 9)):
            host = Host(length, block=block, ahead=ahead, parallel=parallel, cuts=cuts, inputs=2, seed=length)
            assert host.play(ORDERS[order](length, rng)) == []


def test_backwards_costs_a_stream_for_a_radius_of_frames() -> None:
    host = Host(200)
    host.play(range(199, -1, -1))
    assert len(host.begun) <= 200 / RADIUS


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("block", [1, 4, 8])
def test_a_broken_source_frame_fails_its_neighbours_for_as_long_as_it_is_broken(
    block: int, ahead: int, parallel: int
) -> None:
    length, bad = 90, 40
    broken = {(CLIP, bad)}
    depending = [n for n in range(length) if abs(n - bad) <= RADIUS]
    for order in ([*range(length)], [*range(length)][::-1]):
        host = Host(length, block=block, ahead=ahead, parallel=parallel, broken=set(broken))
        failed = host.play(order)
        # What is read ahead of what a frame depends on, or before it on the way back, can fail that frame, once.
        reach = RADIUS + max((1 + ahead) * block, RADIUS) + parallel
        assert set(depending) <= set(failed) <= {n for n in range(length) if abs(n - bad) <= reach}
        assert sorted(host.play(order)) == depending
        host.broken.clear()
        assert host.play(order) == []
        assert host.play(range(length)) == []


def test_sources_that_fail_now_and_then_change_no_frame() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        host = Host(40, parallel=1 + seed % 4, inputs=2, ahead=seed % 2, seed=seed)
        order = rng.sample(range(40), 40) if seed % 3 else list(range(40))
        for _ in range(200):
            host.broken = {(rng.randrange(2), rng.randrange(40)) for _ in range(2)}
            if not (order := host.play(order)):
                break
        assert not order


def test_failures_keep_no_memory() -> None:
    host = Host(3001, parallel=3, broken={(CLIP, n) for n in range(0, 3001, 5)})
    assert sorted(host.play(range(3001))) == list(range(3001))
    assert len(host.schedule.clear()) <= 2 * RADIUS + 2 * host.block + MOST_SPARE
    host.broken.clear()
    assert host.play(range(100)) == []


def test_a_run_that_fails_takes_the_stream_with_it_and_nothing_else() -> None:
    host = Host(30)
    host.play(range(10))
    n = 14
    answer: Any = host.schedule.request(n)
    while isinstance(answer, list):
        answer = host.schedule.arrive(n, {key: key[1] for key in answer})
    assert isinstance(answer, Run)
    host.outputs.clear()
    host.schedule.run_failed(n)
    assert host.play(range(30)) == []
    assert len(host.begun) == 2


@pytest.mark.parametrize("seed", range(6))
def test_requests_in_many_threads(seed: int) -> None:
    """Requests of different frames side by side, and beside the work of another."""
    rng = random.Random(seed)
    host = Host(120, parallel=8, inputs=2, ahead=seed % 2, cuts=frozenset({31, 64}))
    order = rng.sample(range(120), 120) if seed % 2 else list(range(120))

    def get(n: int) -> None:
        answer = host.request(n)
        while isinstance(answer, list):
            answer = host.arrive(n, answer)
        assert answer == host.right(n)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(get, order * 5))
    finally:
        sys.setswitchinterval(interval)


@cache
def until() -> float:
    """When hypothesis shall have ended, from its first example on."""
    return time.monotonic() + 120


@pytest.mark.slow
@settings(max_examples=2000)
@given(
    some.tuples(
        some.integers(1, 60), some.integers(1, 8), some.integers(1, 2), some.integers(0, 1), some.integers(1, 6)
    ),
    some.frozensets(some.integers(1, 59), max_size=3),
    some.lists(
        some.tuples(
            some.frozensets(some.tuples(some.integers(0, 1), some.integers(0, 59)), max_size=4),
            some.lists(some.integers(0, 59), min_size=1, max_size=30),
        ),
        min_size=1,
        max_size=5,
    ),
    some.integers(0, 99),
)
def test_whatever_fails_harms_its_neighbours_alone_and_for_as_long_as_it_fails(
    filter: tuple[int, int, int, int, int],
    cuts: frozenset[int],
    times: list[tuple[frozenset[Key], list[int]]],
    seed: int,
) -> None:
    """Requests in any order, several at a time, while other frames of the sources fail each time; `play` compares what
    comes with what a clean run gives."""
    if time.monotonic() > until():
        return
    length, block, inputs, ahead, parallel = filter
    host = Host(length, block=block, inputs=inputs, ahead=ahead, parallel=parallel, cuts=cuts, seed=seed)
    for turn, (broken, order) in enumerate(times):
        host.broken = {(each, number) for each, number in broken if each < inputs and number < length}
        order = [number for number in order if number < length]
        depending = {n for n in order if any(abs(n - number) <= RADIUS for _, number in host.broken)}
        failed = host.play(order)
        # Later, what has been fetched before is there still.
        assert turn or depending <= {*failed}
        # What was read ahead, or on the way back, fails others once.
        others = [n for n in failed if n not in depending]
        for _ in host.broken:
            others = host.play(others)
        assert others == []
