"""The steady state, and a CUDA graph of it, give what the pipeline gives, bit for bit."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from standin import lively
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vsgshift.network import VARIANTS, ShiftNet, Variant
from vsgshift.network.merge import Merge
from vsgshift.network.shift import Direction
from vsgshift.network.timeline import LazyTimeline, Waiting, Window
from vsgshift.streaming import Stream
from vsgshift.streaming.graphed import WARM_UP, GraphedStep, device_lock
from vsgshift.streaming.pipeline import Pipeline
from vsgshift.streaming.steady import SteadyTimeline
from vsgshift.streaming.stream import Execution

NAMES = list(VARIANTS)


def narrow(name: str) -> Variant:
    """A variant with all its peculiarities and as few channels, frame-UNets, blocks and shifts as it can have."""
    variant = VARIANTS[name]
    return replace(
        variant,
        width=8,
        core_width=16,
        unet_step=4,
        unets=min(variant.unets, 1),
        steps=2,
        reduction=2,
        merge=min(variant.merge, 2),
        encoder_cabs=tuple(min(count, 2 - bool(level)) for level, count in enumerate(variant.encoder_cabs)),
        encoder_blocks=tuple(min(count, 1) for count in variant.encoder_blocks),
        decoder_blocks=tuple(1 for _ in variant.decoder_blocks),
    )


def network_of(name: str) -> ShiftNet:
    torch.manual_seed(3)
    return lively(ShiftNet(narrow(name)))


@pytest.fixture(scope="module")
def tiny() -> ShiftNet:
    return network_of("deblur-tiny")


def clip_for(network: ShiftNet, length: int) -> tuple[Tensor, Tensor | None]:
    size = network.variant.multiple
    clip = torch.rand(length, 3, size, 2 * size)
    noise = torch.rand(length, 1, size, 2 * size) * 0.2 if network.variant.task == "denoise" else None
    return clip, noise


def streamed(
    network: ShiftNet, clip: Tensor, noise: Tensor | None, cuts: set[int], block: int, execution: Execution, **more: Any
) -> tuple[Tensor, Stream]:
    stream = Stream(network, block=block, execution=execution, **more)
    parts = []
    for first in range(0, len(clip), block):
        part = slice(first, first + block)
        flags = [number in cuts for number in range(len(clip))[part]]
        parts.append(stream.push(clip[part], None if noise is None else noise[part], flags))
    steady = stream._steady
    assert (steady is not None) == (execution == "steady")
    if steady is not None:
        assert steady._runs >= 2
    return torch.cat([*parts, stream.finish()]), stream


def assert_same_stream(network: ShiftNet, length: int, cuts: set[int], block: int, **more: Any) -> None:
    clip, noise = clip_for(network, length)
    expected, plain = streamed(network, clip, noise, cuts, block, "pipeline", **more)
    actual, stream = streamed(network, clip, noise, cuts, block, "steady", **more)
    assert torch.equal(actual, expected)
    assert stream.restored == plain.restored
    assert (expected - clip[-len(expected) :]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_variant(name: str) -> None:
    network = network_of(name)
    radius, block = network.radius, 3
    # Cuts as the pipeline fills, as the steady state takes over, in it, in pairs, and as it ends.
    length = 4 * radius + 2 * block + 1
    cuts = {3, 2 * radius + 1, 3 * radius, 3 * radius + 1, length - 2}
    assert_same_stream(network, length, cuts, block)


@pytest.mark.parametrize("block", [1, 2, 4, 5])
def test_blocks_shorter_and_longer_than_skips_are_late(tiny: ShiftNet, block: int) -> None:
    length = 3 * tiny.radius + 3 * block + 1
    for cuts in (
        {2 * tiny.radius + block},
        {number for number in range(length) if random.Random(number).random() < 0.3},
    ):
        assert_same_stream(tiny, length, cuts, block)


def test_a_cut_at_every_frame(tiny: ShiftNet) -> None:
    block, length = 4, 7 * tiny.radius
    for every in range(2, block + 2):
        assert_same_stream(tiny, length, set(range(1, length, every)), block)
    assert_same_stream(tiny, length, set(range(length)), block)


def test_entered_midway(tiny: ShiftNet) -> None:
    for cuts in (set[int](), {2}, {4 * tiny.radius}):
        assert_same_stream(tiny, 5 * tiny.radius + 2, cuts, 3, midway=True)


class Lazy:
    """A timeline that asks for lazy shifts and carries them out at once, as fused kernels do."""

    def __init__(self, timeline: LazyTimeline) -> None:
        self.timeline, self.shifts = timeline, 0

    def shift(self, x: Tensor, direction: Direction) -> Tensor:
        lazy = self.timeline.shift_lazily(x, direction)
        shifted = lazy.whole()
        lazy.done()
        self.shifts += 1
        return shifted

    def keep(self, x: Tensor) -> Waiting:
        return self.timeline.keep(x)


@pytest.mark.parametrize("block", [1, 3])
def test_lazy_shifts_equal_shifts_carried_out(tiny: ShiftNet, block: int) -> None:
    driven = Driven(tiny, block, None)
    timeline = driven.timeline
    assert isinstance(timeline, LazyTimeline)
    lazy = Lazy(timeline)

    def step(frames: Tensor, noise: Tensor | None) -> Tensor:
        timeline.begin()
        return tiny.run(frames, noise, lazy)

    driven.step = step
    actual = driven.run(6)
    for restored, reference in zip(actual, Driven(tiny, block, None).run(6), strict=True):
        assert torch.equal(restored, reference)
    assert lazy.shifts == 6 * 2 * tiny.radius


def test_odd_sizes_and_strength(tiny: ShiftNet) -> None:
    clip = torch.rand(19, 3, 7, 9)
    for layout in (torch.contiguous_format, torch.channels_last):
        source = clip.contiguous(memory_format=layout)
        expected, _ = streamed(tiny, source, None, {13}, 4, "pipeline", strength=0.5)
        actual, _ = streamed(tiny, source, None, {13}, 4, "steady", strength=0.5)
        assert torch.equal(actual, expected)


def test_half_precision() -> None:
    network = network_of("denoise-tiny").to(torch.bfloat16)
    clip, noise = clip_for(network, 6 * network.radius)
    assert noise is not None
    results = [
        streamed(network, clip.bfloat16(), noise.bfloat16(), {9}, 4, execution)[0]
        for execution in ("pipeline", "steady")  # type: ignore[misc]
    ]
    assert torch.equal(*results)


def tensors_of(timeline: SteadyTimeline) -> list[Tensor]:
    actual = [timeline._flags]
    for site in timeline._sites:
        actual += [value for value in vars(site).values() if isinstance(value, Tensor)]
    return actual


def test_state_stays_where_it_is(tiny: ShiftNet) -> None:
    stream = Stream(tiny, block=4, execution="steady")
    addresses = []
    for number in range(12):
        stream.push(torch.rand(4, 3, 16, 16), cuts=[number % 5 == 0, False, False, False])
        if stream._steady is not None:
            addresses.append([(tensor.data_ptr(), tensor.nbytes) for tensor in tensors_of(stream._steady)])
    assert len(addresses) > 8
    assert all(address == addresses[0] for address in addresses)


def test_rings_are_as_long_as_their_skips_are_late(tiny: ShiftNet) -> None:
    stream = Stream(tiny, block=4, execution="steady")
    for _ in range(2 * tiny.radius):
        stream.push(torch.rand(4, 3, 16, 16))
    assert stream._steady is not None
    radius = tiny.radius
    lags = sorted(site.lag for site in stream._steady._sites if hasattr(site, "lag"))
    assert lags == [1, radius, radius, radius]
    state = sum(tensor.nbytes for tensor in tensors_of(stream._steady))
    plain = Stream(tiny, block=4, execution="pipeline")
    for _ in range(2 * tiny.radius):
        plain.push(torch.rand(4, 3, 16, 16))
    held = 0
    for site in plain._pipeline._sites:
        for value in vars(site).values():
            pieces = value if isinstance(value, list) else [(0, value)]
            held += sum(piece.nbytes for _, piece in pieces)
    assert state <= held + 1024


def test_a_pipeline_that_is_not_full_is_refused() -> None:
    with pytest.raises(ValueError, match="not full"):
        SteadyTimeline(Pipeline(), 4)


# A graph, replayed by a stand-in for torch.cuda


class Recorder(TorchDispatchMode):
    """Writes down each operation with the tensors it was given and gave."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.overwritten: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = args[index] if index < len(args) else kwargs[argument.name]
                self.overwritten.append((written, written.clone()))
        out = func(*args, **kwargs)
        outs = [out] if isinstance(out, Tensor) else list(out) if isinstance(out, tuple | list) else []
        self.calls.append((func, args, kwargs, outs))
        return out


