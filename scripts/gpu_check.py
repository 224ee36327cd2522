"""Everything that only a GPU can tell, in one go, the most needed first; scripts/gpu_check.sh sets up and runs this.

    scripts/gpu_check.sh                          # with a python3 that has torch, cupy and vsgshift
    scripts/gpu_check.sh --wheels DIR             # where there is no registry: *.whl of the folder are installed
    scripts/gpu_check.sh --against DIR            # in turns with the authors' networks in a checkout of theirs
    scripts/gpu_check.sh --dry                    # on the CPU, in little: tries the check itself

First whether the filter works at all, the fast way; equality with double precision; speed and peak memory of all
networks, sizes and blocks; tests; where the time goes, by layer and by kernel; vspipe and latency; memory along 2,000
frames; 2160p last. A step that fails or takes too long is recorded with what it has so far, and does not stop the
others. The report goes to scripts/benchmarks, to be committed; it is written anew after each step.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from measuring import steps as check_steps
from measuring.steps import Step
from vsgshift.files import atomic_write
from vsgshift.openmp import wait_passively

ROOT = Path(__file__).parent.parent
BENCHMARK = "scripts/benchmark.py"
NEEDS_CUDA = "cuda.is_available"
"""What the files of tests that need a GPU have in them."""


def main(given: list[str] | None = None) -> int:
    """Run the steps and write the report; the exit status is 1 where one of them did not pass."""
    wait_passively()  # as in VapourSynth
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="DIR", help="a checkout of the authors' repository")
    parser.add_argument("--dry", action="store_true", help="on the CPU, in little; worthless figures")
    parser.add_argument("--minutes", type=float, default=7.75, metavar="N", help="for all steps; default 7.75")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps")
    parser.add_argument("--list", action="store_true", help="list the steps and their commands, run nothing")
    parser.add_argument("--commit", help="that the checkout is of, where git cannot tell")
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

    say = partial(print, file=sys.stderr, flush=True)
    outcomes = check_steps.run(steps, arguments.minutes, say, write)
    print(output)
    return 0 if all(outcome["status"] == "passed" for outcome in outcomes.values()) else 1


def gpu_steps(against: Path | None) -> Iterator[Step]:
    """What is run on a GPU, the most needed first."""
    half = ("--fp16", "--device", "cuda")
    yield measure("smoke", 90, "smoke", *half)
    yield measure("equality", 75, "equality", "--device", "cuda")
    for size in ("720p", "1080p"):
        for family, limit in (("small", 25), ("plus", 40), ("tiny", 20)):
            yield speed(family, size, 4, limit)
    yield tests(120)
    if against:
        compared = (
            "against",
            "--against",
            str(against),
            "--model",
            "small",
            "plus",
            "--device",
            "cuda",
            "--rounds",
            "2",
        )
        yield measure("against half 720p", 70, *compared, "--fp16", "--size", "720p", "--frames", "24")
        yield measure("against single 256", 45, *compared, "--size", "256x256", "--frames", "48")
    yield measure("layers", 45, "layers", "--model", "deblur-small", "deblur-plus", "--size", "720p", *half)
    yield measure("kernels", 45, "kernels", "--model", "deblur-small", "deblur-plus", "--size", "720p", *half)
    yield measure("vspipe", 60, "vspipe", "--model", "tiny", "deblur-small", "--size", "1080p", "--seconds", "2", *half)
    yield measure("latency", 45, "latency", "--model", "deblur-small", "--size", "1080p", "--rounds", "1", *half)
    for block in (1, 2):
        yield speed("small", "720p", block, 25)
    yield measure("soak", 60, "memory", "--model", "deblur-small", "--size", "640x360", "--frames", "2000", *half)
    for family, limit in (("tiny", 25), ("small", 40), ("plus", 60)):
        yield speed(family, "2160p", 4, limit)


def speed(family: str, size: str, block: int, limit: float) -> Step:
    """A step that measures both tasks' networks of one size, in half precision."""
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
            "against", 300, "against", "--against", str(against), "--frames", "2", "--model", "small", *little
        )
    yield measure("engine", 300, "engine", *one)
    yield measure("soak", 300, "memory", *one, "--frames", "20")
    yield measure("layers", 300, "layers", *one)
    yield measure("kernels", 300, "kernels", *one)
    yield measure("vspipe", 300, "vspipe", *one)
    yield measure("latency", 300, "latency", *one)


def measure(name: str, limit: float, benchmark: str, *arguments: str) -> Step:
    """A step that runs scripts/benchmark.py."""
    command = (sys.executable, str(ROOT / BENCHMARK), benchmark, *arguments, "-o", "OUT")
    return Step(name=name, command=command, limit=limit, read=figures)


def figures(file: Path) -> dict[str, Any]:
    """A report of scripts/benchmark.py, without what the whole check's report says once."""
    report = check_steps.as_json(file)
    said_once = ("benchmark", "date", "commit", "device", "torch", "vapoursynth", "python", "result")
    how = {key: value for key, value in report.items() if key not in said_once}
    return {"how": how, "figures": report["result"]}


def tests(limit: float, *arguments: str) -> Step:
    """The test files in which something needs a GPU."""
    files = [
        f"tests/{file.name}"
        for file in sorted((ROOT / "tests").glob("test_*.py"))
        if NEEDS_CUDA in file.read_text(encoding="utf-8") or file.name == "test_cuda.py"
    ]
    # Not this check's own test, which names what it looks for.
    files = [file for file in files if file != "tests/test_gpu_check.py"]
    # Pytest says 5 where nothing is selected, which is what the dry run wants.
    program = "import pytest, sys; sys.exit({5: 0}.get(code := int(pytest.main(sys.argv[1:])), code))"
    command = (sys.executable, "-c", program, "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(ROOT))
    paths = tuple(str(ROOT / file) for file in files)
    return Step(
        name="tests",
        command=(*command, "-c", str(ROOT / "pyproject.toml"), *arguments, *paths),
        limit=limit,
    )


def first_failure(outcomes: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The first step that did not pass, with its traceback, or the end of what it said."""
    for name, outcome in outcomes.items():
        if outcome["status"] not in ("passed", "left out"):
            how = (outcome.get("result") or {}).get("how", {})
            return {"step": name, "traceback": how.get("traceback") or outcome.get("said", [])}
    return None


def ratios(outcomes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the figures come to, each as one number."""
    found: dict[str, float] = {}
    for step, outcome in outcomes.items():
        result = outcome.get("result", {}).get("figures", {})
        for name, row in result.items():
            if not isinstance(row, dict):
                continue
            for key in ("ratio_clip", "ratio_steady", "max_difference", "relative_error", "vspipe_share"):
                if key in row:
                    found[f"{step}: {name}: {key}"] = row[key]
            if "whole" in row:
                found[f"{step}: {name}: floor_ratio"] = row["whole"]["floor_ratio"]
        found |= {
            f"{step}: {name}": result[name] for name in ("growth_percent", "gpu_growth_percent") if name in result
        }
    return found


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
