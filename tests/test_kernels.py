"""Fused kernels, and what importing the package must not import."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

CHECKS = Path(__file__).parent / "kernel_checks.py"


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch's CUDA builds only")
def test_kernels_match_the_plain_modules() -> None:
    # Triton must be told before it is imported that it is to interpret, and stays so: a process of its own.
    environment = dict(os.environ) if torch.cuda.is_available() else {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_imports_without_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import vsgshift, vsgshift.engine, vsgshift.kernels, vsgshift.network, vsgshift.plugin, vsgshift.streaming\n"
        "assert not any(name.startswith('triton.') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
