"""Everything that only a GPU can tell, in one go, the most needed first; scripts/gpu_check.sh sets up and runs this.

    scripts/gpu_check.sh                          # with a python3 that has torch, cupy and vsgshift
    scripts/gpu_check.sh --wheels DIR             # without a registry: *.whl of the folder are installed
    scripts/gpu_check.sh --against DIR            # in turns with the authors' networks in a checkout of theirs
    scripts/gpu_check.sh --dry                    # on the CPU, in little: tries the check itself

First whether the filter works at all, the fast way; equality with double precision; speed and peak memory of all
networks, sizes and blocks; tests; where the time goes, by layer and by kernel; vspipe and latency; memory along 2,000
frames; 2160p last. A step that fails or takes too long is recorded with what it has so far, and does not stop the
others. The report goes to scripts/benchmarks, to be committed; it is written again after each step.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsgshift.errors import ProgramError, TooSlowError
from vsgshift.files import atomic_write
from vsgshift.openmp import wait_passively
from vsgshift.processes import Process

ROOT = Path(__file__).parent.parent
NEEDS_CUDA = "cuda.is_available"
"""What the files of tests that need a GPU have in them."""
LAST_LINES = 40
"""Lines of a failed command's output that the report has."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command."""

    name: str
    command: tuple[str, ...]
    """OUT stands for the report that it writes; without it, its last lines are its result."""
    limit: float
    """Seconds."""


def main(given: list[str] | None = None) -> int:
    """Run the steps and write the report; the exit status is 1 if one of them did not pass."""
    wait_passively()  # as in VapourSynth
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="DIR", help="a checkout of the authors' repository")
    parser.add_argument("--dry", action="store_true", help="on the CPU, in little; worthless figures")
    parser.add_argument("--minutes", type=float, default=7.75, metavar="N", help="for all steps; default 7.75")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps")
    parser.add_argument("--list", action="store_true", help="list the steps and their commands, run nothing")
    parser.add_argument("--commit", help="that the checkout is of, if git cannot tell")
    parser.add_argument("-o", "--output", type=Path, help="default: scripts/benchmarks/DEVICE-check.json")
    arguments = parser.parse_args(given)
    steps = list(dry_steps(arguments.against) if arguments.dry else gpu_steps(arguments.against))
    if unknown := set(arguments.only or ()) - {step.name for step in steps}:
        parser.error(f"unknown step {sorted(unknown)[0]}; there are {', '.join(step.name for step in steps)}")
    steps = [step for step in steps if not arguments.only or step.name in arguments.only]
    if arguments.list:
        for step in steps:
            print(f"{step.name:20} {step.limit:4.0f} s  {' '.join(step.command[1:])}")
        return 0

    from measuring import reports

    known = graphics()
    output = arguments.output

    def write(outcomes: dict[str, dict[str, Any]]) -> None:
        nonlocal output
        more = {"first_failure": first_failure(outcomes), "ratios": ratios(outcomes)}
        report = reports.report("check", outcomes, dry=arguments.dry, **more, **known)
        report["commit"] = arguments.commit or report["commit"]
        name = re.sub(r"[^a-z0-9]+", "-", str(report["device"]).lower()).strip("-")
        output = output or ROOT / "scripts" / "benchmarks" / f"{name}-check.json"
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output) as file:
            file.write_text(reports.text(report), encoding="utf-8")

    outcomes = run_steps(steps, arguments.minutes, write)
    print(output)
    return 0 if all(outcome["status"] == "passed" for outcome in outcomes.values()) else 1


