"""Figures of known machines, which come with the package, and how others compare.

`scripts/benchmark.py reference` makes the table from the committed reports.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

SLOW, FAST = 0.5, 2.0
"""Shares of the known rate outside which a machine is called slow or fast. Cores of like age differ less."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The rate of a model on a known machine."""

    model: str
    size: str
    kind: str
    """cpu or cuda."""
    device: str
    fps: float
    """Frames per second through VapourSynth, RGBS, single precision."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a rate compares with that of a known machine."""

    ratio: float
    """Of the pixels per second."""
    word: str
    """slow, normal or fast."""
    known: Known


def table() -> list[Known]:
    """All that is known."""
    text = resources.files("vsgshift.benchmark").joinpath("reference.json").read_text(encoding="utf-8")
    return [Known(**row) for row in json.loads(text)]


def verdict(
    known: Iterable[Known], *, model: str, size: tuple[int, int], kind: str, device: str, fps: float
) -> Verdict | None:
    """Compare a rate with that of the most like case in a table; None if the model is not known on that kind of device.

    Of several known machines, one of the same name is taken.
    """
    alike = [row for row in known if (row.model, row.kind) == (model, kind)]
    alike = [row for row in alike if row.device == device] or alike
    if not alike:
        return None
    pixels = size[0] * size[1]
    nearest = min(alike, key=lambda row: abs(_pixels(row) - pixels))
    ratio = fps * pixels / (nearest.fps * _pixels(nearest))
    word = "slow" if ratio < SLOW else "fast" if ratio > FAST else "normal"
    return Verdict(ratio=ratio, word=word, known=nearest)


def _pixels(row: Known) -> int:
    width, _, height = row.size.partition("x")
    return int(width) * int(height)
