"""Milliseconds of each part of the network, beside those that the device needs at least for its bytes and operations.

Operations are those of convolutions and matrix products, a multiplication and an addition being two, as torch counts
them on tensors without contents. Bytes are those of a part's inputs, outputs and weights, each once; what lies between
stays in caches. No way of computing the part needs fewer, unless it is joined with its neighbours.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from measuring.networks import Subject, load
from measuring.settings import Settings
from measuring.streams import timed, under_way, wait_for
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.timeline import WholeClip

ROUNDS = 5
GIGA = 1e9
Groups = dict[str, list[str]]
"""Parts of a network, by the name of their group."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a part has to do for one frame."""

    operations: float
    least_bytes: float


def layers(settings: Settings) -> dict[str, Any]:
    """The parts of every network at every size; the device is measured once for all."""
    rates = measure_rates(settings.device, settings.dtype, quick=settings.quick)

    def measure(_: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
        network = load(subject, settings.device, settings.dtype)
        return measure_layers(network, size[::-1], settings.device, settings.dtype, settings.block, rates)

    return settings.each(measure)


def measure_layers(
    network: ShiftNet,
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
    block: int,
    rates: dict[str, float],
) -> dict[str, Any]:
    """Where the time goes, for one frame of a stream that is well under way.

    Args:
        network: on the device, in the precision.
        size: H, W.
        block: frames per run of the network.
        rates: of the device, see `measure_rates`.

    Returns:
        `rates`, `whole` (milliseconds, of a run without hooks), `groups` (they add up) and `rest` (milliseconds of the
        whole that no group has). Each has milliseconds, operations, bytes and the `floor_ms` that they take at least;
        `floor_ratio` is floor over time, 1 being perfect.
    """
    push = under_way(network, size, device, block)
    whole = median(timed(push, device) for _ in range(ROUNDS)) / block
    # Nothing is called while a graph is replayed.
    push = under_way(network, size, device, block, "steady" if device.type == "cuda" else "auto")
    costs = count_costs(network.variant, size, block, dtype)
    seconds = times(network, push, device)
    rows = {name: _row(each / block, whole, costs[name], rates) for name, each in seconds.items()}
    total = Cost(
        operations=sum(cost.operations for cost in costs.values()),
        least_bytes=sum(cost.least_bytes for cost in costs.values()),
    )
    least = sum(floor(cost, rates) for cost in costs.values())
    return {
        "rates": {name: round(rate, 1) for name, rate in rates.items()},
        "whole": {**_row(whole, whole, total, rates), "floor_ms": _ms(least), "floor_ratio": round(least / whole, 4)},
        "rest": {"ms": round(1000 * whole - sum(row["ms"] for row in rows.values()), 3)},
        "groups": rows,
    }


def _row(seconds: float, whole: float, cost: Cost, rates: dict[str, float]) -> dict[str, float]:
    least = floor(cost, rates)
    return {
        "ms": _ms(seconds),
        "share": round(seconds / whole, 4),
        "gflop": round(cost.operations / GIGA, 4),
        "least_mb": round(cost.least_bytes / 1e6, 3),
        "floor_ms": _ms(least),
        "floor_ratio": round(least / seconds, 4),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 4)


def floor(cost: Cost, rates: dict[str, float]) -> float:
    """Seconds that bytes and operations take at least, if the shorter of the two costs nothing."""
    speed = max(rates["matmul_gflops"], rates["conv_gflops"])
    return max(cost.least_bytes / rates["copy_gb_s"], cost.operations / speed) / GIGA


def measure_rates(device: torch.device, dtype: torch.dtype, *, quick: bool = False) -> dict[str, float]:
    """What a device can do at best, in a few seconds (``quick``: worthless figures, to try the measurement itself).

    `copy_gb_s`, 1e9 bytes a second read and written by a copy; `matmul_gflops`, 1e9 operations a second of a large
    product of square matrices; `conv_gflops`, the same of a 3x3 convolution of 64 channels.
    """
    cuda = device.type == "cuda"
    # Far larger than any cache.
    count = 2**16 if quick else (2**30 if cuda else 2**27) // dtype.itemsize
    side = 64 if quick else 8192 if cuda else 1536
    height, frames = (16, 1) if quick else (512, 8) if cuda else (256, 2)

    def best_seconds(run: Callable[[], object]) -> float:
        timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
        return min(timer.blocked_autorange(min_run_time=0.01 if quick else 0.5).times)

    with torch.inference_mode():
        a, b = (torch.rand(count, device=device).to(dtype) for _ in range(2))
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        x = torch.randn(frames, 64, height, height, device=device).to(dtype, memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
        return {
            "copy_gb_s": 2 * count * dtype.itemsize / best_seconds(lambda: a.copy_(b)) / GIGA,
            "matmul_gflops": 2 * side**3 / best_seconds(lambda: left @ right) / GIGA,
            "conv_gflops": 2 * 9 * 64 * x.numel() / best_seconds(lambda: F.conv2d(x, kernel, padding=1)) / GIGA,
        }


def parts(network: ShiftNet) -> Groups:
    """The parts of a network in the order of data; they do not overlap."""
    levels, climbs = len(network.core.levels), len(network.core.climbs)
    groups: Groups = {"embed": ["embed", "embed_block"]}
    groups |= {f"frame-UNet before {n}": [f"unets_before.{n}"] for n in range(len(network.unets_before))}
    groups["transition"] = ["transition"]
    groups["core: enter"] = ["core.enter", "core.enter_shifted", "core.halve", "core.halve_activation"]
    groups |= {f"core: encoder 1/{2 << n}": [f"core.levels.{n}"] for n in range(levels)}
    groups |= {f"core: decoder 1/{2 << (climbs - 1 - n)}": [f"core.climbs.{n}"] for n in range(climbs)}
    groups["core: down, skip, up"] = [f"core.{kind}.{n}" for kind in ("downs", "skips", "ups") for n in range(climbs)]
    groups["core: leave"] = ["core.enlarge", "core.skip", "core.join.early", "core.join.late", "core.leave"]
    groups["merge"] = ["merge.early", "merge.late", "merge_activation"]
    groups |= {f"frame-UNet after {n}": [f"unets_after.{n}"] for n in range(len(network.unets_after))}
    groups["to_rgb"] = ["to_rgb"]
    return groups


def count_costs(variant: Variant, size: tuple[int, int], frames: int, dtype: torch.dtype) -> dict[str, Cost]:
    """The cost of each group of parts that is called, for one frame of several at once; it does not depend on the
    device. The size H, W is padded to what the network takes, as a stream does."""
    height, width = (-(-side // variant.multiple) * variant.multiple for side in size)
    with torch.device("meta"):
        network = ShiftNet(variant).to(dtype).requires_grad_(False)
        clip = torch.empty(frames, 3, height, width, dtype=dtype)
        noise = torch.empty(frames, 1, height, width, dtype=dtype) if variant.task == "denoise" else None
    operations, least_bytes = defaultdict[str, float](float), defaultdict[str, float](float)
    flops = FlopCounterMode(display=False)

    def enter(group: str) -> None:
        operations[group] -= flops.get_total_flops()

    def leave(group: str, module: nn.Module, given: Sequence[Any], result: Any) -> None:
        operations[group] += flops.get_total_flops()
        least_bytes[group] += size_of((*given, result, *module.parameters()))

    with torch.no_grad(), flops, hooked(network, enter, leave):
        # No frame is held: the steady state of a long clip.
        network.run(clip, noise, WholeClip(frames, boundary="wrap"))
    return {
        name: Cost(operations=operations[name] / frames, least_bytes=least_bytes[name] / frames)
        for name in parts(network)
        if name in operations
    }


def size_of(thing: object) -> int:
    """Bytes of the tensors in nested lists and tuples; each element once, however it is expanded."""
    if isinstance(thing, Tensor):
        dimensions = zip(thing.shape, thing.stride(), strict=True)
        return thing.element_size() * math.prod(length for length, stride in dimensions if stride)
    return sum(map(size_of, thing)) if isinstance(thing, list | tuple) else 0


def times(network: ShiftNet, run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds of each group of parts in one run, the median of several; a group that is not called is left out.

    On a GPU the times are those of events in its queue, so that nothing waits. Raises ValueError if no part is called.
    """
    started: dict[str, Any] = {}
    calls: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def now() -> Any:
        if device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds(start: Any, end: Any) -> float:
        return float(end - start if isinstance(start, float) else start.elapsed_time(end) / 1000)

    def enter(group: str) -> None:
        started[group] = now()

    def leave(group: str, *_: object) -> None:
        calls[group].append((started.pop(group), now()))

    readings: dict[str, list[float]] = defaultdict(list)
    with hooked(network, enter, leave):
        run()
        for _ in range(ROUNDS):
            calls.clear()
            run()
            wait_for(device)
            for group, spans in calls.items():
                readings[group].append(sum(seconds(*span) for span in spans))
    if not readings:
        raise ValueError("the run calls no part of the network: there is nothing to time")
    return {group: median(readings[group]) for group in parts(network) if group in readings}


@contextmanager
def hooked(network: ShiftNet, enter: Callable[[str], None], leave: Callable[..., None]) -> Iterator[None]:
    """Have the calls of all parts reported: ``enter`` gets the group's name before each, ``leave`` the group, the
    module, its arguments and its result after it. Afterwards the network is as it was."""
    undo: list[Callable[[], None]] = []
    try:
        for group, names in parts(network).items():
            for name in names:
                undo += _hook(network, group, name, enter, leave)
        yield
    finally:
        for restore in undo:
            restore()


def _hook(
    network: ShiftNet, group: str, name: str, enter: Callable[[str], None], leave: Callable[..., None]
) -> list[Callable[[], None]]:
    owner_name, _, last = name.rpartition(".")
    owner = network.get_submodule(owner_name)
    part = getattr(owner, last)
    if isinstance(part, nn.Module):
        before = part.register_forward_pre_hook(lambda module, given: enter(group))
        after = part.register_forward_hook(lambda module, given, result: leave(group, module, given, result))
        return [before.remove, after.remove]

    def reporting(*given: Any) -> Any:
        enter(group)
        result = part(*given)
        leave(group, owner, given, result)
        return result

    # An attribute of the instance hides the method of its class.
    object.__setattr__(owner, last, reporting)
    return [lambda: object.__delattr__(owner, last)]
