"""The cost of the network's parts is counted right, and hooks leave the network as it was."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from measuring import layers
from measuring.layers import Cost, count_costs, hooked, parts, size_of
from measuring.networks import random_network
from vsgshift.network import ShiftNet
from vsgshift.network.timeline import WholeClip
from vsgshift.network.variants import VARIANTS

CPU = torch.device("cpu")
PUBLISHED_GMAC = 550
"""Of deblur-small for a frame of 1280x720, where 1x1 convolutions come after enlarging, not before it."""
RATES = {"copy_gb_s": 20.0, "matmul_gflops": 100.0, "conv_gflops": 50.0}


def test_operations_are_those_of_the_paper() -> None:
    costs = count_costs(VARIANTS["deblur-small"], (720, 1280), 2, torch.float32)
    assert 0.94 < sum(cost.operations for cost in costs.values()) / 2e9 / PUBLISHED_GMAC < 1


@pytest.mark.parametrize("name", [pytest.param("denoise-plus", marks=pytest.mark.slow), "deblur-small", "deblur-tiny"])
def test_parts_are_all_there_is_and_none_is_in_another(name: str) -> None:
    with torch.device("meta"):
        network = ShiftNet(VARIANTS[name])
        clip = torch.empty(3, 3, 64, 96)
        noise = torch.empty(3, 1, 64, 96) if network.variant.task == "denoise" else None
    names = [part for group in parts(network).values() for part in group]
    assert len(names) == len(set(names))
    assert not [part for part in names if any(part.startswith(f"{other}.") for other in names)]
    costs = count_costs(VARIANTS[name], (64, 96), 3, torch.float32)
    with FlopCounterMode(display=False) as flops:
        network.run(clip, noise, WholeClip(3, boundary="wrap"))
    whole = flops.get_total_flops() / 3
    assert sum(cost.operations for cost in costs.values()) == pytest.approx(whole, rel=1e-9)


def test_bytes_by_hand() -> None:
    costs = count_costs(VARIANTS["deblur-tiny"], (64, 96), 4, torch.float16)
    # 16 channels at half the size in, 12 out, and the weights of 5x5 pixels once for all four frames.
    assert costs["to_rgb"].least_bytes == 2 * ((16 + 12) * 32 * 48 + 16 * 12 * 25 / 4)
    assert costs["to_rgb"].operations == 2 * 16 * 12 * 25 * 32 * 48
    # Twice the pixels, twice the operations, but for channel attention.
    twice = count_costs(VARIANTS["deblur-tiny"], (64, 192), 4, torch.float16)
    assert twice["merge"].operations == pytest.approx(2 * costs["merge"].operations, rel=1e-3)


def test_expanded_tensors_are_counted_once() -> None:
    one = torch.zeros(1, 3, 1, 1)
    assert size_of([one.expand(5, 3, 8, 8), "text", (one.half(), None)]) == 12 + 6


def test_hooks_do_not_change_results_and_are_gone_after_an_error() -> None:
    network = random_network(VARIANTS["denoise-tiny"])
    clip, noise = torch.rand(3, 3, 16, 24), torch.full((3, 1, 16, 24), 0.1)
    expected = network(clip, noise)
    calls: list[str] = []
    with hooked(network, calls.append, lambda *_: None):
        assert "late" in vars(network.merge)
        torch.testing.assert_close(network(clip, noise), expected, rtol=0, atol=0)
    assert set(calls) == {name for name in parts(network) if not name.startswith("frame-UNet")}
    with pytest.raises(ZeroDivisionError), hooked(network, lambda _: 1 / 0, lambda *_: None):  # type: ignore[arg-type, return-value]
        network(clip, noise)
    torch.testing.assert_close(network(clip, noise), expected, rtol=0, atol=0)
    assert "late" not in vars(network.merge)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_floor_is_the_longer_of_two_times() -> None:
    assert layers.floor(Cost(operations=10e9, least_bytes=20e9), RATES) == 1.0
    assert layers.floor(Cost(operations=200e9, least_bytes=20e9), RATES) == 2.0
    assert min(layers.measure_rates(CPU, torch.float32, quick=True).values()) > 0


def test_layers_of_a_stream() -> None:
    network = random_network(VARIANTS["denoise-tiny"])
    result = layers.measure_layers(network, (16, 24), CPU, torch.float32, 2, RATES)
    groups, whole = result["groups"], result["whole"]
    # tiny has no frame-UNets; all its other parts are called.
    assert set(groups) == {name for name in parts(network) if not name.startswith("frame-UNet")}
    assert sum(row["gflop"] for row in groups.values()) == pytest.approx(whole["gflop"], abs=1e-3)
    for row in (*groups.values(), whole):
        assert row["ms"] > 0
        assert row["floor_ratio"] == pytest.approx(row["floor_ms"] / row["ms"], rel=0.3, abs=0.01)


def test_layers_that_nothing_calls_are_an_error() -> None:
    network = random_network(VARIANTS["deblur-tiny"])
    with pytest.raises(ValueError, match="calls no part of the network"):
        layers.times(network, lambda: None, CPU)
