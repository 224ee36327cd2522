"""Seconds of each part of the network, beside those that the device needs at least for its bytes and operations."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import nn

from measuring import rates, streams
from measuring.cost import Cost, count_costs, total
from measuring.hooks import Groups, groups, hooked, insides
from measuring.rates import Rates, median_seconds, wait_for
from vsgshift.network import ShiftNet

ROUNDS = 5


class _Clock:
    """Seconds of each group. On a GPU the times are those of events in its queue, so that nothing waits."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started: dict[str, Any] = {}
        self.calls: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def enter(self, group: str) -> None:
        self.started[group] = self.now()

    def leave(self, group: str, module: nn.Module, given: Sequence[Any], result: Any) -> None:
        self.calls[group].append((self.started.pop(group), self.now()))

    def read(self) -> dict[str, float]:
        """Seconds since the last reading, by group."""
        wait_for(self.device)
        read = {group: sum(_between(*call) for call in calls) for group, calls in self.calls.items()}
        self.calls.clear()
        return read


def _between(start: Any, end: Any) -> float:
    return float(end - start if isinstance(start, float) else start.elapsed_time(end) / 1000)


def times(network: ShiftNet, parts: Groups, run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds of each group in one run: the median of several. A group without calls is left out.

    Raises:
        ValueError: nothing was called.
    """
    clock = _Clock(device)
    readings: dict[str, list[float]] = defaultdict(list)
    with hooked(network, parts, clock.enter, clock.leave):
        run()
        clock.read()
        for _ in range(ROUNDS):
            run()
            for group, seconds in clock.read().items():
                readings[group].append(seconds)
    if not readings:
        raise ValueError("the run calls no part of the network: there is nothing to time")
    return {group: median(readings[group]) for group in parts if group in readings}


def measure_layers(
    network: ShiftNet,
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
    block: int,
    known: Rates | None = None,
) -> dict[str, object]:
    """Where the time goes, for one frame of a stream that is well under way.

    Args:
        network: on the device, in the precision.
        size: H, W.
        block: frames per run of the network.
        known: what the device can do; measured where it is not given.

    Returns:
        `rates` (see `Rates`), `whole` (milliseconds, of a run without hooks), `groups` (they add up),
        `rest` (milliseconds of the whole that no group has) and `inside` (shift steps; these overlap with the groups,
        and a step with its parts). Each has milliseconds, operations, bytes and the `floor_ms` that they take at
        least; `floor_ratio` is floor over time, 1 being perfect.
    """
    known = known or rates.measure_rates(device, dtype)
    whole = median_seconds(streams.under_way(network, size, device, block), device, ROUNDS) / block
    # Nothing is called while a graph is replayed.
    push = streams.under_way(network, size, device, block, "steady" if device.type == "cuda" else "auto")
    parts, steps = groups(network), insides(network)
    work = count_costs(network.variant, size, block, dtype, parts | steps)
    tables = []
    for chosen in (parts, steps):
        seconds = times(network, chosen, push, device)
        tables.append({name: _row(seconds[name] / block, whole, work[name], known) for name in seconds})
    in_groups = sum(float(str(row["ms"])) for row in tables[0].values())
    floors = sum(known.floor(work[name].least_bytes, work[name].operations) for name in parts)
    counted_work = total(work[name] for name in parts)
    return {
        "rates": {name: round(value, 1) for name, value in asdict(known).items()},
        "whole": {
            **_row(whole, whole, counted_work, known),
            "floor_ms": _ms(floors),
            "floor_ratio": _share(floors, whole),
        },
        "rest": {"ms": round(1000 * whole - in_groups, 3)},
        "groups": tables[0],
        "inside": tables[1],
    }


def _row(seconds: float, whole: float, work: Cost, known: Rates) -> dict[str, float]:
    floor = known.floor(work.least_bytes, work.operations)
    return {
        "ms": _ms(seconds),
        "share": _share(seconds, whole),
        "gflop": round(work.operations / 1e9, 4),
        "least_mb": round(work.least_bytes / 1e6, 3),
        "floor_ms": _ms(floor),
        "floor_ratio": _share(floor, seconds),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 4)


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4)
