"""Frames to tensors and back: the values, and, with stand-ins for CuPy's streams and events, the order of the work."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vsgshift.plugin import cuda_transfer
from vsgshift.plugin.cuda_transfer import UPLOAD_BUFFERS, CudaTransfer
from vsgshift.plugin.planes import into_planes
from vsgshift.plugin.transfer import CpuTransfer, Transfer, transfer_for


@dataclass
class FakeFormat:
    num_planes: int
    bits: int
    sample_type: str


class FakeFrame:
    """Planes with padded rows, as VapourSynth's have them."""

    def __init__(self, planes: NDArray[Any], bits: int) -> None:
        count, self.height, self.width = planes.shape
        self.format = FakeFormat(count, bits, "float" if planes.dtype.kind == "f" else "integer")
        room = np.zeros((count, self.height, self.width + 5), planes.dtype)
        room[..., : self.width] = planes
        self._planes = room[..., : self.width]

    def plane(self, index: int) -> NDArray[Any]:
        plane: NDArray[Any] = self._planes[index]
        return plane


def frames_of(
    dtype: str, bits: int, planes: int = 3, count: int = 2, size: tuple[int, int] = (5, 7), seed: int = 5
) -> list[Any]:
    draw = np.random.default_rng(seed)
    shape = (planes, *size)
    if np.dtype(dtype).kind == "f":
        return [FakeFrame(draw.uniform(-0.5, 1.5, shape).astype(dtype), bits) for _ in range(count)]
    return [FakeFrame(draw.integers(0, 2**bits, shape).astype(dtype), bits) for _ in range(count)]


# A device in slow motion: work waits in the queues of its streams until someone waits for it


@dataclass
class Queue:
    """A stream: what it still has to do, in order."""

    ptr: int
    tasks: list[tuple[str, Callable[[], bool]]] = field(default_factory=list)


class FakeDevice:
    """CuPy's and torch's sides of a device in NumPy. Nothing that is queued happens before it must."""

    def __init__(self, seed: int | None = None) -> None:
        self.queues: list[Queue] = []
        self.events: list[FakeEvent] = []
        self.history: list[str] = []
        self.page_locked = 0
        self.freed = 0
        self.random = None if seed is None else random.Random(seed)

    def queue(self) -> Queue:
        self.queues.append(Queue(len(self.queues) + 1))
        return self.queues[-1]

    def by_ptr(self, ptr: int) -> Queue:
        return self.queues[ptr - 1]

    def advance(self, until: Callable[[], bool]) -> None:
        """Let streams work, one piece at a time and as late as can be, until something is so.

        Which stream is first is by chance, or else the one that was made first.
        """
        while not until():
            queues = self.queues if self.random is None else self.random.sample(self.queues, len(self.queues))
            for queue in queues:
                if queue.tasks and queue.tasks[0][1]():
                    self.history.append(queue.tasks.pop(0)[0])
                    break
            else:
                raise AssertionError("the device waits for what never comes")


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self.device, self.recorded, self.passed = device, 0, 0
        device.events.append(self)
        self.ptr = len(device.events)

    def record(self, stream: Any) -> None:
        self.recorded += 1
        number = self.recorded

        def passes() -> bool:
            self.passed = number
            return True

        stream.queue.tasks.append((f"event {self.ptr}", passes))

    def synchronize(self) -> None:
        number = self.recorded
        self.device.advance(lambda: self.passed >= number)


class FakeStream:
    def __init__(self, device: FakeDevice) -> None:
        self.queue = device.queue()
        self.ptr = self.cuda_stream = self.queue.ptr
        self.waited_for: list[object] = []

    def wait_event(self, event: FakeEvent) -> None:
        number = event.recorded
        self.queue.tasks.append((f"{self.ptr} waits", lambda: event.passed >= number))

    def wait_stream(self, other: object) -> None:
        self.waited_for.append(other)


