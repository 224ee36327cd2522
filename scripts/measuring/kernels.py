"""Which kernels the time goes to, by torch's profiler: whatever they are, fused ones of ours or a library's."""

from typing import Any

from torch.profiler import ProfilerActivity, profile

from measuring import streams
from measuring.networks import Subject, load
from measuring.settings import Settings

SHOWN = 30
"""Kernels of a network that a report has, the slowest first."""


def kernels(settings: Settings) -> dict[str, Any]:
    """For each network and size: the profiler's table of one push of a stream well under way, the slowest first."""
    return settings.each(_kernels)


def _kernels(settings: Settings, subject: Subject, size: tuple[int, int]) -> str:
    network = load(subject, settings.device, settings.dtype)
    push = streams.under_way(network, size[::-1], settings.device, settings.block)
    push()
    cuda = settings.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        push()
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=column, row_limit=SHOWN, max_name_column_width=60))
