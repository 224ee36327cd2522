"""Which kernels the time goes to, by torch's profiler: whatever they are, fused ones of ours or a library's."""

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

from measuring import streams
from measuring.networks import loaded
from measuring.wanted import Wanted, label

SHOWN = 30
"""Kernels of a network that a report has, the slowest first."""


def kernels(wanted: Wanted) -> dict[str, Any]:
    """For each network and size: the profiler's table of one push of a stream well under way, the slowest first."""
    result: dict[str, Any] = {}
    for subject in wanted.subjects:
        for size in wanted.sizes:
            network = loaded(subject, wanted.device, wanted.dtype)
            push = streams.under_way(network, size[::-1], wanted.device, wanted.dtype, wanted.block)
            push()
            result[label(subject, size)] = _profile(push, wanted)
    return result


def _profile(push: Callable[[], object], wanted: Wanted) -> str:
    cuda = wanted.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        push()
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=column, row_limit=SHOWN, max_name_column_width=60))