class DeviceArray(np.ndarray[Any, Any]):
    """A CuPy array: its copies are queued, and read their source when the stream gets there."""

    def set(self, array: NDArray[Any], *, stream: FakeStream) -> None:
        assert array.flags.c_contiguous
        assert array.dtype == self.dtype
        assert array.shape == self.shape

        def copy() -> bool:
            np.copyto(np.asarray(self), array)
            return True

        stream.queue.tasks.append(("up", copy))

    def get(self, *, stream: FakeStream, out: NDArray[Any], blocking: bool) -> None:
        assert not blocking
        assert out.flags.c_contiguous
        assert out.shape == self.shape

        def copy() -> bool:
            np.copyto(out, np.asarray(self))
            return True

        stream.queue.tasks.append(("down", copy))


class FakePool:
    def __init__(self, device: FakeDevice) -> None:
        self.device = device

    def free_all_blocks(self) -> None:
        assert not any(name in ("up", "down") for queue in self.device.queues for name, _ in queue.tasks)
        self.device.freed += 1


def fake_cupy(device: FakeDevice) -> Any:
    def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        return np.full(shape, 77, dtype).view(DeviceArray)

    def alloc_pinned_memory(size: int) -> bytearray:
        memory = bytearray(size)
        device.page_locked += 1
        return memory

    def find(number: int) -> FakeEvent:
        return device.events[number - 1]

    runtime = SimpleNamespace(
        streamWaitEvent=lambda stream, event: FakeStream.wait_event(
            SimpleNamespace(queue=device.by_ptr(stream), ptr=stream),  # type: ignore[arg-type]
            find(event),
        ),
        eventRecord=lambda event, stream: find(event).record(SimpleNamespace(queue=device.by_ptr(stream))),
    )
    cuda = SimpleNamespace(
        Device=lambda _index: nullcontext(),
        Stream=lambda non_blocking: FakeStream(device),
        Event=lambda block=False, disable_timing=False: FakeEvent(device),
        alloc_pinned_memory=alloc_pinned_memory,
        runtime=runtime,
    )
    pool = FakePool(device)
    return SimpleNamespace(
        cuda=cuda, empty=empty, get_default_memory_pool=lambda: pool, get_default_pinned_memory_pool=lambda: pool
    )


class Bench:
    """A `CudaTransfer` on the stand-in; what torch would queue on the network's stream waits there as well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int | None = None) -> None:
        self.device = FakeDevice(seed)
        self.caller = self.current = FakeStream(self.device)
        cuda = SimpleNamespace(
            Stream=lambda _device: FakeStream(self.device),
            current_stream=lambda _device: self.current,
            stream=self.on_stream,
        )
        self.transfer = CudaTransfer(torch.device("cpu", 0), fake_cupy(self.device), cuda)
        for name in ("unpack", "pack"):
            tasks = getattr(cuda_transfer, name)
            monkeypatch.setattr(
                cuda_transfer, name, lambda *args, name=name, tasks=tasks: self.queue(name, tasks, *args)
            )

    @contextmanager
    def on_stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def queue(self, name: str, tasks: Callable[..., object], *args: Any) -> None:
        """As torch does, on the current stream."""

        def done() -> bool:
            tasks(*args)
            return True

        self.device.by_ptr(self.current.cuda_stream).tasks.append((name, done))

    def after_all(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor after all that is queued."""
        self.device.advance(lambda: not any(queue.tasks for queue in self.device.queues))
        return tensor

    def network(self, tensor: torch.Tensor) -> torch.Tensor:
        """Doubles, when its turn comes."""
        restored = torch.full_like(tensor, 55)
        with self.transfer.running():
            self.queue("network", lambda: restored.copy_(tensor * 2))
        return restored


def transfers(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[Transfer, Bench | None]]:
    bench = Bench(monkeypatch)
    return [(CpuTransfer(), None), (bench.transfer, bench)]


