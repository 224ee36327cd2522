"""How cost grows with the work: frames per second and memory against the length of a clip, and against its pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from vsgshift.benchmark.cases import Case, measure_apart
from vsgshift.errors import ProgramError

LENGTHS = 100, 300, 1000, 3000, 10_000
"""Frames."""
SMALL = 64, 48
"""Width and height of the long clips: what is asked is whether their length matters."""
SIZES = (160, 90), (320, 180), (640, 360), (960, 540), (1280, 720)
PATIENCE = 1800.0
"""Seconds for each measurement."""


def against_length(case: Case, lengths: Iterable[int] = LENGTHS) -> list[dict[str, Any]]:
    """A row for each length: clips restored whole through the plugin, each in a process of its own.

    Flat in both columns: `fps`, whose start and end weigh most in short clips, and `memory_mib`.
    """
    return [{"frames": length, **_row(replace(case, length=length))} for length in lengths]


def against_pixels(case: Case, sizes: Sequence[tuple[int, int]] = SIZES) -> list[dict[str, Any]]:
    """A row for each size (width, height), well into a clip: seconds and memory grow with the number of pixels."""
    rows = []
    for width, height in sizes:
        row = _row(replace(case, width=width, height=height))
        megapixels = width * height / 1e6
        if "fps" in row:
            row["megapixels_per_second"] = round(row["fps"] * megapixels, 4)
        rows.append({"size": f"{width}x{height}", "megapixels": round(megapixels, 4), **row})
    return rows


def _row(case: Case) -> dict[str, Any]:
    try:
        figures = measure_apart(case, PATIENCE)
    except ProgramError as error:
        return {"missing": str(error)}
    gpu = figures.gpu_memory_mib
    return {
        "fps": round(figures.fps, 5),
        "memory_mib": round(figures.memory_mib, 1),
        **({} if gpu is None else {"gpu_memory_mib": round(gpu, 1)}),
    }


def evenness(rows: Iterable[dict[str, Any]], key: str) -> float | None:
    """The largest value of a column over the smallest: 1 where it is flat; None where there are no figures."""
    values = [row[key] for row in rows if key in row]
    return round(max(values) / min(values), 3) if values else None
