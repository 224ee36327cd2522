"""Which blocks `prepared` replaces, and what importing the package must not import."""

import copy
import subprocess
import sys

import pytest
import torch
from standin import lively

from vsgshift.engine.prepare import checked
from vsgshift.network import VARIANTS, ShiftNet


def test_the_package_imports_without_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import vsgshift, vsgshift.engine.cuda, vsgshift.network, vsgshift.plugin, vsgshift.streaming\n"
        "assert not any(name.startswith('triton.') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fused_network_must_agree_with_the_plain_one(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    plain = lively(ShiftNet(VARIANTS["denoise-tiny"]))

    def off(network: ShiftNet) -> ShiftNet:
        other = copy.deepcopy(network)
        other.core.levels[0].blocks[0][0].fuse.project.weight.data.mul_(-3)
        return other

    def nowhere(network: ShiftNet) -> ShiftNet:
        other = copy.deepcopy(network)
        other.to_rgb.weight.data.fill_(float("nan"))
        return other

    def broken(network: ShiftNet) -> ShiftNet:
        raise RuntimeError("no such instruction\nwith much beneath it")

    assert checked(plain, copy.deepcopy) is not plain
    assert not caplog.records
    for fuse, told in ((off, "off by"), (nowhere, "off by nan"), (broken, "no such instruction")):
        caplog.clear()
        assert checked(plain, fuse) is plain
        (record,) = caplog.records
        assert told in record.getMessage()
        assert "\n" not in record.getMessage()
