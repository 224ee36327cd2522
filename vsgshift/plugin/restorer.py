"""Delivers restored frames: runs the stream as the schedule says, and carries frames to it and back.

On a CUDA device one block more is pushed than the requested frame needs, before that frame is waited for: so the next
block is under way while the last one is carried to VapourSynth.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from vsgshift.network import ShiftNet
from vsgshift.plugin._bridge import Core, Frame, Node
from vsgshift.plugin.devices import Worker, worker
from vsgshift.plugin.memory import give_back_freed
from vsgshift.plugin.planes import Samples, filled, into_planes, is_finite, not_finite
from vsgshift.plugin.schedule import Key, Push, Run, Schedule
from vsgshift.plugin.transfer import Download, transfer_for
from vsgshift.streaming import Stream, TiledStream, Tiling

TRIM_EVERY = 8
"""Blocks after which the heap is trimmed."""
INTERLACED = "is interlaced (_FieldBased); deinterlace it first, or say that it is not: clip.std.SetFieldBased(0)"
NOT_FINITE = "have NaN or infinite samples, which stay as they are"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a filter was created with."""

    device: torch.device
    block: int
    strength: float
    scenechange: bool
    float_source: bool
    """Whether samples of the source may be NaN or infinite."""
    sigma: float | None
    """Constant noise standard deviation on the [0, 1] scale; None if it comes as a clip, or there is none."""
    tiling: Tiling | None = None
    offload: bool = False
    """Keep skips that wait for later frames in the host's memory."""
    needs: str = ""
    """What the filter was expected to need, to be shown if memory runs out all the same."""


@dataclass
class _Output:
    """Restored frames on the device, a block at most, and their download once it has begun."""

    numbers: range
    restored: Tensor | None
    download: Download | None = None


