"""`benchmark`: frames per second and memory on this machine, and whether that is normal."""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vsgshift.cli.options import Commands, add_command, add_how, chosen_how, size
from vsgshift.errors import ProgramError, TooSlowError
from vsgshift.parameters import HOW

if TYPE_CHECKING:
    from vsgshift.benchmark.cases import Case, Figures
    from vsgshift.benchmark.reference import Verdict

SIZES = (320, 180), (640, 360)
"""Width and height, if none are given: so small that a CPU is done in time."""
PATIENCE = 110.0
"""Seconds for everything, if no models or sizes are given."""
FOREVER = 3600.0
"""Seconds that a case may take if there is no hurry."""
MARGIN = 1.5
"""A case is left out if this many times its estimated time is more than it may take."""
DESCRIPTION = """\
Measure frames per second and memory of each installed model on this machine, and compare with machines
whose figures are known. By default it ends within two minutes and leaves out what would take longer.

  vsgshift benchmark                                  installed models at 320x180 and 640x360
  vsgshift benchmark --model tiny-denoise --size 1920x1080
  vsgshift benchmark --device cpu --json              the CPU, for a program
"""


@dataclass(kw_only=True)
class Row:
    """A case and what became of it."""

    case: "Case"
    figures: "Figures | None" = None
    verdict: "Verdict | None" = None
    missing: str | None = None
    """Why there are no figures."""


def add(commands: Commands) -> None:
    """Enter the command."""
    measurer = add_command(
        commands,
        "benchmark",
        benchmark,
        help="measure frames per second and memory on this machine, and tell whether that is normal",
        description=DESCRIPTION,
    )
    measurer.add_argument("--model", nargs="+", metavar="NAME", help="models; default: all that are installed")
    measurer.add_argument("--size", nargs="+", type=size, metavar="WxH", help="default: 320x180 640x360")
    measurer.add_argument("--seconds", type=float, default=4.0, metavar="N", help="to measure each for; default 4")
    measurer.add_argument("--json", action="store_true", help="print one JSON object")
    add_how(measurer)


def benchmark(options: argparse.Namespace) -> int:
    """Measure all cases; the exit status is 1 if one of them failed."""
    from vsgshift.benchmark.measures import busyness

    # Who names models or sizes wants them, however long they take.
    end = None if options.model or options.size else time.monotonic() + PATIENCE
    busy = busyness()
    rows, failures = _measured(_cases(options), end, quiet=options.json)
    if options.json:
        sys.stdout.write(
            json.dumps({"load_per_core": round(busy, 2), "results": list(map(_plain, rows))}, indent=2) + "\n"
        )
    else:
        sys.stdout.write(_conclusion(rows, busy))
    return 1 if failures else 0


def _measured(cases: "list[Case]", end: float | None, *, quiet: bool) -> tuple[list[Row], int]:
    """Measure one after the other until ``end`` (time.monotonic), if there is one; also how many failed."""
    from vsgshift.benchmark.cases import measure_apart

    failures = 0
    rows: list[Row] = []
    for case in cases:
        row = Row(case=case)
        # Twice its share, so that a slow model does not use up the others' time.
        share = FOREVER if end is None else 2 * max(0.0, end - time.monotonic()) / (len(cases) - len(rows) + 1)
        estimate = _estimate(case, rows)
        if end is not None and estimate is None:
            row.missing = f"left out: no figures at a smaller size; ask with --model {case.model}"
        elif end is not None and estimate is not None and MARGIN * estimate > share:
            row.missing = f"left out: it may take {estimate:.0f} s and more; ask with --model {case.model}"
        else:
            try:
                row.figures = measure_apart(case, patience=share)
                row.verdict = _verdict(case, row.figures)
            except TooSlowError as error:
                row.missing = f"{error}; ask with --model {case.model}"
            except ProgramError as error:
                row.missing = str(error)
                failures += 1
        rows.append(row)
        if not quiet:
            sys.stdout.write(_line(row))
            sys.stdout.flush()
    return rows, failures


def _estimate(case: "Case", rows: list[Row]) -> float | None:
    """Seconds that a case will take, from the same model at a smaller size; None if that gave no figures."""
    for row in reversed(rows):
        if row.case.model != case.model:
            continue
        if row.figures is None:
            return None
        larger = case.width * case.height / (row.case.width * row.case.height)
        a_block = case.block * larger / row.figures.fps
        # Two to get warm and as many of looking ahead; then two, or as long as --seconds says.
        return 4 * a_block + max(case.seconds, 2 * a_block)
    return case.seconds


def _cases(options: argparse.Namespace) -> "list[Case]":
    """Small frames first, so that a model that is too slow is known before."""
    from vsgshift.benchmark.cases import Case
    from vsgshift.weights import MODELS
    from vsgshift.weights.catalogue import imported_names
    from vsgshift.weights.store import find

    names = options.model or [*(model.name for model in MODELS.values() if model.installed), *imported_names()]
    for name in names:
        find(name)
    return [
        Case(model=name, width=width, height=height, how=chosen_how(options), seconds=options.seconds)
        for name in names
        for width, height in sorted(options.size or SIZES)
    ]


def _verdict(case: "Case", figures: "Figures") -> "Verdict | None":
    from vsgshift.benchmark import reference

    # The known figures are those of the defaults.
    if any(value for name, value in case.how.items() if name not in ("device_id", "block")):
        return None
    size = case.width, case.height
    return reference.verdict(
        reference.table(), model=case.model, size=size, kind=figures.kind, device=figures.device, fps=figures.fps
    )


def _line(row: Row) -> str:
    head = f"{row.case.model:15} {row.case.size:>9}  "
    if row.figures is None:
        return f"{head}{row.missing}\n"
    figures = row.figures
    memory = f"{figures.memory_mib / 1024:.2f} GiB"
    if figures.gpu_memory_mib is not None:
        memory += f", GPU {figures.gpu_memory_mib / 1024:.2f} GiB"
    judged = (
        "nothing to compare with" if row.verdict is None else f"{row.verdict.word}: {row.verdict.ratio:.2g} x known"
    )
    return f"{head}{figures.fps:8.2f} frames/s  {memory}  {judged}\n"


def _conclusion(rows: list[Row], busy: float) -> str:
    measured = [row for row in rows if row.figures]
    lines = [""]
    if measured and (figures := measured[0].figures):
        threads = f", {figures.threads} threads" if figures.kind == "cpu" else ""
        lines.append(f"on {figures.device}{threads}; RGB float through VapourSynth, memory of the whole process")
    if known := sorted({row.verdict.known.device for row in rows if row.verdict}):
        lines.append(f"known: {'; '.join(known)}")
    if busy > 1:
        lines.append(
            f"other programs keep the machine busy ({busy:.1f} processes for each core): the figures are too low"
        )
    elif any(row.verdict and row.verdict.word == "slow" for row in rows):
        lines.append("slow: is the machine saving power, or OMP_NUM_THREADS set? see vsgshift doctor")
    return "\n".join(lines) + "\n"


def _plain(row: Row) -> dict[str, object]:
    known: dict[str, object] = asdict(row.case)
    del known["how"]
    known |= {each.name: row.case.how.get(each.name) for each in HOW}
    if row.figures is None:
        return known | {"missing": row.missing}
    return known | asdict(row.figures) | {"verdict": asdict(row.verdict) if row.verdict else None}
