"""The kernels for CUDA compiled without a card; `.ci/run` does it for all of them, and for every kind of card."""

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
launched = compile_kernels.launches(["denoise-tiny", "denoise-plus"])
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
