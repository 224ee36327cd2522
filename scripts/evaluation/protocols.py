"""Which frames of a clip are restored and scored, and how the network is run over them.

`Full` is what the plugin does: every frame counts, by exact streaming. `Published` is what the
authors did for the figures in their paper (Li et al., CVPR 2023), short cuts included; figures can
be compared with the paper's only under it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.frames import Cropped, Frames
from evaluation.memory import warn_if_short
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.variants import AuthorsRun
from vsgshift.plugin.devices import precision
from vsgshift.streaming import Stream
from vsgshift.streaming.padding import pad_to_multiple

DROPPED = 2
"""Frames at each end of a chunk that the authors feed, but do not keep."""
CROP = 4
"""The authors crop frames to a multiple of this many pixels."""
LONGEST = 100
"""Denoising, the authors halve clips with more than this many frames to restore."""
PIECE = 4
"""Frames that are read at a time."""


@dataclass(frozen=True, kw_only=True)
class Full:
    """Every frame, streamed as the plugin does it; or some of them, restored as among all the others."""

    half: bool = False
    """Half precision."""
    frames: int | None = None
    """How many frames count; None for all."""
    segments: int = 3
    """Where not all count: the number of runs of consecutive frames, evenly spaced over the clip."""

    name = "full"

    def spans(self, variant: Variant, length: int) -> list[range]:
        """Numbers of the frames that count, in runs. Raises EvaluationError if none would."""
        if self.frames is None or self.frames >= length:
            return [range(length)]
        return evenly_spaced(length, self.frames, self.segments)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the upper left part of a frame of that size that counts."""
        return size

    def dtype(self, variant: Variant, device: torch.device) -> torch.dtype:
        """The precision in which the network is to be run."""
        return precision(device, self.half)

    def restore(self, network: ShiftNet, source: Frames, span: range, sigma: float | None) -> Iterator[Tensor]:
        """The restored frames of one run, in pieces (T, 3, H, W), float32 on the CPU, not clamped.

        sigma: of the noise, on the 8-bit scale; None for deblurring.
        """
        # A frame depends on `radius` frames on each side and on no other, so with these the result is
        # that of the whole clip.
        first, last = max(span.start - network.radius, 0), min(span.stop + network.radius, len(source))
        stream = Stream(network, block=PIECE, midway=first > 0)
        done = span.start
        for start in range(first, last, PIECE):
            numbers = range(start, min(start + PIECE, last))
            frames = source.read(numbers)
            restored = stream.push(*_inputs(network, frames, sigma))
            kept = _within(restored, first + stream.restored.start, span)
            if len(kept):
                done += len(kept)
                yield kept.float().cpu()
        restored = stream.finish()
        kept = _within(restored, first + stream.restored.start, span)
        if len(kept):
            done += len(kept)
            yield kept.float().cpu()
        assert done == span.stop


