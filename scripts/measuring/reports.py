"""Reports: what was measured, when, on what and of which commit, as one JSON object."""

import json
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import vapoursynth as vs

from vsgshift.benchmark import reference
from vsgshift.benchmark.measures import device_name
from vsgshift.errors import ProgramError
from vsgshift.processes import run

ROOT = Path(__file__).parents[2]
MEASURED = "vsgshift", "scripts/measuring", "scripts/evaluation"
"""Folders whose changes make a report one of a changed commit."""


def report(benchmark: str, result: object, **how: object) -> dict[str, Any]:
    """A report of a kind; ``how`` is what a reader must know to measure the same, such as precision and weights."""
    return {
        "benchmark": benchmark,
        **origin(),
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "torch": torch.__version__,
        "vapoursynth": vs.core.core_version.release_major,
        **how,
        "result": result,
    }


def origin() -> dict[str, object]:
    """When and of what figures are: `date`, `commit`, with "-changed" if files differ from it, and Python's version."""
    commit = "unknown"
    with suppress(ProgramError):
        commit = _git("rev-parse", "HEAD")
        commit += "-changed" if _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED) else ""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
    }


def _git(*arguments: str) -> str:
    return run(["git", "-C", ROOT, *arguments]).decode().strip()


def text(of: object) -> str:
    """As it is written to files."""
    return json.dumps(of, indent=2) + "\n"


def rows(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, str | float]]:
    """The table out of reports of `scripts/benchmark.py machine`; others are passed over."""
    cases: list[dict[str, str | float]] = []
    for report in reports:
        if report.get("benchmark") != "machine" or report.get("precision", "float32") != "float32":
            continue
        device = str(report["device"])
        # The reports name a CPU by its architecture and cores, a GPU by its maker's name.
        kind = "cpu" if device.endswith(" cores") else "cuda"
        for name, figures in report["result"].items():
            model, size = name.split()
            if "filter_fps" not in figures:
                continue
            cases.append({"model": model, "size": size, "kind": kind, "device": device, "fps": figures["filter_fps"]})
    return cases


def write_reference(folder: Path) -> Path:
    """Write what the reports in a folder know of machines' speed into the package."""
    reports = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    table = Path(reference.__file__).with_name("reference.json")
    table.write_text(text(rows(reports)), encoding="utf-8")
    return table
