"""Which blocks `prepared` replaces, and what importing the package must not import."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from standin import lively
from torch import Tensor

from vsgshift.engine import compiler, prepare
from vsgshift.engine.prepare import checked
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.shift import Direction
from vsgshift.network.timeline import Timeline
from vsgshift.streaming import Pipeline


@pytest.fixture(autouse=True)
def _untold() -> None:
    """Nothing has been warned about yet."""
    prepare._warn_once.cache_clear()


def test_the_package_imports_without_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import vsgshift, vsgshift.engine.cuda, vsgshift.network, vsgshift.plugin, vsgshift.streaming\n"
        "assert not any(name.startswith('triton.') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("direction", Direction)
def test_indices_of_a_streamed_shift_are_on_the_device_of_the_frames(direction: Direction) -> None:
    pipeline = Pipeline()
    for first in (0, 4, 8):
        pipeline.step(range(first, first + 4), first + 4, cuts={0})
        shifted = pipeline.shift_lazily(torch.empty(4, 16, 8, 8, device="meta"), direction)
        assert {each.device.type for each in (shifted.own, shifted.neighbour, shifted.held)} == {"meta"}


@pytest.mark.parametrize("part", ["start", "steady", "finish"])
def test_a_fused_network_is_checked_on_a_whole_stream(part: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    plain = lively(ShiftNet(VARIANTS["deblur-tiny"]))

    class Failing(ShiftNet):
        def run(self, clip: Tensor, noise: Tensor | None, time: Timeline, *, strength: float = 1.0) -> Tensor:
            restored = super().run(clip, noise, time, strength=strength)
            now = "finish" if not len(clip) else "steady" if len(restored) == 4 else "start"
            if now == part:
                raise RuntimeError(f"no {part}")
            return restored

    def fuse(network: ShiftNet) -> ShiftNet:
        failing = Failing(network.variant)
        failing.load_state_dict(network.state_dict())
        return failing.eval()

    assert checked(plain, fuse) is plain
    assert f"no {part}" in caplog.text
    caplog.clear()
    assert checked(plain, fuse) is plain
    assert not caplog.records, "a warning of one kind is told once"


def test_a_compiler_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fuse(network: ShiftNet) -> ShiftNet:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    plain = lively(ShiftNet(VARIANTS["deblur-tiny"]))
    assert checked(plain, fuse) is plain
    assert caplog.messages == [
        "the fused kernels do not work here, the plain network runs: there is no C compiler; install gcc, or set CC"
    ]
    monkeypatch.setenv("CC", "nowhere/cc")
    assert "the C compiler that CC names, nowhere/cc, is not found" in str(compiler.missing())
    monkeypatch.setenv("CC", sys.executable)
    monkeypatch.setattr("sysconfig.get_path", lambda name, scheme: str(tmp_path))
    assert f"Python.h is not in {tmp_path}" in str(compiler.missing())
    (tmp_path / "Python.h").touch()
    assert compiler.missing() is None


def test_a_fused_network_must_agree_with_the_plain_one(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    plain = lively(ShiftNet(replace(VARIANTS["denoise-tiny"], merge=0, encoder_blocks=(1, 2))))

    def off(network: ShiftNet) -> ShiftNet:
        other = copy.deepcopy(network)
        core: Any = other.core
        core.levels[0].blocks[0][0].fuse.project.weight.data.mul_(-3)
        return other

    def nowhere(network: ShiftNet) -> ShiftNet:
        other = copy.deepcopy(network)
        other.to_rgb.weight.data.fill_(float("nan"))
        return other

    def broken(network: ShiftNet) -> ShiftNet:
        raise RuntimeError("no such instruction\nwith much beneath it")

    assert checked(plain, copy.deepcopy) is not plain
    assert not caplog.records
    for fuse, message in ((off, "off by"), (nowhere, "off by nan"), (broken, "no such instruction")):
        caplog.clear()
        assert checked(plain, fuse) is plain
        (record,) = caplog.records
        assert message in record.getMessage()
        assert "\n" not in record.getMessage()
