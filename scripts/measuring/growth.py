"""How cost grows: frames per second and memory against the length of a clip, and against its pixels."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from measuring.settings import Settings
from vsgshift.benchmark.cases import Case, measure_apart
from vsgshift.errors import ProgramError

LENGTHS = 100, 300, 1000, 3000, 10_000
"""Frames."""
SMALL = 64, 48
"""Width and height of the long clips: the question is whether their length matters."""
SIZES = (160, 90), (320, 180), (640, 360), (960, 540), (1280, 720)
PATIENCE = 1800.0
"""Seconds for each measurement."""


def growth(settings: Settings) -> dict[str, Any]:
    """The first network: clips of several lengths restored whole, and several sizes; each in a process of its own.

    Both `fps` and `memory_mib` should be flat against the length, and `megapixels_per_second` against the size.
    """
    subject = settings.subjects[0]
    case = settings.case(subject, SMALL)
    lengths = LENGTHS if settings.frames is None else (max(1, settings.frames // 10), settings.frames)
    by_length = [{"frames": length, **_row(replace(case, length=length))} for length in lengths]
    by_pixels = []
    for width, height in settings.sizes:
        row = _row(replace(case, width=width, height=height))
        megapixels = width * height / 1e6
        if "fps" in row:
            row["megapixels_per_second"] = round(row["fps"] * megapixels, 4)
        by_pixels.append({"size": f"{width}x{height}", "megapixels": round(megapixels, 4), **row})
    return {
        "model": subject.name,
        "length_size": f"{SMALL[0]}x{SMALL[1]}",
        "length": by_length,
        "length_memory_largest_over_smallest": evenness(by_length, "memory_mib"),
        "length_fps_largest_over_smallest": evenness(by_length, "fps"),
        "pixels": by_pixels,
        "pixels_rate_largest_over_smallest": evenness(by_pixels, "megapixels_per_second"),
    }


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
    """The largest value of a column over the smallest: 1 if it is flat; None if there are no figures."""
    values = [row[key] for row in rows if key in row]
    return round(max(values) / min(values), 3) if values else None
