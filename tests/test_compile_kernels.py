"""The kernels for CUDA compiled without a card, and the table of what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds only")

SCRIPTS = Path(__file__).parents[1] / "scripts"


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: in this one Triton interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(SCRIPTS)
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_what_is_launched_is_compiled_for_no_size() -> None:
    code = """
import json, compile_kernels
launched = compile_kernels.launches()
specialized = [
    f"{launch.kernel} {parameter.name}"
    for launch in launched
    for parameter in compile_kernels.kernels()[launch.kernel].function.params
    if dict(launch.signature).get(parameter.name) == "i32" and not parameter.do_not_specialize
]
print(json.dumps([sorted({launch.kernel for launch in launched}), specialized]))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    launched, specialized = json.loads(done.stdout)
    merging, residual = ["halve", "keep", "merge", "motion"], ["convolve", "scaled_sum"]
    assert launched == sorted(["align", "attention", "expand", "gate", "multiply", "project", *merging, *residual])
    assert specialized == []


@pytest.mark.slow
def test_what_the_table_lacks_is_compiled_and_what_is_worse_is_told(tmp_path: Path) -> None:
    code = """
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from json import dumps, loads
from pathlib import Path
import compile_kernels, triton

one = [cell for cell in compile_kernels.cells() if cell.launch.kernel == "halve" and cell.capability == "8.6"]
compile_kernels.cells = lambda: one
# Each process would import everything.
compile_kernels.ProcessPoolExecutor = lambda jobs, mp_context: ThreadPoolExecutor(jobs)
compile_kernels.TABLE = path = Path(sys.argv[1])
told = []

def run(*arguments, **changes):
    if changes:
        table = loads(path.read_text())
        (row,) = table.keys() - {"triton"}
        table[row] |= changes.pop("row", {})
        path.write_text(dumps(table | changes))
    with redirect_stderr(StringIO()) as errors, redirect_stdout(StringIO()) as output:
        status = compile_kernels.main([*arguments, "--jobs", "1"])
    told.append((status, errors.getvalue(), output.getvalue()))

path.write_text(dumps({"triton": triton.__version__}))
run()
run("--write")
written = path.read_text()
((_, row),) = [item for item in loads(written).items() if item[0] != "triton"]
registers, spills, shared = row["8.6"]
run("--all")
run("--all", row={"8.6": [registers + 1, spills, shared]})
run(triton="0")
path.write_text(written)
run("--write")
run(row={"key": "of another source", "8.6": [registers, spills - 1, shared]})
run("--write")
run("--write", "--more-spills")
assert path.read_text() == written
compile_kernels.SHARED_KIB["8.6"] = -1
run("--all")
print(dumps(told))
print(dumps(compile_kernels.source(compile_kernels.kernels()["expand"].function)))
"""
    done = python("-c", code, str(tmp_path / "table.json"))
    assert done.returncode == 0, done.stderr
    told, source = map(json.loads, done.stdout.splitlines())
    assert [(status, output.splitlines()[-1]) for status, _, output in told] == [
        (0, "1 of 1 compiled; the table lacks 1: --write"),
        (0, "1 of 1 compiled; the table lacks 0"),
        (0, "1 of 1 compiled; the table lacks 0"),
        (1, "1 of 1 compiled; the table lacks 0"),
        (0, "1 of 1 compiled; the table lacks 1: --write"),
        (0, "0 of 1 compiled; the table lacks 0"),
        (1, "1 of 1 compiled; the table lacks 1: --write"),
        (1, "1 of 1 compiled; the table lacks 1: --write"),
        (0, "1 of 1 compiled; the table lacks 0"),
        (1, "1 of 1 compiled; the table lacks 0"),
    ]
    assert all(bool(errors) == bool(status) for status, errors, _ in told)
    # What a kernel calls is part of its key, and the constants that it uses.
    assert all(each in source for each in ("def _expand", "def bases", "def load_row", "_PAST = 1"))
