"""A run's results as a table to read and as JSON to keep."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from evaluation.paper import figures
from evaluation.scores import OVER_CLIPS, OVER_FRAMES, Row, overall
from measuring.reports import origin
from vsgshift._version import __version__
from vsgshift.benchmark.measures import device_name

INPUT = "input"
"""The name of the method that does nothing."""
PACKAGES = ("torch", "vapoursynth", "vapoursynth-bm3d", "vapoursynth-bestsource", "imageio-ffmpeg", "pillow")
HEADINGS = (
    "clip",
    "sigma",
    "method",
    "frames",
    "PSNR",
    "gain",
    "worst",
    "SSIM (authors')",
    "SSIM",
    "flicker",
    "the paper",
    "tuned to",
)


def table(rows: Sequence[Row], *, method: str, dataset: str | None = None) -> str:
    """The rows of every clip, then the means, and beside those of the network's method the paper's figures for a data
    set."""
    paper = {row.sigma: paper_cell(dataset, row.sigma) for row in rows}
    means = overall(rows)
    if len({row.frames for row in rows}) == 1:
        # Clips of one length: both means are the same.
        means = [row for row in means if row.clip == OVER_CLIPS]
    shown = [*rows, *(means if len({row.clip for row in rows}) > 1 or any(paper.values()) else ())]
    inputs = {(row.clip, row.sigma): row.psnr for row in shown if row.method == INPUT}
    cells: list[Sequence[str]] = [HEADINGS]
    for row in shown:
        before = inputs.get((row.clip, row.sigma), math.nan)
        setting = " ".join(f"{name}={value}" for name, value in row.setting.items())
        cells.append(
            (
                row.clip,
                "" if row.sigma is None else f"{row.sigma:g}",
                row.method,
                str(row.frames),
                f"{row.psnr:.2f}",
                "" if row.method == INPUT or not math.isfinite(before) else f"{row.psnr - before:+.2f}",
                f"{row.worst_psnr:.2f}",
                f"{row.authors_ssim:.4f}",
                f"{row.ssim:.4f}",
                f"{row.flicker:.2f}" if math.isfinite(row.flicker) else "",
                paper[row.sigma] if row.method == method and row.clip in (OVER_CLIPS, OVER_FRAMES) else "",
                setting,
            )
        )
    # Columns that say nothing are left out.
    kept = [n for n, _ in enumerate(HEADINGS) if any(row[n] for row in cells[1:])]
    return aligned([[row[n] for n in kept] for row in cells])


def paper_cell(dataset: str | None, sigma: float | None) -> str:
    """The paper's figures on a data set: PSNR of each of its networks, with SSIM (authors') where given."""
    return ", ".join(
        f"{name} {decibel:.2f}" + ("" if similarity is None else f" / {similarity:.3f}")
        for name, (decibel, similarity) in figures(dataset, sigma).items()
    )


def comparisons(rows: Sequence[Row], method: str) -> str:
    """By how much a method's mean over clips differs from those of the others, a line for each sigma and method."""
    means = {(row.sigma, row.method): row.psnr for row in overall(rows) if row.clip == OVER_CLIPS}
    lines = []
    for (sigma, other), decibel in means.items():
        if other not in (method, INPUT):
            noise = "" if sigma is None else f"sigma {sigma:g}: "
            lines.append(f"{noise}{method} is {means[sigma, method] - decibel:+.2f} dB against {other}\n")
    return "".join(lines)


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Cells as columns of text under the first row: to the right where all others are numbers."""

    def number(cell: str) -> bool:
        return not cell or cell.lstrip("+-").replace(".", "", 1).isdigit() or cell in ("inf", "nan")

    columns = list(zip(*cells, strict=True))
    to_the_right = [all(map(number, column[1:])) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_the_right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)


def as_json(rows: Sequence[Row], *, dataset: str | None = None) -> dict[str, object]:
    """The rows and means as JSON's types; an infinite PSNR is the string "inf"."""
    sigmas = dict.fromkeys(row.sigma for row in rows)
    paper = [
        {"dataset": dataset, "sigma": sigma, "network": name, "psnr": decibel, "authors_ssim": similarity}
        for sigma in sigmas
        for name, (decibel, similarity) in figures(dataset, sigma).items()
    ]
    means = overall(rows)
    return {
        "clips": [_plain(row) for row in rows],
        "mean_over_clips": [_plain(row) for row in means if row.clip == OVER_CLIPS],
        "mean_over_frames": [_plain(row) for row in means if row.clip == OVER_FRAMES],
        "paper": paper,
    }


def _plain(row: Row) -> dict[str, object]:
    values: Mapping[str, object] = asdict(row)
    return {key: finite(value) for key, value in values.items()}


def finite(value: object) -> object:
    """A value that JSON can hold: six digits, and words for what is no number."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    return value


def environment(device: torch.device, weights: Path | None) -> dict[str, object]:
    """What figures belong to: date, commit, machine, versions, and the file of weights with its SHA-256."""
    known = {**origin(), "device": device_name(device), "vsgshift": __version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            known[package] = version(package)
    if weights is not None:
        known["weights"] = {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    return known