def gpu_steps(against: Path | None) -> Iterator[Step]:
    """What is run on a GPU, the most needed first."""
    half = ("--fp16", "--device", "cuda")
    yield measure("smoke", 90, "smoke", *half)
    # A network that merges frames.
    yield measure("smoke denoising", 60, "smoke", "--model", "tiny-denoise", *half)
    yield measure("equality", 75, "equality", "--device", "cuda")
    for size in ("720p", "1080p"):
        for family, limit in (("small", 25), ("plus", 40), ("tiny", 20), ("fine", 20)):
            yield speed(family, size, 4, limit)
    yield tests(120)
    if against:
        both = ("against", "--against", str(against), "--model", "small", "plus", "--device", "cuda", "--rounds", "2")
        yield measure("against half 720p", 70, *both, "--fp16", "--size", "720p", "--frames", "24")
        yield measure("against single 256", 45, *both, "--size", "256x256", "--frames", "48")
    yield measure("layers", 45, "layers", "--model", "deblur-small", "deblur-plus", "--size", "720p", *half)
    yield measure("kernels", 45, "kernels", "--model", "deblur-small", "deblur-plus", "--size", "720p", *half)
    sizes = ("--size", "1080p", "--seconds", "2", "--rounds", "1")
    yield measure("machine", 110, "machine", "--model", "tiny", "deblur-small", *sizes, *half)
    for block in (1, 2):
        yield speed("small", "720p", block, 25)
    yield measure("growth", 60, "growth", "--model", "deblur-small", "--size", "360p", "--frames", "2000", *half)
    for family, limit in (("tiny", 25), ("fine", 30), ("small", 40), ("plus", 60)):
        yield speed(family, "2160p", 4, limit)


def speed(family: str, size: str, block: int, limit: float) -> Step:
    """A step that measures the networks of one size, in half precision."""
    options = ("--model", family, "--size", size, "--block", str(block), "--seconds", "1.5", "--fp16")
    return measure(f"engine {family} {size} x{block}", limit, "engine", *options, "--device", "cuda")


def dry_steps(against: Path | None) -> Iterator[Step]:
    """The same steps on the CPU, as small as they come."""
    little = ("--device", "cpu", "--size", "32x24", "--seconds", "0.01", "--rounds", "1", "--quick")
    one = ("--model", "tiny-deblur", *little)
    yield measure("smoke", 300, "smoke", *one)
    yield measure("equality", 300, "equality", "--model", "deblur-tiny", "--device", "cpu")
    yield tests(300, "-k", "cuda and not cuda")
    if against:
        yield measure(
            "against", 300, "against", "--against", str(against), *little, "--model", "small", "--frames", "2"
        )
    for name in ("engine", "layers", "kernels", "machine"):
        yield measure(name, 300, name, *one)
    yield measure("growth", 300, "growth", *one, "--frames", "20")


def measure(name: str, limit: float, benchmark: str, *arguments: str) -> Step:
    """A step that runs scripts/benchmark.py."""
    command = (sys.executable, str(ROOT / "scripts" / "benchmark.py"), benchmark, *arguments, "-o", "OUT")
    return Step(name=name, command=command, limit=limit)


def tests(limit: float, *arguments: str) -> Step:
    """The test files in which something needs a GPU."""
    files = [
        str(file)
        for file in sorted((ROOT / "tests").glob("test_*.py"))
        # This check's own test names what it looks for.
        if file.name != "test_gpu_check.py"
        and (NEEDS_CUDA in file.read_text(encoding="utf-8") or file.name == "test_cuda.py")
    ]
    # Pytest's status is 5 if nothing is selected, as the dry run wants it.
    program = "import pytest, sys; sys.exit({5: 0}.get(code := int(pytest.main(sys.argv[1:])), code))"
    options = ("-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"))
    return Step(name="tests", command=(sys.executable, "-c", program, *options, *arguments, *files), limit=limit)