def expected(frames: Sequence[FakeFrame], channels: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """By NumPy alone."""
    actual = []
    for frame in frames:
        white = 1 if frame.format.sample_type == "float" else 2**frame.format.bits - 1
        planes = [frame.plane(index if frame.format.num_planes > 1 else 0) / white for index in range(channels)]
        border = ((0, size[0] - frame.height), (0, size[1] - frame.width))
        actual.append([np.pad(plane.astype(np.float64), border, mode="edge") for plane in planes])
    return np.array(actual)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("uint8", 8), ("uint16", 10), ("uint16", 16), ("float16", 16), ("float32", 32)]
)
def test_every_sample_type_arrives(dtype: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for transfer, bench in transfers(monkeypatch):
        for planes, channels, size in ((3, 3, (5, 7)), (3, 3, (8, 8)), (1, 3, (8, 16)), (1, 1, (5, 8))):
            frames = frames_of(dtype, bits, planes)
            tensor = transfer.upload(frames, channels, size)
            if bench is not None:
                bench.after_all(tensor)
                assert tensor.is_contiguous(memory_format=torch.channels_last)
            assert tensor.shape == (2, channels, *size)
            np.testing.assert_allclose(tensor.numpy(), expected(frames, channels, size), atol=1e-6)


def test_a_single_pixel_fills_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    for transfer, bench in transfers(monkeypatch):
        (frame,) = frames_of("float32", 32, 1, 1, (1, 1))
        tensor = transfer.upload([frame], 1, (8, 16))
        if bench is not None:
            bench.after_all(tensor)
        assert torch.equal(tensor, torch.full((1, 1, 8, 16), float(frame.plane(0)[0, 0])))


@pytest.mark.parametrize(("sample", "exact"), [(np.float32, 1e-6), (np.float16, 2**-12)])
def test_planes_come_back_without_the_border(sample: type, exact: float, monkeypatch: pytest.MonkeyPatch) -> None:
    restored = torch.rand(2, 3, 8, 16).contiguous(memory_format=torch.channels_last)
    inside = restored[:, :, :5, :7]
    for transfer, bench in transfers(monkeypatch):
        for planes, expected in ((3, inside), (1, inside.mean(1, keepdim=True))):
            download = transfer.download(restored, planes, (5, 7), sample)
            actual = download.wait()
            assert actual.dtype == (np.float32 if bench is None else sample)
            np.testing.assert_allclose(actual, expected.numpy(), atol=exact)
            download.release()


def test_a_device_without_a_way_of_its_own_gets_the_tensor() -> None:
    # Where nothing is computed, as a stand-in for Apple's.
    device = torch.device("meta")
    tensor = transfer_for(device).upload(frames_of("float32", 32, 3), 3, (8, 8))
    assert tensor.device == device
    assert tensor.shape == (2, 3, 8, 8)


def test_into_planes() -> None:
    frame = FakeFrame(np.zeros((3, 4, 5), np.float32), 32)
    planes = np.random.default_rng(1).random((3, 4, 5), np.float32)
    into_planes(frame, planes)  # type: ignore[arg-type]
    assert all(np.array_equal(frame.plane(index), planes[index]) for index in range(3))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_buffer_is_written_before_its_copy_is_over(seed: int, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the streams work in, and however late, each block comes back as it should."""
    bench = Bench(monkeypatch, seed=seed)
    under_way: list[Any] = []
    blocks = [frames_of("float32", 32, count=4, seed=number) for number in range(9)]
    blocks.append(blocks.pop()[:1])

    def finish() -> None:
        frames, download = under_way.pop(0)
        np.testing.assert_array_equal(download.wait(), 2 * expected(frames, 3, (5, 7)).astype(np.float32))
        download.release()

    for frames in blocks:
        restored = bench.network(bench.transfer.upload(frames, 3, (8, 8)))
        under_way.append((frames, bench.transfer.download(restored, 3, (5, 7))))
        if len(under_way) > depth:
            finish()
    while under_way:
        finish()
    assert bench.device.page_locked == UPLOAD_BUFFERS + depth + 1


def test_the_host_waits_for_no_more_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    downloads = []
    for number in range(UPLOAD_BUFFERS):
        tensor = bench.transfer.upload(frames_of("uint8", 8, seed=number), 3, (8, 8))
        downloads.append(bench.transfer.download(bench.network(tensor), 3, (5, 7)))
    assert bench.device.history == []
    bench.transfer.upload(frames_of("uint8", 8), 3, (8, 8))
    assert bench.device.history.count("up") == 1
    assert "network" not in bench.device.history
    downloads[0].wait()
    assert bench.device.history.count("network") == 1
    assert bench.device.history.count("down") == 1


def test_a_download_given_up_leaves_its_buffer_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    first, second = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    bench.transfer.download(first, 3, (8, 8)).release()
    assert np.array_equal(bench.transfer.download(second, 3, (8, 8)).wait(), second.numpy())
    assert bench.device.page_locked == 1


def test_larger_blocks_get_larger_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    for count in (1, 4, 2):
        frames = frames_of("uint16", 10, count=count, seed=count)
        tensor = bench.transfer.upload(frames, 3, (5, 7))
        np.testing.assert_allclose(bench.after_all(tensor).numpy(), expected(frames, 3, (5, 7)), atol=1e-6)


def test_closing_waits_for_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    tensor = bench.transfer.upload(frames_of("uint8", 8), 3, (8, 8))
    bench.transfer.download(bench.network(tensor), 3, (5, 7))
    bench.transfer.close()
    assert bench.device.freed == 2
    assert {"up", "network", "down"} <= set(bench.device.history)


def test_the_filters_stream_waits_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    assert bench.transfer.stream.waited_for == [bench.caller]


# The filter with a transfer that is worth pushing ahead for


class Noting(CpuTransfer):
    """The CPU's way, with the order of calls, and one block ahead."""

    blocks_ahead = 1

    def __init__(self, notes: list[tuple[str, int]]) -> None:
        super().__init__()
        self.notes, self.blocks, self.fetched = notes, 0, 0

    def running(self) -> AbstractContextManager[object]:
        return nullcontext()

    def upload(self, frames: Sequence[Any], channels: int, size: tuple[int, int]) -> torch.Tensor:
        self.notes.append(("up", self.blocks))
        self.blocks += 1
        return super().upload(frames, channels, size)

    def download(self, tensor: torch.Tensor, planes: int, size: tuple[int, int], *sample: Any) -> Any:
        number, self.fetched = self.fetched, self.fetched + 1
        inner = super().download(tensor, planes, size, *sample)
        self.notes.append(("down", number))

        def wait() -> NDArray[np.float32]:
            self.notes.append(("wait", number))
            return inner.wait()

        return SimpleNamespace(wait=wait, release=lambda: self.notes.append(("release", number)))

    def close(self) -> None:
        self.notes.append(("close", 0))


def test_the_filter_pushes_the_next_block_before_it_waits(
    monkeypatch: pytest.MonkeyPatch, untrained: dict[str, str]
) -> None:
    vs = pytest.importorskip("vapoursynth")
    from vsgshift.network import VARIANTS
    from vsgshift.plugin import restorer

    length, block = 31, 2
    source = vs.core.std.BlankClip(width=13, height=9, length=length, format=vs.GRAYS)

    def paint(n: int, f: Any) -> Any:
        out = f.copy()
        np.copyto(np.asarray(out[0]), np.random.default_rng(n).random((9, 13), np.float32))
        return out

    source = source.std.ModifyFrame(source, paint)

    def restored(order: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        node = vs.core.gshift.Deblur(source, model=untrained["deblur"], block=block, device_id=-1)
        return {n: np.asarray(node.get_frame(n)[0]).copy() for n in order}

    reference = restored(range(length))
    notes: list[tuple[str, int]] = []
    monkeypatch.setattr(restorer, "transfer_for", lambda _device: Noting(notes))
    actual = restored(range(length))
    for n in range(length):
        np.testing.assert_allclose(actual[n], reference[n], atol=1e-5)
    waits = [index for index, (what, _) in enumerate(notes) if what == "wait"]
    radius = VARIANTS["deblur-tiny"].radius
    for index in waits:
        # What the block needs has gone up, and one block more, as long as there is any. The first has one frame.
        needed = -(-(notes[index][1] * block + radius + 1) // block) + 1
        assert sum(what == "up" for what, _ in notes[:index]) >= min(needed, -(-length // block))
        # Two downloads at most are under way.
        begun = sum(what == "down" for what, _ in notes[:index])
        assert begun - sum(what == "release" for what, _ in notes[:index]) <= 2
    assert [number for what, number in notes if what == "wait"] == list(range(-(-length // block)))
    assert sum(what == "up" for what, _ in notes) == -(-length // block)
    for order in ([17, 3, 30, 29, 12], range(0, length, 9)):
        for n, planes in restored(order).items():
            np.testing.assert_allclose(planes, reference[n], atol=1e-5)
