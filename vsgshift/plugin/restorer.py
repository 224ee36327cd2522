"""Answers VapourSynth's requests, in whatever order they come, from one stream over the clip.

A request for frame n needs the source up to n + R. In order, each run of the stream takes one block
of source frames and gives one block of restored ones; those wait in a store until they are asked
for. A request far ahead, or behind what the store still has, starts the stream anew R frames before
the place, which gives the same frames: a restored frame depends on nothing further away.

On a CUDA device one block more is pushed than the frame asked for needs, before that frame is waited
for: so the next block is under way while the last one is carried to VapourSynth.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from vsgshift.network import ShiftNet
from vsgshift.plugin._bridge import Core, Frame, Node
from vsgshift.plugin.devices import Worker, worker
from vsgshift.plugin.memory import give_back_freed
from vsgshift.plugin.transfer import Download, into_planes, transfer_for
from vsgshift.streaming import Stream, TiledStream, Tiling

CLIP, SIGMA_MAP = 0, 1
TIDY_EVERY = 32
"""Blocks between two tidyings of the heap."""
Key = tuple[int, int]
"""Input of the filter and frame number."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a filter was created with."""

    device: torch.device
    dtype: torch.dtype
    block: int
    strength: float
    scenechange: bool
    sigma: float | None
    """Constant noise standard deviation on the [0, 1] scale; None where it comes as a clip, or there is none."""
    tiling: Tiling | None = None
    offload: bool = False
    """Whether skips wait in the host's memory."""
    needs: str = ""
    """What the filter was thought to need, for who runs out of memory all the same."""


@dataclass(frozen=True)
class _Plan:
    """Source frames to push for a request: those from ``start`` on, up to ``stop``."""

    restart: bool
    start: int
    stop: int


@dataclass
class _Output:
    """Restored frames on the device, a block at most, and their download once it has begun."""

    numbers: range
    restored: Tensor | None
    download: Download | None = None