class FakeGraph:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def replay(self) -> None:
        for func, args, kwargs, outs in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(outs, [again] if isinstance(again, Tensor) else again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class FakeStream:
    made = 0

    def __init__(self, _device: torch.device | None = None) -> None:
        FakeStream.made += 1
        self.device_index, self.cuda_stream = 0, FakeStream.made
        self.waited_for: list[FakeStream] = []

    def wait_stream(self, other: "FakeStream") -> None:
        self.waited_for.append(other)


class FakeCuda:
    """`torch.cuda` on the CPU: a capture records without effect, a replay does the same on the same memory."""

    CUDAGraph = FakeGraph

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.here = FakeStream()
        self.captures: list[tuple[object, object]] = []
        self.ran_on: list[FakeStream] = []
        self.pools = 0
        self.locked = False

    def Stream(self, device: torch.device) -> FakeStream:  # noqa: N802
        return FakeStream(device)

    def current_stream(self, _device: torch.device) -> FakeStream:
        return self.here

    def graph_pool_handle(self) -> object:
        self.pools += 1
        return object()

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.here = self.here, stream
        self.ran_on.append(stream)
        try:
            yield
        finally:
            self.here = before

    @contextmanager
    def graph(self, graph: FakeGraph, *, pool: object, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.captures.append((pool, stream))
        with ThreadPoolExecutor() as other:
            self.locked = not other.submit(device_lock(torch.device("cpu")).acquire, blocking=False).result()
        outside, self.here = self.here, stream
        recorder = Recorder()
        with recorder:
            yield
        for tensor, before in reversed(recorder.overwritten):
            tensor.copy_(before)
        if self.failure is not None:
            # As torch does, the capture's stream stays current.
            raise self.failure
        self.here = outside
        graph.calls = recorder.calls


def test_convolutions_are_timed_before_the_capture_and_by_the_thread_that_captures() -> None:
    def run(last: Callable[[GraphedStep], object]) -> list[bool]:
        timed: list[bool] = []

        def step(frames: Tensor, noise: Tensor | None) -> Tensor:
            timed.append(torch.backends.cudnn.benchmark)
            return frames

        graphed = GraphedStep(step, cuda=FakeCuda())
        for _ in range(WARM_UP):
            graphed(torch.zeros(1), None)
        last(graphed)
        assert not torch.backends.cudnn.benchmark
        assert graphed.mode == "graph"
        return timed[: WARM_UP + 1]

    assert run(lambda graphed: graphed(torch.zeros(1), None)) == [True] * (WARM_UP + 1)
    with ThreadPoolExecutor() as other:
        timed = run(lambda graphed: other.submit(graphed, torch.zeros(1), None).result())
    # What this thread chose is not known to another, and in a capture nothing can be timed.
    assert timed == [True] * WARM_UP + [False]


class Driven:
    """A filled pipeline's clip, run on by a step of the steady state."""

    def __init__(self, network: ShiftNet, block: int, cuda: FakeCuda | None) -> None:
        stream = Stream(network, block=block, execution="steady")
        torch.manual_seed(4)
        while stream._steady is None:
            stream.push(*self.sources(network, block))
        assert stream._step is not None
        self.network, self.block, self.timeline, self.inner = network, block, stream._steady, stream._step
        self.step = self.inner if cuda is None else GraphedStep(self.inner, cuda=cuda)

    @staticmethod
    def sources(network: ShiftNet, block: int) -> tuple[Tensor, Tensor | None]:
        return clip_for(network, block)

    @torch.inference_mode()
    def run(self, blocks: int) -> list[Tensor]:
        restored = []
        for number in range(blocks):
            # Cuts in places that differ, so that a graph with the flags of its capture in it would not do.
            self.timeline.step({self.timeline._entered + 1} if number % 3 == 0 else {self.timeline._entered - 2})
            restored.append(self.step(*self.sources(self.network, self.block)))
        return restored


class DeviceMerge(Merge):
    """Moves frames towards their neighbours, and knows of a window what is on the device."""

    on_device = True

    def forward(self, window: Window, noise: Tensor) -> tuple[Tensor, Tensor]:
        kept, order, (own, *counts) = window.tensors()
        frames = kept[order.long()]
        mine = frames[own.long()]
        change = torch.zeros_like(mine)
        for distance in range(1, self.reach + 1):
            for direction, count in zip((-1, 1), counts, strict=True):
                there = distance <= count
                other = frames[torch.where(there, own + direction * distance, own).long()]
                change += (other - mine) / 4**distance
        return change, noise.expand(-1, 3, -1, -1) * 4


@pytest.mark.parametrize(
    ("name", "block"), [("deblur-tiny", 1), ("deblur-tiny", 4), ("denoise-plus", 3), ("denoise-tiny", 3)]
)
def test_a_replayed_graph_gives_the_same_as_each_run_by_itself(name: str, block: int) -> None:
    network = network_of(name)
    if network.merger is not None:
        assert Stream(network).execution == "pipeline"
        network.merger = DeviceMerge(network.merger.reach)
        assert Stream(network).execution == "auto"
    cuda = FakeCuda()
    driven = Driven(network, block, cuda)
    actual = driven.run(WARM_UP + 5)
    expected = Driven(network, block, None).run(WARM_UP + 5)
    assert len(cuda.captures) == 1
    assert cuda.locked
    assert isinstance(driven.step, GraphedStep)
    assert driven.step.mode == "graph"
    for restored, reference in zip(actual, expected, strict=True):
        assert torch.equal(restored, reference)


def test_warm_up_is_on_the_side_stream(tiny: ShiftNet) -> None:
    cuda = FakeCuda()
    driven = Driven(tiny, 4, cuda)
    here = cuda.here
    driven.run(WARM_UP)
    (side,) = set(cuda.ran_on)
    assert len(cuda.ran_on) == WARM_UP
    assert side is not here
    assert side.waited_for == [here] * WARM_UP
    assert here.waited_for == [side] * WARM_UP
    assert not cuda.captures
    driven.run(1)
    assert [stream for _, stream in cuda.captures] == [side]


@pytest.mark.parametrize("failure", [RuntimeError("operation not permitted"), torch.OutOfMemoryError("no memory")])
@pytest.mark.filterwarnings("error")
def test_a_capture_that_fails_changes_nothing(tiny: ShiftNet, failure: Exception) -> None:
    cuda = FakeCuda(failure)
    here = cuda.here
    driven = Driven(tiny, 4, cuda)
    actual = driven.run(WARM_UP + 4)
    assert cuda.here is here
    assert len(cuda.captures) == 1
    assert isinstance(driven.step, GraphedStep)
    assert driven.step.mode == "eager"
    for restored, reference in zip(actual, Driven(tiny, 4, None).run(WARM_UP + 4), strict=True):
        assert torch.equal(restored, reference)


def test_other_errors_are_not_taken_for_a_failed_capture(tiny: ShiftNet) -> None:
    driven = Driven(tiny, 4, FakeCuda(KeyError("a mistake of ours")))
    with pytest.raises(KeyError):
        driven.run(WARM_UP + 1)


def test_graphs_of_one_stream_share_memory_and_those_of_two_do_not(tiny: ShiftNet) -> None:
    cuda = FakeCuda()
    first, second = Driven(tiny, 4, cuda), Driven(tiny, 4, cuda)
    for driven in (first, second):
        driven.run(WARM_UP + 1)
    with cuda.stream(FakeStream()):
        third = Driven(tiny, 4, cuda)
        third.run(WARM_UP + 1)
    pools = [pool for pool, _ in cuda.captures]
    assert pools[0] is pools[1]
    assert pools[0] is not pools[2]


def test_a_pool_is_not_used_again_once_its_last_graph_is_gone(tiny: ShiftNet) -> None:
    cuda = FakeCuda()
    for _ in range(2):
        driven = Driven(tiny, 4, cuda)
        driven.run(WARM_UP + 1)
        assert isinstance(driven.step, GraphedStep)
        driven.step.release()
        assert driven.step.mode == "eager"
    assert cuda.pools == 2


def test_the_stream_lets_go_of_its_state_at_once(tiny: ShiftNet) -> None:
    import gc
    import weakref

    stream = Stream(tiny, block=4, execution="steady")
    while stream._steady is None:
        stream.push(torch.rand(4, 3, 8, 8))
    state = weakref.ref(stream._steady)
    gc.disable()
    try:
        del stream
        assert state() is None
    finally:
        gc.enable()
