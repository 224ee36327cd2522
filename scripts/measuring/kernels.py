"""Which kernels the time goes to, by torch's profiler: whatever they are, fused ones of ours or a library's."""

from collections.abc import Callable
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from measuring import streams
from measuring.networks import loaded
from measuring.wanted import Wanted, label

SHOWN = 30
"""Kernels of a network that a report has, the slowest first."""
RUNS = 3


def kernels(wanted: Wanted) -> dict[str, Any]:
    """For each network and size: milliseconds and calls a frame of each kernel of a stream well under way.

    On a GPU the kernels that run there; on the CPU torch's operators, without those that they call.
    """
    result: dict[str, Any] = {}
    for subject in wanted.subjects:
        for size in wanted.sizes:
            network = loaded(subject, wanted.device, wanted.dtype)
            push = streams.under_way(network, size[::-1], wanted.device, wanted.dtype, wanted.block)
            push()
            result[label(subject, size)] = _profiled(push, wanted)
    return result


def _profiled(push: Callable[[], object], wanted: Wanted) -> dict[str, Any]:
    cuda, runs = wanted.device.type == "cuda", 1 if wanted.quick else RUNS
    frames = runs * wanted.block
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with profile(activities=activities) as profiled:
        for _ in range(runs):
            push()
        if cuda:
            torch.cuda.synchronize()
    rows = []
    for event in profiled.key_averages():
        if cuda != (event.device_type != DeviceType.CPU):
            continue
        microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
        rows.append((microseconds / 1000 / frames, event.count / frames, str(event.key)))
    rows.sort(reverse=True)
    whole = sum(ms for ms, _, _ in rows)
    return {
        "ms": round(whole, 4),
        "kernels": [
            {"name": name[:120], "ms": round(ms, 4), "share": round(ms / whole, 4), "calls": round(calls, 2)}
            for ms, calls, name in rows[:SHOWN]
        ],
    }