class Restorer:
    """The processor behind `gshift.Deblur` and `gshift.Denoise`.

    Args:
        core: makes the frames that are returned.
        clip: RGBS or GRAYS source.
        sigma_map: GRAYS noise standard deviation on the [0, 1] scale, of the clip's size or 1x1; or None.
        props: a 1x1 clip, in whose format source properties wait for their restored frame.
    """

    def __init__(
        self, core: Core, network: ShiftNet, clip: Node, sigma_map: Node | None, props: Node, options: Options
    ) -> None:
        self.core, self.network, self.clip, self.props, self.options = core, network, clip, props, options
        self.inputs_per_frame = (CLIP,) if sigma_map is None else (CLIP, SIGMA_MAP)
        self.length, self.radius = clip.num_frames, network.radius
        multiple = network.variant.multiple
        self.size = (clip.height + -clip.height % multiple, clip.width + -clip.width % multiple)
        self.transfer = transfer_for(options.device, options.dtype)
        self.worker: Worker = worker(options.device)
        self.lock = threading.Lock()
        self.closed = False

        self.stream: Stream | TiledStream | None = None
        self.stream_start = 0
        self.next_input = 0
        self.next_output = 0
        self.outputs: deque[_Output] = deque()
        self.outputs_end = 0
        self.last_frame_ends_scene = False
        self.last_asked = 0
        self.blocks_pushed = 0

        self.sources: dict[Key, Frame] = {}
        self.asked_for: set[Key] = set()
        self.carriers: dict[int, Frame] = {}
        self.store: OrderedDict[int, Frame] = OrderedDict()
        self.waiting: set[int] = set()

    # What VapourSynth calls

    def request(self, n: int) -> Frame | list[Key]:
        """A request has come: the frame where it is there, else the source frames it needs."""
        with self.lock:
            if frame := self._stored(n):
                return frame
            self.waiting.add(n)
            plan = self._plan(n)
            missing = [key for key in self._keys(plan) if key not in self.sources]
            mine = [key for key in missing if key not in self.asked_for]
            self.asked_for.update(mine)
            # Where others have asked for all of it, the last frame tells when theirs are there.
            return mine or missing[-len(self.inputs_per_frame) :] or [(CLIP, plan.stop - 1)]

    def ready(self, n: int, frames: Mapping[Key, Frame]) -> Frame | list[Key]:
        """Source frames have come: the frame, or what else it needs. One call at a time."""
        with self.lock:
            for key, frame in frames.items():
                self.sources[key] = frame
                self.asked_for.discard(key)
            if stored := self._stored(n):
                return stored
            plan = self._plan(n)
            missing = [key for key in self._keys(plan) if key not in self.sources]
            if missing:
                return missing
            self.last_asked = n
        try:
            self.worker.run(lambda: self._restore(plan, n))
            finished = self._received(n)
        except BaseException as error:
            with self.lock:
                self.stream = None
                self._drop_outputs()
                self.waiting.discard(n)
            raise _explained(error, self.options.needs) from error
        with self.lock:
            self.store.update(finished)
            answer = self._stored(n)
            self._evict()
        if answer is None:
            raise RuntimeError(f"frame {n} was not restored; please report this")
        return answer

    def close(self) -> None:
        """The filter is gone: give back every frame."""
        with self.lock:
            self.closed = True
            frames = [*self.sources.values(), *self.carriers.values(), *self.store.values()]
            self.sources.clear()
            self.carriers.clear()
            self.store.clear()
            self.stream = None
            self._drop_outputs()
        for frame in frames:
            frame.release()
        # A device that has failed before fails here again; that has been told, and nothing is left to save.
        with suppress(RuntimeError):
            self.transfer.close()

    # Schedule

    def _stored(self, n: int) -> Frame | None:
        frame = self.store.get(n)
        if frame is not None:
            self.store.move_to_end(n)
            self.waiting.discard(n)
        return frame

    def _plan(self, n: int) -> _Plan:
        """What has to be pushed for frame n. The lock is held."""
        if self.stream is None and self.next_output <= n < self.outputs_end:
            return _Plan(False, self.next_input, self.next_input)
        between = sum(1 for number in self.waiting if self.next_output <= number < n)
        reach = self.next_output + self.radius + self.options.block + between
        if self.stream is not None and self.next_output <= n <= reach:
            return _Plan(False, self.next_input, self._stop(n, self.stream_start))
        # Someone who steps backwards will want the frames before this one next.
        backwards = 0 < self.last_asked - n <= self.options.block + self.radius
        first = max(n - self.radius, 0) if backwards else n
        # Requests that came together and lie just before this one are served by the same start.
        while first - 1 in self.waiting:
            first -= 1
        start = max(first - self.radius, 0)
        return _Plan(True, start, self._stop(n, start))

    def _stop(self, n: int, start: int) -> int:
        """The end of the source frames needed for n, in whole blocks from the start of the stream."""
        block = self.options.block
        blocks = -(-(n + self.radius + 1 - start) // block) + self.transfer.blocks_ahead
        return min(start + blocks * block, self.length)

    def _keys(self, plan: _Plan) -> list[Key]:
        return [(node, number) for number in range(plan.start, plan.stop) for node in self.inputs_per_frame]

    def _evict(self) -> None:
        """Forget what is least likely to be asked for again. The lock is held."""
        room = 2 * self.options.block + self.core.num_threads
        surplus = [number for number in self.store if number not in self.waiting][: max(len(self.store) - room, 0)]
        for number in surplus:
            del self.store[number]
        if len(self.waiting) > 1024:  # requests that VapourSynth gave up after an error elsewhere
            self.waiting.clear()
        used = [
            key for key in self.sources if self.stream is not None and self.stream_start <= key[1] < self.next_input
        ]
        for key in used:
            del self.sources[key]
        spare = len(self.sources) - len(self.inputs_per_frame) * (2 * self.radius + 2 * self.options.block + 64)
        for key in list(self.sources)[: max(spare, 0)]:
            del self.sources[key]

    # Work, on the device's thread

    def _restore(self, plan: _Plan, n: int) -> None:
        """Push the planned source frames."""
        with self.transfer.running():
            if plan.restart:
                self._restart(plan, n)
            block = self.options.block
            while self.next_input < plan.stop and not self.closed:
                self._push(range(self.next_input, min(self.next_input + block, plan.stop)))
            if self.next_input == self.length and self.stream is not None and not self.closed:
                self._put_by(self.stream.finish(), self.stream)
                self.stream = None
            self._begin_downloads()

    def _restart(self, plan: _Plan, n: int) -> None:
        """Begin a stream such that frame n and those before it, back to the plan's, come out."""
        first = min(plan.start + self.radius, n) if plan.start else 0
        cut = plan.start
        for number in range(plan.start + 1, first + 1):
            if self._starts_scene(number, self._ends_scene(number - 1)):
                cut = number
        # Nothing before the last cut matters; whole blocks of it need not be pushed.
        start = plan.start + (cut - plan.start) // self.options.block * self.options.block
        self.stream = self._new_stream(midway=start > 0)
        self.stream_start = self.next_input = start
        self.next_output = cut if cut > plan.start else first
        self.last_frame_ends_scene = start > plan.start and self._ends_scene(start - 1)
        with self.lock:
            self.carriers.clear()
            self._drop_outputs()

    def _new_stream(self, *, midway: bool) -> Stream | TiledStream:
        block, strength, offload = self.options.block, self.options.strength, self.options.offload
        tiling = self.options.tiling
        if tiling is None:
            return Stream(self.network, block=block, midway=midway, strength=strength, offload=offload)
        return TiledStream(self.network, tiling, block=block, midway=midway, strength=strength, offload=offload)

    def _starts_scene(self, number: int, after_end: bool) -> bool:
        return self.options.scenechange and (
            after_end or self.sources[CLIP, number].int_property("_SceneChangePrev", 0) == 1
        )

    def _ends_scene(self, number: int) -> bool:
        return self.sources[CLIP, number].int_property("_SceneChangeNext", 0) == 1

    def _push(self, numbers: range) -> None:
        """One block of source frames through the stream."""
        assert self.stream is not None
        frames = [self.sources[CLIP, number] for number in numbers]
        cuts = []
        for number in numbers:
            cuts.append(self._starts_scene(number, self.last_frame_ends_scene))
            self.last_frame_ends_scene = self._ends_scene(number)
        clip = self.transfer.upload(frames, 3, self.size)
        noise = self._noise(numbers, clip)
        for number, frame in zip(numbers, frames, strict=True):
            self.carriers[number] = self.core.new_frame(self.props, frame)
        restored = self.stream.push(clip, noise, cuts)
        self.blocks_pushed += 1
        if self.blocks_pushed % TIDY_EVERY == 0:
            give_back_freed()
        self.next_input = numbers.stop
        self._put_by(restored, self.stream)

    def _noise(self, numbers: Iterable[int], clip: Tensor) -> Tensor | None:
        if len(self.inputs_per_frame) > 1:
            # A single pixel fills the frame, as any border is filled.
            return self.transfer.upload([self.sources[SIGMA_MAP, number] for number in numbers], 1, self.size)
        if self.options.sigma is None:
            return None
        return clip.new_full((len(clip), 1, *clip.shape[2:]), self.options.sigma)

    def _put_by(self, restored: Tensor, stream: Stream | TiledStream) -> None:
        """Remember what was restored until it is fetched."""
        start = self.stream_start + stream.restored.start
        for part in torch.split(restored, self.options.block):
            if len(part):
                self.outputs.append(_Output(range(start, start + len(part)), part))
                start += len(part)
                self.outputs_end = start

    def _begin_downloads(self) -> None:
        """Set about fetching the next block, and the one behind it: no more, since each takes page-locked memory."""
        size = (self.clip.height, self.clip.width)
        for output in islice(self.outputs, 2):
            if output.restored is not None:
                output.download = self.transfer.download(output.restored, self.clip.format.num_planes, size)
                output.restored = None

    def _drop_outputs(self) -> None:
        for output in self.outputs:
            if output.download is not None:
                output.download.release()
        self.outputs.clear()
        self.outputs_end = 0

    # Back on VapourSynth's thread, so that the device's is free for other filters

    def _received(self, n: int) -> dict[int, Frame]:
        """Frames up to the block with number n, as soon as they are there."""
        finished: dict[int, Frame] = {}
        while self.outputs and self.outputs[0].numbers.start <= n and not self.closed:
            if self.outputs[0].download is None:
                self.worker.run(self._begin_more_downloads)
            finished.update(self._frames(self.outputs[0]))
            self.outputs.popleft()
        return finished

    def _begin_more_downloads(self) -> None:
        with self.transfer.running():
            self._begin_downloads()

    def _frames(self, output: _Output) -> dict[int, Frame]:
        """New VapourSynth frames of restored ones, with the properties of their sources."""
        assert output.download is not None
        frames = {}
        for number, planes in zip(output.numbers, output.download.wait(), strict=True):
            frame = self.core.new_frame(self.clip, self.carriers.pop(number))
            into_planes(frame, planes)
            frames[number] = frame
        output.download.release()
        for number in [number for number in self.carriers if number < output.numbers.start]:
            del self.carriers[number]
        self.next_output = output.numbers.stop
        return frames


def _explained(error: BaseException, needs: str) -> BaseException:
    """The same error, or one that says what to do about it."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in text:
        told = f" ({needs})" if needs else ""
        return RuntimeError(
            "out of memory; lower block, set tilesize, use fp16 or offload on a GPU, choose a smaller model, "
            f"or restore at a smaller size{told}"
        )
    return error