@dataclass(frozen=True, kw_only=True)
class Published:
    """The authors' way.

    Deblurring: half precision; frames cropped to a multiple of 4; chunks of 48 (plus) or 96 frames at once, each with 2
    more on either side; an incomplete last chunk is left out. Denoising: plus in single and small in half precision;
    the same crop; the whole clip at once, or in two halves where more than 100 frames are to be restored; in four
    quadrants, each of which reaches 17 to 32 pixels over the middle, so that its sides are multiples of 16. In both the
    first and last 2 frames are left out.

    Where half precision is wanted and a CPU has none, single is used. Where a side that the authors would feed is no
    multiple of what the network needs, which their program could not run, the last row or column is repeated, and the
    repetitions are cut off again. Networks that are not theirs are run as small is.
    """

    chunk: int | None = None
    """Deblurring: frames in a chunk; None for the 48 and 96 of the published figures."""

    name = "published"

    def spans(self, variant: Variant, length: int) -> list[range]:
        inner = length - 2 * DROPPED
        if variant.task == "denoise":
            if inner < 1:
                raise EvaluationError(
                    f"a clip of {length} frames: the published protocol leaves out 2 at each end; use the full one"
                )
            middle = DROPPED + inner // 2
            ends = [DROPPED, middle, DROPPED + inner] if inner > LONGEST else [DROPPED, DROPPED + inner]
            return [range(start, stop) for start, stop in pairwise(ends)]
        chunk = self.chunk or _run(variant).chunk
        if inner < chunk:
            raise EvaluationError(
                f"a clip of {length} frames: the published protocol restores chunks of {chunk} and needs "
                f"{chunk + 2 * DROPPED} frames; use the full one, or a smaller chunk"
            )
        return [range(DROPPED + k * chunk, DROPPED + (k + 1) * chunk) for k in range(inner // chunk)]

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = size
        if min(size) < CROP:
            raise EvaluationError(
                f"frames of {width}x{height} are too small for the published protocol; use the full one"
            )
        return height - height % CROP, width - width % CROP

    def dtype(self, variant: Variant, device: torch.device) -> torch.dtype:
        if not _run(variant).half:
            return torch.float32
        known = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_fp16_supported()
        return torch.float16 if known else torch.float32

    def restore(self, network: ShiftNet, source: Frames, span: range, sigma: float | None) -> Iterator[Tensor]:
        numbers = range(span.start - DROPPED, span.stop + DROPPED)
        frames = Cropped(source, self.size(source.size)).read(numbers)
        height, width = frames.shape[2:]
        try:
            if network.variant.task == "deblur":
                yield _at_once(network, frames, None)
            else:
                yield _in_quadrants(network, frames, sigma)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise EvaluationError(
                    f"out of memory: the published protocol holds {len(numbers)} frames of {width}x{height} at once; "
                    "use the full protocol, or for deblurring a smaller chunk"
                ) from error
            raise


Protocol = Full | Published
"""How clips are restored and which part of them counts."""


def _run(variant: Variant) -> AuthorsRun:
    return variant.authors or AuthorsRun()


def evenly_spaced(length: int, count: int, runs: int) -> list[range]:
    """``count`` of ``length`` numbers in ``runs`` runs, each in the middle of its share of the whole."""
    runs = min(runs, count)
    spans = []
    for index in range(runs):
        size = count * (index + 1) // runs - count * index // runs
        start, stop = length * index // runs, length * (index + 1) // runs
        first = start + (stop - start - size) // 2
        spans.append(range(first, first + size))
    return spans


def overlap(side: int) -> int:
    """Pixels that the authors' quadrants of a frame with a side of this length reach over its middle."""
    return min(32 - side // 2 % 16, side // 2)


def _at_once(network: ShiftNet, frames: Tensor, sigma: float | None) -> Tensor:
    """All but the first and last 2 of the frames, restored by whole-clip inference."""
    height, width = frames.shape[2:]
    padded = pad_to_multiple(frames, network.variant.multiple)
    weight = next(network.parameters())
    warn_if_short(network.variant, len(padded), (height, width), weight.dtype, weight.device)
    with torch.inference_mode():
        restored: Tensor = network(*_inputs(network, padded, sigma))
    return restored[DROPPED:-DROPPED, :, :height, :width].float().cpu()


def _in_quadrants(network: ShiftNet, frames: Tensor, sigma: float | None) -> Tensor:
    """The same, each quadrant of the frames by itself."""
    height, width = frames.shape[2:]
    top, left = height // 2, width // 2
    down, right = overlap(height), overlap(width)
    out = torch.empty(len(frames) - 2 * DROPPED, 3, height, width)
    for rows, part_rows in ((slice(0, top), slice(0, top + down)), (slice(top, height), slice(top - down, height))):
        for columns, part_columns in (
            (slice(0, left), slice(0, left + right)),
            (slice(left, width), slice(left - right, width)),
        ):
            part = _at_once(network, frames[:, :, part_rows, part_columns], sigma)
            first_row, first_column = rows.start - part_rows.start, columns.start - part_columns.start
            out[:, :, rows, columns] = part[
                :,
                :,
                first_row : first_row + rows.stop - rows.start,
                first_column : first_column + columns.stop - columns.start,
            ]
    return out


def _inputs(network: ShiftNet, frames: Tensor, sigma: float | None) -> tuple[Tensor, Tensor | None]:
    """Frames and noise map where the network is, in its precision."""
    weight = next(network.parameters())
    frames = frames.to(device=weight.device, dtype=weight.dtype)
    if network.variant.task == "deblur":
        return frames, None
    if sigma is None:
        raise EvaluationError(f"{network.variant.name} removes noise; it needs a sigma")
    return frames, frames.new_full((len(frames), 1, *frames.shape[2:]), sigma / 255)


def _within(restored: Tensor, first: int, span: range) -> Tensor:
    """Those of the frames, the first of which has the number ``first``, that lie in the span."""
    return restored[max(span.start - first, 0) : max(span.stop - first, 0)]
