"""A method run over the frames that count, and what the metrics say of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.frames import Clip, Cropped, Frames
from evaluation.metrics import RADIUS, authors_ssim, flicker, psnr, ssim

Method = Callable[[Frames, range], Iterator[Tensor]]
"""Gives the restored frames of a span of the source, in pieces (T, 3, H, W), in order."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a table says of one method on one clip, or on all of them."""

    clip: str
    sigma: float | None
    """Of the noise, on the 8-bit scale; None where none was added."""
    method: str
    setting: dict[str, float | str] = field(default_factory=dict)
    """What a baseline was tuned to."""
    frames: int
    psnr: float
    """dB, mean over frames."""
    worst_psnr: float
    """dB, of the frame with the lowest."""
    authors_ssim: float
    ssim: float
    flicker: float
    """By how much the error changes from frame to frame (`metrics.flicker`), mean; NaN where no two follow."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A row, and the frame that was to be shown, (3, H, W)."""

    row: Row
    shown: Tensor | None


def judge(
    method: Method,
    clip: Clip,
    spans: Sequence[range],
    size: tuple[int, int],
    *,
    name: str,
    sigma: float | None = None,
    setting: dict[str, float | str] | None = None,
    show: int | None = None,
) -> Judged:
    """Run a method over the spans of a clip and compare with the target, cropped to the size (H, W). Raises
    EvaluationError."""
    if min(size) <= 2 * RADIUS:
        raise EvaluationError(f"clip {clip.name}: frames of {size[1]}x{size[0]} are too small to be judged by SSIM")
    target = Cropped(clip.target, size)
    values: list[tuple[Tensor, Tensor, Tensor]] = []
    changes: list[Tensor] = []
    shown = None
    for span in spans:
        number = span.start
        before = None
        for piece in method(Cropped(clip.source, size), span):
            expected = target.read(range(number, number + len(piece)))
            if piece.shape != expected.shape:
                raise EvaluationError(f"{name} gave frames of the wrong size or number on clip {clip.name}")
            values.append((psnr(piece, expected), authors_ssim(piece, expected), ssim(piece, expected)))
            both = torch.stack((piece, expected))
            changes.append(flicker(*(both if before is None else torch.cat((before, both), 1))))
            before = both[:, -1:]
            if show is not None and number <= show < number + len(piece):
                shown = piece[show - number].clone()
            number += len(piece)
        if number != span.stop:
            raise EvaluationError(f"{name} gave {number - span.start} of {len(span)} frames on clip {clip.name}")
    ratios, theirs, ours = (torch.cat(parts) for parts in zip(*values, strict=True))
    row = Row(
        clip=clip.name,
        sigma=sigma,
        method=name,
        setting=setting or {},
        frames=len(ratios),
        psnr=float(ratios.mean()),
        worst_psnr=float(ratios.min()),
        authors_ssim=float(theirs.mean()),
        ssim=float(ours.mean()),
        flicker=float(torch.cat(changes).mean()),
    )
    return Judged(row=row, shown=shown)


def untouched(source: Frames, span: range) -> Iterator[Tensor]:
    """The method that does nothing: its scores are those of the input."""
    for number in span:
        yield source.read(range(number, number + 1))


OVER_CLIPS, OVER_FRAMES = "mean over clips", "mean over frames"


def overall(rows: Sequence[Row]) -> list[Row]:
    """For each sigma and method the mean over clips, which is ours, and over all frames, the authors'."""
    together: dict[tuple[float | None, str], list[Row]] = {}
    for row in rows:
        together.setdefault((row.sigma, row.method), []).append(row)
    return [
        _mean(some, name, [row.frames if name == OVER_FRAMES else 1 for row in some])
        for some in together.values()
        for name in (OVER_CLIPS, OVER_FRAMES)
    ]


def _mean(rows: Sequence[Row], name: str, weights: Sequence[int]) -> Row:
    def mean(values: Sequence[float]) -> float:
        return fmean(values, weights)

    return Row(
        clip=name,
        sigma=rows[0].sigma,
        method=rows[0].method,
        frames=sum(row.frames for row in rows),
        psnr=mean([row.psnr for row in rows]),
        worst_psnr=min(row.worst_psnr for row in rows),
        authors_ssim=mean([row.authors_ssim for row in rows]),
        ssim=mean([row.ssim for row in rows]),
        flicker=mean([row.flicker for row in rows]),
    )