class Restorer:
    """The processor of `gshift.Deblur` and `gshift.Denoise`, over an RGB or GRAY clip, float or half.

    The sigma map is GRAYS, a standard deviation on the [0, 1] scale, of the clip's size or 1x1; or None. ``props`` is a
    1x1 clip, in whose format source properties wait for their restored frame.
    """

    def __init__(
        self,
        core: Core,
        name: str,
        network: ShiftNet,
        clip: Node,
        sigma_map: Node | None,
        props: Node,
        options: Options,
    ) -> None:
        self.core, self.name, self.network, self.clip = core, name, network, clip
        self.props, self.options = props, options
        multiple = network.variant.multiple
        self.size = (clip.height + -clip.height % multiple, clip.width + -clip.width % multiple)
        self.transfer = transfer_for(options.device)
        self.worker: Worker = worker(options.device)
        self.schedule: Schedule[Frame, Frame] = Schedule(
            length=clip.num_frames,
            radius=network.radius,
            block=options.block,
            inputs=1 if sigma_map is None else 2,
            ahead=self.transfer.blocks_ahead,
            parallel=core.num_threads,
            scene_marks=_scene_marks if options.scenechange else lambda frame: (False, False),
        )
        self.closed = False
        # What follows is touched by `ready` alone, of which VapourSynth makes one call at a time, and by the
        # device's thread while `ready` waits for it.
        self.stream: Stream | TiledStream | None = None
        self.stream_start = 0
        self.outputs: deque[_Output] = deque()
        self.carriers: dict[int, Frame] = {}
        self.not_finite: dict[int, list[Samples]] = {}
        """Samples that the restored frames get back as they were, by frame and plane."""
        self.warned: set[str] = set()
        self.blocks_pushed = 0

    # What VapourSynth calls

    def request(self, n: int) -> Frame | list[Key]:
        """Frame n has been requested."""
        return self.schedule.request(n)

    def ready(self, n: int, frames: Mapping[Key, Frame]) -> Frame | list[Key]:
        """Source frames have come."""
        answer = self.schedule.arrive(n, frames)
        if not isinstance(answer, Run):
            return answer
        try:
            self.worker.run(lambda: self._run(answer))
            return self.schedule.complete(n, self._receive(n))
        except BaseException as error:
            self.schedule.run_failed(n)
            self.stream = None
            self._drop_outputs()
            raise _explained(error, self.options.needs) from error

    def failed(self, n: int) -> None:
        """A source frame has failed, and frame n with it."""
        self.schedule.source_failed(n)

    def close(self) -> None:
        """The filter is gone: give back every frame."""
        self.closed = True
        for frame in [*self.schedule.clear(), *self.carriers.values()]:
            frame.release()
        self.carriers.clear()
        self.stream = None
        self._drop_outputs()
        # A device that has failed before fails here again; that has been reported, and nothing is left to save.
        with suppress(RuntimeError):
            self.transfer.close()

    # On the device's thread

    def _run(self, run: Run[Frame]) -> None:
        with self.transfer.running():
            if run.begin is not None:
                self.carriers.clear()
                self.not_finite.clear()
                self._drop_outputs()
                self.stream = self._new_stream(midway=run.begin > 0)
                self.stream_start = run.begin
            for push in run.pushes:
                if self.closed:
                    return
                self._push(push)
            if run.finish and self.stream is not None:
                self._keep(self.stream.finish(), self.stream, run.end)
                self.stream = None
            self._begin_downloads()

    def _new_stream(self, *, midway: bool) -> Stream | TiledStream:
        block, strength, offload = self.options.block, self.options.strength, self.options.offload
        tiling = self.options.tiling
        if tiling is None:
            return Stream(self.network, block=block, midway=midway, strength=strength, offload=offload)
        return TiledStream(self.network, tiling, block=block, midway=midway, strength=strength, offload=offload)

    def _push(self, push: Push[Frame]) -> None:
        """One block of source frames through the stream."""
        assert self.stream is not None
        frames, *levels = push.inputs
        for number, frame in zip(push.numbers, frames, strict=True):
            if frame.int_property("_FieldBased", 0) > 0:
                raise ValueError(f"frame {number} {INTERLACED}")
        clip = self.transfer.upload([*map(self._without_gaps, push.numbers, frames)], 3, self.size)
        noise = self._noise(clip, *levels)
        for number, frame in zip(push.numbers, frames, strict=True):
            self.carriers[number] = self.core.new_frame(self.props, frame)
        restored = self.stream.push(clip, noise, push.cuts)
        self.blocks_pushed += 1
        if self.blocks_pushed % TRIM_EVERY == 0:
            give_back_freed()
        self._keep(restored, self.stream, self.clip.num_frames)

    def _without_gaps(self, number: int, frame: Frame) -> Frame:
        """The frame, or a copy in which samples that are not finite are filled; those are kept for the way back."""
        if not self.options.float_source:
            return frame
        planes = [np.asarray(frame.plane(index)) for index in range(frame.num_planes)]
        if all(map(is_finite, planes)):
            return frame
        self._warn(number, NOT_FINITE)
        self.not_finite[number] = [*map(not_finite, planes)]
        copy = self.core.new_frame(frame, frame)
        for index, plane in enumerate(planes):
            np.copyto(np.asarray(copy.plane(index)), filled(plane))
        return copy

    def _warn(self, number: int, what: str) -> None:
        """Log a warning about a frame, of each kind the first."""
        if what not in self.warned:
            self.warned.add(what)
            self.core.log("warning", f"{self.name}: frame {number} and perhaps others {what}")

    def _noise(self, clip: Tensor, levels: Sequence[Frame] = ()) -> Tensor | None:
        if levels:
            # A single pixel fills the frame, as any border is filled.
            return self.transfer.upload(levels, 1, self.size).nan_to_num_(0, 1, 0).clamp_(0, 1)
        if self.options.sigma is None:
            return None
        return clip.new_full((len(clip), 1, *clip.shape[2:]), self.options.sigma)

    def _keep(self, restored: Tensor, stream: Stream | TiledStream, end: int) -> None:
        """Keep restored frames before number ``end`` on the device until they are fetched."""
        start = self.stream_start + stream.restored.start
        for part in torch.split(restored[: max(end - start, 0)], self.options.block):
            if len(part):
                self.outputs.append(_Output(range(start, start + len(part)), part))
                start += len(part)

    def _begin_downloads(self) -> None:
        """Begin to fetch the next block and the one after it: no more, since each takes page-locked memory."""
        size = (self.clip.height, self.clip.width)
        kind = self.clip.format
        sample = np.float16 if kind.bits == 16 else np.float32
        for output in islice(self.outputs, 2):
            if output.restored is not None:
                output.download = self.transfer.download(output.restored, kind.num_planes, size, sample)
                output.restored = None

    def _drop_outputs(self) -> None:
        for output in self.outputs:
            if output.download is not None:
                output.download.release()
        self.outputs.clear()

    # On VapourSynth's thread, so that the device's is free for other filters

    def _receive(self, n: int) -> dict[int, Frame]:
        """Wait for the restored frames up to the block with number n."""
        finished: dict[int, Frame] = {}
        while self.outputs and self.outputs[0].numbers.start <= n and not self.closed:
            if self.outputs[0].download is None:
                self.worker.run(self._begin_more_downloads)
            finished.update(self._to_frames(self.outputs[0]))
            self.outputs.popleft()
        return finished

    def _begin_more_downloads(self) -> None:
        with self.transfer.running():
            self._begin_downloads()

    def _to_frames(self, output: _Output) -> dict[int, Frame]:
        """New VapourSynth frames of restored ones, with the properties of their sources."""
        assert output.download is not None
        frames = {}
        for number, planes in zip(output.numbers, output.download.wait(), strict=True):
            frame = self.core.new_frame(self.clip, self.carriers.pop(number))
            into_planes(frame, planes)
            for index, (where, values) in enumerate(self.not_finite.pop(number, [])):
                np.asarray(frame.plane(index))[where] = values
            frames[number] = frame
        output.download.release()
        for number in [number for number in self.carriers if number < output.numbers.start]:
            del self.carriers[number]
            self.not_finite.pop(number, None)
        return frames


def _scene_marks(frame: Frame) -> tuple[bool, bool]:
    """Whether a frame is marked as the first and as the last of a scene."""
    return frame.int_property("_SceneChangePrev", 0) == 1, frame.int_property("_SceneChangeNext", 0) == 1


def _explained(error: BaseException, needs: str) -> BaseException:
    """The same error, or one that says what to do about it."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in text:
        figures = f" ({needs})" if needs else ""
        return RuntimeError(
            "out of memory; lower block, set tilesize, use fp16 or offload on a GPU, choose a smaller model, "
            f"or restore at a smaller size{figures}"
        )
    return error
