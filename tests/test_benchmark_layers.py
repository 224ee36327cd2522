"""The cost of the network's parts is counted right, and hooks leave the network as it was."""

import pytest
import torch

from measuring import hooks, layers, rates
from measuring.cost import count_costs, size_of, total
from measuring.networks import random_network
from measuring.rates import Rates
from vsgshift.network import ShiftNet
from vsgshift.network.variants import VARIANTS, Variant

CPU = torch.device("cpu")
PUBLISHED_GMAC = 550
"""Of deblur-small for a frame of 1280x720, where 1x1 convolutions come after enlarging, not before it."""


def outline(variant: Variant) -> ShiftNet:
    with torch.device("meta"):
        return ShiftNet(variant)


def test_operations_are_those_of_the_paper() -> None:
    network = outline(VARIANTS["deblur-small"])
    groups, insides = hooks.groups(network), hooks.insides(network)
    work = count_costs(VARIANTS["deblur-small"], (720, 1280), 2, torch.float32, groups | insides)
    assert 0.94 < work["whole"].operations / 2e9 / PUBLISHED_GMAC < 1
    # The groups are all there is, and none is in another.
    assert total(work[name] for name in groups).operations == pytest.approx(work["whole"].operations, rel=1e-9)
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names))
    steps = sum(work[name].operations for name in insides if ":" not in name)
    assert steps == sum(work[name].operations for name in groups if name.startswith(("core: encoder", "core: decoder")))


def test_bytes_by_hand() -> None:
    parts = {"align": hooks.insides(outline(VARIANTS["deblur-tiny"]))["shift steps 1/2: align"], "to_rgb": ["to_rgb"]}
    work = count_costs(VARIANTS["deblur-tiny"], (64, 96), 4, torch.float16, parts)
    # The input is shuffled to half its size, and the core's first level is half of that.
    half, pixels, itemsize = 24, 16 * 24, 2
    steps = (1 + 2) * 2  # one block before and two after the lower level, of two steps each
    weights = half * 9 * itemsize / 4  # once for all four frames
    assert work["align"].least_bytes == steps * (2 * half * pixels * itemsize + weights)
    assert work["align"].operations == steps * 2 * 9 * half * pixels
    assert work["to_rgb"].least_bytes == (16 + 12) * 32 * 48 * itemsize + 16 * 12 * 25 * itemsize / 4
    # Twice the pixels, twice the work, but for weights and channel attention.
    twice = count_costs(VARIANTS["deblur-tiny"], (64, 192), 4, torch.float16)["whole"]
    assert twice.operations == pytest.approx(2 * work["whole"].operations, rel=1e-3)


def test_expanded_tensors_are_counted_once() -> None:
    one = torch.zeros(1, 3, 1, 1)
    assert size_of([one.expand(5, 3, 8, 8), "text", {"a": [one.half()]}]) == 12 + 6


@pytest.mark.parametrize("name", ["denoise-plus", "deblur-small", "deblur-tiny"])
def test_hooks_fit_every_variant(name: str) -> None:
    network = outline(VARIANTS[name])
    with hooks.hooked(network, hooks.groups(network) | hooks.insides(network), print, print):
        assert any(module._forward_hooks for module in network.modules())
        assert "late" in vars(network.merge)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert "late" not in vars(network.merge)
    assert "late" not in vars(network.core.join)


def test_hooks_do_not_change_results_and_are_gone_after_an_error() -> None:
    network = random_network(VARIANTS["denoise-tiny"])
    clip, noise = torch.rand(3, 3, 16, 24), torch.full((3, 1, 16, 24), 0.1)
    expected = network(clip, noise)
    calls: list[str] = []
    groups = hooks.groups(network)
    with hooks.hooked(network, groups, calls.append, lambda *_: None):
        torch.testing.assert_close(network(clip, noise), expected, rtol=0, atol=0)
    assert set(calls) == {name for name in groups if not name.startswith("frame-UNet")}
    with (
        pytest.raises(ZeroDivisionError),
        hooks.hooked(network, groups, lambda _: 1 / 0, lambda *_: None),  # type: ignore[arg-type, return-value]
    ):
        network(clip, noise)
    torch.testing.assert_close(network(clip, noise), expected, rtol=0, atol=0)


def test_the_floor() -> None:
    known = Rates(copy_gb_s=10, triad_gb_s=20, matmul_gflops=100, conv_gflops=50)
    assert known.floor(20e9, 10e9) == 1.0
    assert known.floor(20e9, 200e9) == 2.0
    measured = rates.measure_rates(CPU, torch.float32, quick=True)
    assert min(measured.bytes_per_second, measured.operations_per_second) > 0


def test_layers_of_a_stream() -> None:
    known = Rates(copy_gb_s=1000, triad_gb_s=1000, matmul_gflops=1e5, conv_gflops=1e5)
    network = random_network(VARIANTS["denoise-tiny"])
    result = layers.measure_layers(network, (16, 24), CPU, torch.float32, 2, known)
    groups, inside, whole = (result[name] for name in ("groups", "inside", "whole"))
    assert isinstance(groups, dict)
    assert isinstance(inside, dict)
    assert isinstance(whole, dict)
    # tiny has no frame-UNets; all its other parts are called.
    assert set(groups) == {name for name in hooks.groups(network) if not name.startswith("frame-UNet")}
    assert {name.partition(":")[0] for name in inside} == {"shift steps 1/2", "shift steps 1/4"}
    assert sum(row["gflop"] for row in groups.values()) == pytest.approx(whole["gflop"], abs=1e-3)
    for row in (*groups.values(), *inside.values(), whole):
        assert row["ms"] > 0
        assert row["floor_ratio"] == pytest.approx(row["floor_ms"] / row["ms"], rel=0.3, abs=0.01)
