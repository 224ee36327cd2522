"""Restore a clip of any length, exactly, in bounded memory."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from vsgshift.network import ShiftNet
from vsgshift.streaming.graphed import GraphedStep, Step
from vsgshift.streaming.offload import OffloadingPipeline
from vsgshift.streaming.padding import pad_to_multiple
from vsgshift.streaming.pipeline import Pipeline
from vsgshift.streaming.steady import SteadyTimeline

type Execution = Literal["auto", "pipeline", "steady"]
"""How a stream runs: "pipeline" is the plain way; "steady" keeps its state in place as soon as the pipeline is
full; "auto" is the pipeline on the CPU, and on a CUDA device the steady state, replayed as a CUDA graph."""


class Stream:
    """Restores frames as they come, with the result that the whole clip at once would have.

    Frames are pushed in order; a restored frame is ready once `network.radius` frames after it (or the end of its
    segment) have been pushed. Memory does not depend on the number of frames, and every layer sees every frame once.

    Args:
        network: on the device, in the precision and for the task that is wanted.
        block: frames per run of the network; larger blocks use a device better and need more memory.
        midway: the first frame pushed continues a segment that the stream has not seen. Its result
            and those of the `radius` frames after it cannot be known and are left out, unless a
            cut comes between: the first frame returned is number `radius`, or the first cut.
        strength: share of the network's change that is applied, 0 to 1.
        execution: see `Execution`. On a CUDA device, push on one and the same CUDA stream.
        offload: let skips wait in the host's memory, see `OffloadingPipeline`; then ``execution`` is "pipeline".

    Results are the same for every ``block``, ``execution`` and way of pushing, up to rounding.

    Attributes:
        restored: numbers, counted from the first frame pushed, of the frames that the last call of
            `push` or `finish` returned.
    """

    def __init__(
        self,
        network: ShiftNet,
        *,
        block: int = 4,
        midway: bool = False,
        strength: float = 1.0,
        execution: Execution = "auto",
        offload: bool = False,
    ) -> None:
        if block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        self.network = network
        self.block = block
        self.strength = strength
        # State that comes and goes cannot lie where a graph expects it. A merge whose numbers the host reads has none.
        graphless = network.merger is not None and not network.merger.on_device and execution == "auto"
        self.execution = "pipeline" if offload or graphless else execution
        self._pipeline = OffloadingPipeline() if offload else Pipeline()
        self._steady: SteadyTimeline | None = None
        self._step: Step | None = None
        self._cuts: set[int] = set() if midway else {0}
        self._pushed = 0
        self._entered = 0
        self._buffer: list[tuple[Tensor, Tensor | None]] = []
        self._size: tuple[int, int] | None = None
        self._empty: tuple[Tensor, Tensor | None]
        self._finished = False
        self.restored = range(0)

    @property
    def mode(self) -> str:
        """How it runs now: "pipeline", "steady", or on a CUDA device "warming up", "graph" or "eager"."""
        if isinstance(self._step, GraphedStep):
            return self._step.mode
        return "pipeline" if self._step is None else "steady"

    def push(self, frames: Tensor, noise: Tensor | None = None, cuts: Sequence[bool] | None = None) -> Tensor:
        """Add frames at the end of the stream.

        Args:
            frames: (T, 3, H, W), RGB in [0, 1], any H and W, the same for all frames of a stream.
            noise: (T, 1, H, W), noise standard deviation on the same scale; denoising networks only.
            cuts: for each frame, whether it starts a new segment.

        Returns:
            (T', 3, H, W): the restored frames that are ready now and were not returned before, in order.

        Raises:
            ValueError: shapes, types or devices do not fit each other or the network, or the stream is finished.
        """
        if self._finished:
            raise ValueError("the stream is finished; make a new one")
        self.network.check_tensors(frames, noise)
        size = (int(frames.shape[-2]), int(frames.shape[-1]))
        if self._size is None:
            self._size = size
        if size != self._size:
            raise ValueError(f"frames of one stream must have one size: {self._size} before, now {size}")
        if cuts is not None and len(cuts) != len(frames):
            raise ValueError(f"{len(frames)} frames came with {len(cuts)} cut flags")
        multiple = self.network.variant.multiple
        padded = pad_to_multiple(frames, multiple)
        padded_noise = None if noise is None else pad_to_multiple(noise, multiple)
        self.network.check(padded, padded_noise)
        for index, starts in enumerate(cuts or ()):
            if starts:
                self._cuts.add(self._pushed + index)
        self._buffer.append((padded, padded_noise))
        self._pushed += len(frames)

        restored = [frames[:0]]
        self.restored = range(0)
        while self._pushed - self._entered >= self.block:
            restored.append(self._run(self.block))
        return torch.cat(restored)

    def finish(self) -> Tensor:
        """End the stream, as a cut would. Returns the frames not returned yet, (T, 3, H, W)."""
        if self._finished or self._size is None:
            raise ValueError("the stream is finished, or nothing was pushed")
        self._finished = True
        if self._steady is not None:
            self._pipeline, self._steady, self._step = self._steady.hand_back(), None, None
        restored = []
        self.restored = range(0)
        clock = self._entered
        while clock < self._pushed + self.network.radius:
            clock += self.block
            restored.append(self._run(min(self.block, self._pushed - self._entered), clock, self._pushed))
        return torch.cat(restored)

    def rest(self) -> None:
        """Where skips are offloaded, take the rest of the state to the host too; the next run fetches it."""
        if isinstance(self._pipeline, OffloadingPipeline):
            self._pipeline.rest()

    def _run(self, count: int, clock: int | None = None, length: int | None = None) -> Tensor:
        frames, noise = self._take(count)
        span = range(self._entered, self._entered + count)
        self._entered = span.stop
        with torch.inference_mode():
            if self._steady is not None and self._step is not None:
                self._steady.step(self._cuts)
                restored = self._step(frames, noise)
                span = self._steady.span
            else:
                self._pipeline.step(span, span.stop if clock is None else clock, cuts=self._cuts, length=length)
                restored = self.network.run(frames, noise, self._pipeline, strength=self.strength)
                span = self._pipeline.span
                if length is None and len(span) == self.block:
                    self._go_steady(frames.is_cuda)
        if span:
            self.restored = range(self.restored.start if self.restored else span.start, span.stop)
        # A cut matters from the moment its frame enters until no frame after it asks how far back its segment goes.
        oldest = self._entered - 2 * self.network.radius - self.block
        self._cuts = {number for number in self._cuts if number >= oldest}
        assert self._size is not None
        return restored[..., : self._size[0], : self._size[1]]

    def _go_steady(self, cuda: bool) -> None:
        """The pipeline is full: go on with a state of constant shapes, if that is wanted."""
        if (
            self.execution == "pipeline"
            or (self.execution == "auto" and not cuda)
            or type(self._pipeline) is not Pipeline
        ):
            return
        timeline = SteadyTimeline(self._pipeline, self.block)
        network, strength = self.network, self.strength

        # It must not know the stream: in a cycle of references the device's memory would be freed late.
        def step(frames: Tensor, noise: Tensor | None) -> Tensor:
            timeline.begin()
            return network.run(frames, noise, timeline, strength=strength)

        self._steady = timeline
        self._step = GraphedStep(step) if self.execution == "auto" else step

    def _take(self, count: int) -> tuple[Tensor, Tensor | None]:
        """The next ``count`` frames that were pushed and have not entered the network."""
        if not count:
            return self._empty
        taken: list[tuple[Tensor, Tensor | None]] = []
        while count:
            frames, noise = self._buffer.pop(0)
            if len(frames) > count:
                rest = None if noise is None else noise[count:]
                self._buffer.insert(0, (frames[count:], rest))
                frames, noise = frames[:count], None if noise is None else noise[:count]
            taken.append((frames, noise))
            count -= len(frames)
        frames = torch.cat([frames for frames, _ in taken]) if len(taken) > 1 else taken[0][0]
        noises = [noise for _, noise in taken if noise is not None]
        joined = torch.cat(noises) if len(noises) > 1 else noises[0] if noises else None
        self._empty = (frames[:0], None if joined is None else joined[:0])
        return frames, joined


def restore(
    network: ShiftNet, clip: Tensor, noise: Tensor | float | None = None, *, cuts: Iterable[int] = (), block: int = 4
) -> Tensor:
    """Restore a clip by streaming it.

    Args:
        network: see `Stream`.
        clip: (T, 3, H, W), RGB in [0, 1], any H and W.
        noise: (T, 1, H, W), noise standard deviation on the same scale, or one number for all of it; denoising
            networks only. Noise of 10 on the 8-bit scale is 10 / 255.
        cuts: indices of frames that start a segment; segments do not influence each other.
        block: frames per run of the network.

    Returns:
        (T, 3, H, W), not clamped: the whole-clip result under the "hold" rule.

    Raises:
        ValueError: shapes, types or devices do not fit the network, values are not on the [0, 1] scale, or a cut
            lies outside the clip.
    """
    network.check_tensors(clip, noise if isinstance(noise, Tensor) else None)
    if isinstance(noise, int | float):
        noise = clip.new_full((len(clip), 1, *clip.shape[2:]), noise)
    _check_scale(clip, noise)
    starts = [False] * len(clip)
    for cut in cuts:
        if not 0 <= cut < len(clip):
            raise ValueError(f"cut {cut} lies outside the clip of {len(clip)} frames")
        starts[cut] = True
    stream = Stream(network, block=block)
    restored = []
    for first in range(0, len(clip), block):
        part = slice(first, first + block)
        restored.append(stream.push(clip[part], None if noise is None else noise[part], starts[part]))
    restored.append(stream.finish())
    return torch.cat(restored)


LARGEST_SAMPLE = 8
"""Of a clip on the [0, 1] scale, with room for what lies above white; one on the 8-bit scale reaches further."""


def _check_scale(clip: Tensor, noise: Tensor | None) -> None:
    """Raise ValueError for values that are on another scale."""
    if clip.max() > LARGEST_SAMPLE:
        raise ValueError(f"clip has values up to {float(clip.max()):g}; RGB in [0, 1] is wanted: clip / 255")
    if noise is not None and not (noise.min() >= 0 and noise.max() <= 1):
        reach = f"{float(noise.min()):g} to {float(noise.max()):g}"
        raise ValueError(f"noise has values from {reach}; 0 to 1 is wanted: sigma / 255")
