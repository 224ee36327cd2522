"""Which kernels the time goes to, by torch's profiler: whatever they are, fused ones of ours or a library's."""

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

from measuring import streams
from measuring.networks import load
from measuring.settings import Settings, label

SHOWN = 30
"""Kernels of a network that a report has, the slowest first."""


def kernels(settings: Settings) -> dict[str, Any]:
    """For each network and size: the profiler's table of one push of a stream well under way, the slowest first."""
    result: dict[str, Any] = {}
    for subject in settings.subjects:
        for size in settings.sizes:
            network = load(subject, settings.device, settings.dtype)
            push = streams.under_way(network, size[::-1], settings.device, settings.dtype, settings.block)
            push()
            result[label(subject, size)] = _profile(push, settings)
    return result


def _profile(push: Callable[[], object], settings: Settings) -> str:
    cuda = settings.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        push()
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=column, row_limit=SHOWN, max_name_column_width=60))