def run_steps(
    steps: list[Step], minutes: float, keep: Callable[[dict[str, dict[str, Any]]], object] = lambda outcomes: None
) -> dict[str, dict[str, Any]]:
    """Run steps until all are done or the time is up; a line for each goes to stderr.

    Args:
        minutes: for all; a step gets its own limit or what is left, whichever is less.
        keep: is given what is returned, as far as it is known, after each step.

    Returns:
        For each step by its name: `status` (passed, failed, timed out, left out), `seconds`, `command`, `result` if the
        command wrote one (a failed one may), else `output`, its last lines; also of one that did not pass.
    """
    end = time.monotonic() + 60 * minutes
    outcomes: dict[str, dict[str, Any]] = {}
    for step in steps:
        left, started = end - time.monotonic(), time.monotonic()
        outcome: dict[str, Any] = {"status": "left out"}
        if left > 0:
            outcome = run_step(step, min(step.limit, left))
        outcome["seconds"] = round(time.monotonic() - started, 1)
        outcomes[step.name] = outcome
        print(f"{step.name:20} {outcome['status']:10} {outcome['seconds']:7.1f} s", file=sys.stderr, flush=True)
        keep(outcomes)
    return outcomes


def run_step(step: Step, limit: float) -> dict[str, Any]:
    """Run one command; see `run_steps`."""
    # Absolute paths are true of one machine only.
    shown = " ".join(Path(word).name if Path(word).is_absolute() else word for word in step.command)
    outcome: dict[str, Any] = {"status": "failed", "command": shown}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "out.json")
        command = [str(file) if word == "OUT" else word for word in step.command]
        try:
            # Unbuffered, so that what was printed before a time limit is there.
            # Processes are isolated from the folder they are in; steps need the packages beside this file.
            here = str(Path(__file__).resolve().parent)
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": here}
            with Process(command, environment=environment) as process:
                try:
                    outcome["status"] = "failed" if process.status(limit) else "passed"
                except TooSlowError:
                    outcome["status"] = "timed out"
                output = process.complaints().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        except ProgramError as error:
            return {**outcome, "output": [str(error)]}
        with suppress(OSError, ValueError, KeyError):
            report = json.loads(file.read_text(encoding="utf-8"))
            # The whole check's report says these once.
            once = ("benchmark", "date", "commit", "device", "torch", "vapoursynth", "python", "result")
            how = {key: value for key, value in report.items() if key not in once}
            outcome["result"] = {"how": how, "figures": report["result"]}
    if outcome["status"] == "passed" and "OUT" in step.command and "result" not in outcome:
        outcome["status"] = "failed"
    if outcome["status"] != "passed" or "result" not in outcome:
        outcome["output"] = output
    return outcome


def first_failure(outcomes: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The first step that did not pass, with its traceback, or its last lines."""
    for name, outcome in outcomes.items():
        if outcome["status"] not in ("passed", "left out"):
            how = (outcome.get("result") or {}).get("how", {})
            return {"step": name, "traceback": how.get("traceback") or outcome.get("output", [])}
    return None


def ratios(outcomes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the figures come to, each as one number."""
    keys = ("ratio_clip", "ratio_steady", "max_difference", "relative_error", "vspipe_share")
    numbers: dict[str, float] = {}
    for step, outcome in outcomes.items():
        for name, row in outcome.get("result", {}).get("figures", {}).items():
            if isinstance(row, dict):
                numbers |= {f"{step}: {name}: {key}": row[key] for key in keys if key in row}
                if "whole" in row:
                    numbers[f"{step}: {name}: floor_ratio"] = row["whole"]["floor_ratio"]
            elif name.endswith("largest_over_smallest") and row is not None:
                numbers[f"{step}: {name}"] = row
    return numbers


def graphics() -> dict[str, object]:
    """Versions that matter on a GPU; empty without one."""
    import torch

    if not torch.cuda.is_available():
        return {}
    major, minor = torch.cuda.get_device_capability()
    known: dict[str, object] = {
        "cuda": torch.version.cuda,
        "compute_capability": f"{major}.{minor}",
        "gpu_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
    }
    try:
        import cupy
        import triton

        known |= {"cupy": cupy.__version__, "triton": triton.__version__}
    except ImportError as error:
        known["missing"] = str(error)
    return known


if __name__ == "__main__":
    raise SystemExit(main())
