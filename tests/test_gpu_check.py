"""The check of a GPU: steps are bounded, failures are recorded and do not stop the others, and the dry run measures."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CHECK = ROOT / "scripts" / "gpu_check.sh"


@pytest.fixture(scope="module")
def script() -> Any:
    """scripts/gpu_check.py."""
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "scripts" / "gpu_check.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(program: str) -> tuple[str, ...]:
    # -S: no site-packages, so that it starts at once.
    return sys.executable, "-S", "-c", program, "OUT"


def test_one_failure_does_not_stop_the_others(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"precision": "float32", "block": 4, "result": {"a": 1}, "date": "today"}
    write = f"import sys; open(sys.argv[1], 'w').write({json.dumps(report)!r});"
    commands = {
        "good": python(write),
        "bad": python(f"{write} print('before the end'); sys.exit('no such device')"),
        "endless": python(f"{write} print('begun'); import time; time.sleep(600)"),
        "silent": python("pass"),
        "garbled": python("import sys; open(sys.argv[1], 'w').write('[1, ')"),
        "missing": ("/nowhere/program",),
        "output": (sys.executable, "-S", "-c", "print('all is well')"),
    }
    limits = {"endless": 3.0}
    steps = [script.Step(name=name, command=each, limit=limits.get(name, 60)) for name, each in commands.items()]
    kept: list[list[str]] = []
    outcomes = script.run_steps(steps, 5, lambda outcomes: kept.append(list(outcomes)))
    assert {name: outcome["status"] for name, outcome in outcomes.items()} == {
        "good": "passed",
        "bad": "failed",
        "endless": "timed out",
        "silent": "failed",
        "garbled": "failed",
        "missing": "failed",
        "output": "passed",
    }
    assert outcomes["good"]["result"] == {"how": {"precision": "float32", "block": 4}, "figures": {"a": 1}}
    assert "output" not in outcomes["good"]
    # What was written before the failure is kept, and why it failed.
    assert outcomes["bad"]["result"] == outcomes["endless"]["result"] == outcomes["good"]["result"]
    assert outcomes["bad"]["output"] == ["before the end", "no such device"]
    assert outcomes["endless"]["output"] == ["begun"]
    assert outcomes["output"]["output"] == ["all is well"]
    assert outcomes["good"]["command"].startswith("python")
    assert len(capsys.readouterr().err.splitlines()) == 7
    assert [len(names) for names in kept] == [*range(1, 8)], "what is cut off leaves a report"


def test_what_a_step_started_ends_with_it(script: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = "import time; time.sleep(600)"
    program = (
        "import subprocess, sys, time, pathlib;"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {child!r}]);"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    script.run_steps([script.Step(name="parent", command=python(program), limit=5)], 1)
    # A process that was killed takes its moment to die where the cores are busy.
    deadline = time.monotonic() + 30
    while alive(pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid.read_text())


def alive(pid: str) -> bool:
    """Whether a process is there, and not dead and waiting for whoever adopted it to take notice."""
    try:
        stat = Path("/proc", pid, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_no_step_starts_when_the_time_is_up(script: Any) -> None:
    outcomes = script.run_steps([script.Step(name="late", command=python("pass"), limit=60)], 0)
    assert outcomes["late"]["status"] == "left out"


def check(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([CHECK, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_steps_of_a_gpu_and_of_a_dry_run_are_the_same_kinds() -> None:
    listed = {way: check("--list", *way).stdout.splitlines() for way in ((), ("--dry",))}
    kinds = {way: {line.split()[0] for line in lines} for way, lines in listed.items()}
    assert kinds[()] == kinds["--dry",]
    assert any("test_synthetic.py" in line for line in listed[()])
    assert all("--device cuda" in line for line in listed[()] if "benchmark.py" in line)


@pytest.mark.slow
def test_a_dry_run_leaves_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = check("--dry", "--only", "smoke", "tests", "engine", "layers", "-o", str(report))
    written = json.loads(report.read_text())
    assert done.returncode == 0, written["first_failure"]
    assert written["first_failure"] is None
    assert written["benchmark"] == "check"
    assert written["dry"]
    assert {"date", "commit", "device", "torch", "vapoursynth"} <= written.keys()
    assert {name: outcome["status"] for name, outcome in written["result"].items()} == dict.fromkeys(
        ("smoke", "tests", "engine", "layers"), "passed"
    )
    assert written["result"]["smoke"]["result"]["figures"]["filter"]["modes"] == ["pipeline"]
    assert "layers: tiny-deblur 32x24: floor_ratio" in written["ratios"]
    assert written["result"]["engine"]["result"]["how"]["weights"] == {"tiny-deblur": "installed"}


def test_mistakes_are_reported(tmp_path: Path) -> None:
    assert "no wheels in" in check("--wheels", str(tmp_path)).stderr
    done = check("--only", "nothing")
    assert done.returncode == 2
    assert "unknown step nothing; there are smoke," in done.stderr
