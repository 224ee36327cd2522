"""Helpers that every test may use."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest

from vsgshift.openmp import wait_passively

SHARED = Path(__file__).parents[2] / "shared"
"""Numbers and footage that stand beside some checkouts; tests that want them skip where they are absent."""


def pytest_configure(config: pytest.Config) -> None:
    """Set what torch and Triton read as they are imported."""
    if config.getoption("numprocesses", None):
        return  # the tests run in processes of their own, and each comes here
    wait_passively()  # as in VapourSynth
    with suppress(ImportError):
        from hypothesis import settings

        settings.register_profile("vsgshift", deadline=None, derandomize=True)
        settings.load_profile("vsgshift")

    import torch

    # Clips are small, and tests run side by side: more threads only get in each other's way.
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    import torch

    torch.manual_seed(0)
    torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of tiny networks that are untrained and that change pictures visibly, by task."""
    import torch
    from standin import lively

    from vsgshift.network import VARIANTS, ShiftNet
    from vsgshift.weights.store import write

    files = {}
    for task in ("deblur", "denoise"):
        torch.manual_seed(2)
        file = tmp_path_factory.mktemp("untrained") / f"{task}.safetensors"
        write(file, lively(ShiftNet(VARIANTS[f"{task}-tiny"])), name=task, training_data="none", licence="MIT")
        files[task] = str(file)
    return files


@pytest.fixture
def probed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`restore` looks at a film in this process; in other tests one of its own does, whose start takes a third of a
    second."""
    from vsgshift.video.restore import probe

    monkeypatch.setattr(probe, "run", lambda command: json.dumps(probe._answer(*command[3:])))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for the models folder."""
    folder = tmp_path / "models"
    monkeypatch.setenv("VSGSHIFT_MODELS", str(folder))
    return folder


class Failing:
    """Runs a command that must fail, with one line of why."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, why: str, *arguments: str) -> None:
        from vsgshift.cli import main

        assert main(arguments or ["download", "gopro-small"]) == 1
        lines = self.capsys.readouterr().err.splitlines()
        complaints = [line for line in lines if line.startswith("vsgshift: ")]
        assert len(complaints) == 1
        assert lines[-1] == complaints[0]
        assert re.search(why, complaints[0]), complaints[0]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Failing:
    return Failing(capsys)
