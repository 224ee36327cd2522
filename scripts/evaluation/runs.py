"""What is measured: methods side by side on clips with a known answer, and what happens if nothing should."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from evaluation.baselines import Baseline, described
from evaluation.frames import Clip, Frames, Kept, Noisy
from evaluation.pictures import busiest, write_side_by_side
from evaluation.protocols import Protocol
from evaluation.report import INPUT
from evaluation.scores import Row, judge, untouched
from evaluation.tuning import tuned
from vsgshift.network import ShiftNet

NOTHING_ADDED, NOISE_ADDED, NOISE_LEFT = "to the input", "noisy to clean", "restored to clean"
"""What is compared where little should happen."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A network, how it is run, and what it is compared with."""

    network: ShiftNet
    protocol: Protocol
    baselines: Sequence[Baseline] = ()
    pictures: Path | None = None
    """A folder for side-by-side crops; None for none."""
    seed: int = 0
    """Of the noise."""
    on_row: Callable[[Row], None] = lambda row: None
    """Called with each row as soon as it is known."""

    @property
    def method(self) -> str:
        """What the network's rows are called."""
        return self.network.name or self.network.variant.name

    def restored(self, source: Frames, span: range, sigma: float | None) -> Iterator[Tensor]:
        """The network as a method."""
        return self.protocol.restore(self.network, source, span, sigma)


def noisy(clip: Clip, sigma: float, seed: int) -> Clip:
    """The clip with seeded noise of that sigma, on the 8-bit scale, added to its clean frames."""
    return replace(clip, source=Kept(Noisy(clip.target, sigma, seed=seed, name=clip.name)))


def compare(run: Run, clips: Iterable[Clip], sigmas: Sequence[float] | None) -> list[Row]:
    """Rows of the input, the network and each baseline, for every clip and sigma (8-bit scale) of the noise to be
    added, or None for clips that are degraded already. Raises EvaluationError."""
    rows: list[Row] = []
    for clip in clips:
        clip = Clip(name=clip.name, source=Kept(clip.source), target=Kept(clip.target))
        for sigma in sigmas or (None,):
            degraded = clip if sigma is None else noisy(clip, sigma, run.seed)
            rows += _compared(run, degraded, sigma)
    return rows


def _compared(run: Run, clip: Clip, sigma: float | None) -> Iterator[Row]:
    spans = run.protocol.spans(run.network.variant, len(clip.target))
    size = run.protocol.size(clip.target.size)
    middle = spans[len(spans) // 2]
    show = middle.start + len(middle) // 2
    pictures: dict[str, Tensor] = {}
    judge_method = partial(judge, clip=clip, spans=spans, size=size, sigma=sigma, show=show if run.pictures else None)

    def row_of(name: str, method: Callable[[Frames, range], Iterator[Tensor]], setting: dict[str, float | str]) -> Row:
        judged = judge_method(method, name=name, setting=setting)
        if judged.shown is not None:
            pictures[f"{name} {judged.row.psnr:.2f}"] = judged.shown
        run.on_row(judged.row)
        return judged.row

    yield row_of(INPUT, untouched, {})
    yield row_of(run.method, lambda source, span: run.restored(source, span, sigma), {})
    for baseline in run.baselines:
        setting = tuned(baseline, clip, spans, size, sigma)
        method = partial(baseline.restore, sigma=sigma, setting=setting)
        yield row_of(baseline.name, method, described(baseline, setting))
    if run.pictures:
        target = clip.target.read(range(show, show + 1))[0, :, : size[0], : size[1]]
        noise = "" if sigma is None else f"-sigma{sigma:g}"
        file = run.pictures / f"{clip.name}{noise}-frame{show}.png"
        write_side_by_side(file, {**pictures, "target": target}, busiest(target))


def harm(run: Run, clips: Iterable[Clip], sigmas: Sequence[float]) -> list[Row]:
    """What the network does to clips that have little noise or none.

    For each sigma that it is given: the output on the clip itself, compared with that; and on the clip
    with noise of that sigma, compared with the clean one, beside the noisy clip.
    """
    rows: list[Row] = []

    def row_of(clip: Clip, sigma: float, name: str, method: Callable[[Frames, range], Iterator[Tensor]]) -> None:
        spans = run.protocol.spans(run.network.variant, len(clip.target))
        size = run.protocol.size(clip.target.size)
        row = judge(method, clip, spans, size, name=name, sigma=sigma).row
        run.on_row(row)
        rows.append(row)

    for clip in clips:
        clip = replace(clip, target=Kept(clip.target))
        for sigma in sigmas:
            method = partial(run.restored, sigma=sigma)
            row_of(replace(clip, source=clip.target), sigma, NOTHING_ADDED, method)
            if sigma:
                row_of(noisy(clip, sigma, run.seed), sigma, NOISE_ADDED, untouched)
                row_of(noisy(clip, sigma, run.seed), sigma, NOISE_LEFT, method)
    return rows
