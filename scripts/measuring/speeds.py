"""Frames per second, latency and memory: of the bare stream, of the filter, and through vspipe."""

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
import vapoursynth as vs

from measuring import streams, vspipe
from measuring.measures import frames_per_second, peak_of, resident, run_filter, run_stream
from measuring.networks import Subject, load
from measuring.settings import Settings, label
from vsgshift.benchmark import cases
from vsgshift.benchmark.measures import blank, restored

SEEKS = 5
"""Places in a clip that are looked at; the median counts."""


def speed(settings: Settings) -> dict[str, Any]:
    """Frames per second of short clips of RGB float, start and end included: the bare stream, and the filter."""
    return settings.each(_speed)


def _speed(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    count = settings.frames or 24
    network = load(subject, settings.device, settings.dtype)
    width, height = size
    frames, noise = streams.footage(subject.variant.task, 4, (height, width), settings.device)
    source = blank(width, height, count)
    bare = partial(run_stream, network, frames, noise, count)
    filtered = partial(run_filter, source, subject.variant.task, model=subject.source, **settings.choices)
    bare(), filtered()
    rounds = [(frames_per_second(bare), frames_per_second(filtered)) for _ in range(2)]
    stream_fps, filter_fps = (median(values) for values in zip(*rounds, strict=True))
    return {
        "stream_fps": round(stream_fps, 2),
        "filter_fps": round(filter_fps, 2),
        "ratio": round(filter_fps / stream_fps, 3),
    }


def engine(settings: Settings) -> dict[str, Any]:
    """The bare stream in the middle of a long clip: frames per second, and the most memory, without the program's."""
    return settings.each(_engine)


def _engine(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    network = load(subject, settings.device, settings.dtype)
    found: list[streams.StreamFigures] = []

    def measure() -> None:
        found.append(streams.measure_stream(network, size[::-1], settings.device, settings.block, settings.seconds))

    grown = peak_of(measure, settings.device)
    (figures,) = found
    known: dict[str, Any] = {"fps": round(figures.fps, 3), "frames": figures.frames, "spread": round(figures.spread, 3)}
    if figures.gpu_memory_mib is not None:
        known["gpu_memory_mib"] = round(figures.gpu_memory_mib, 1)
    elif grown is not None:
        known["memory_mib"] = round(grown, 1)
    return known


def pipe(settings: Settings) -> dict[str, Any]:
    """Through the program vspipe, as an encoder gets it: YUV420P8 in, Y4M out."""
    return settings.each(_pipe)


def _pipe(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    figures = vspipe.measure_vspipe(settings.case(subject, size), subject.variant.task)
    return {
        "fps": round(figures.fps, 3),
        "frames": figures.frames,
        "first_s": round(figures.first_s, 2),
        "memory_mib": round(figures.memory_mib, 1),
    }


def machine(settings: Settings) -> dict[str, Any]:
    """All of it for each network and size: bare stream and vspipe in turns, filter, latency, memory."""
    return settings.each(_machine)


def _machine(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    def tried(measure: Callable[[Settings, Subject, tuple[int, int]], dict[str, Any]]) -> dict[str, Any]:
        figures: dict[str, Any] = settings.tried(label(subject, size), measure, subject, size)
        return figures

    # In turns: what else the machine does then meets both alike.
    turns = [(tried(_engine), tried(_pipe)) for _ in range(settings.rounds)]
    bare, piped = (_middle(runs) for runs in zip(*turns, strict=True))
    row: dict[str, Any] = {f"engine_{name}": value for name, value in bare.items()}
    row |= tried(_filter)
    row |= {f"vspipe_{name}": value for name, value in piped.items()}
    shares = [run["fps"] / stream["fps"] for stream, run in turns if "fps" in stream and "fps" in run]
    if shares:
        row["vspipe_share"] = round(median(shares), 3)
        row["vspipe_shares"] = [round(share, 3) for share in shares]
    return row | tried(_latency)


def _middle(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run of medium speed; the last one where none got through."""
    through = sorted((run for run in runs if "fps" in run), key=lambda run: float(run["fps"]))
    return through[len(through) // 2] if through else runs[-1]


def _filter(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    figures = cases.measure_apart(settings.case(subject, size), patience=3600)
    known = {"filter_fps": round(figures.fps, 3), "filter_memory_mib": round(figures.memory_mib, 1)}
    if figures.gpu_memory_mib is not None:
        known["filter_gpu_memory_mib"] = round(figures.gpu_memory_mib, 1)
    return known


def latency(settings: Settings) -> dict[str, Any]:
    """Seconds that a previewer waits for one frame: the first one after creation, after seeks, a step back."""
    return settings.each(_latency)


def _latency(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    places = random.Random(1)
    source = blank(*size, 1000)
    started = time.perf_counter()
    clip = restored(source, subject.variant.task, model=subject.source, **settings.choices)
    seconds = {"first": [_seconds_for(clip, 0, started)], "seek": [], "back": []}
    margin = min(max(20, subject.variant.radius + 1), 400)
    for _ in range(SEEKS if settings.rounds > 1 else 1):
        n = places.randrange(margin, 1000 - margin)
        seconds["seek"].append(_seconds_for(clip, n))
        seconds["back"].append(_seconds_for(clip, n - 1))
    return {f"{name}_s": round(median(each), 2) for name, each in seconds.items()}


def _seconds_for(clip: vs.VideoNode, n: int, started: float | None = None) -> float:
    """Seconds until frame n is there, from now or from an earlier time."""
    started = time.perf_counter() if started is None else started
    clip.get_frame(n).close()
    return time.perf_counter() - started


def memory(settings: Settings) -> dict[str, Any]:
    """Memory while the first network restores a long clip of the first size: it must not grow."""
    subject, (width, height) = settings.subjects[0], settings.sizes[0]
    length = settings.frames or 3000
    marks = {max(1, length // 10): None, max(1, length // 3): None, length: None}
    source = vs.core.std.BlankClip(width=width, height=height, format=vs.YUV420P8, length=length)
    cuda = settings.device.type == "cuda"
    clip = restored(source, subject.variant.task, model=subject.source, **settings.choices)
    result = settings.result
    for n, _ in enumerate(clip.frames(close=True), start=1):
        if n in marks:
            settings.add(f"frame_{n}_mib", round(resident(), 1))
            if cuda:
                # Of the whole card: torch is not the only one that takes from it.
                free, whole = torch.cuda.mem_get_info(settings.device)
                settings.add(f"frame_{n}_gpu_mib", round((whole - free) / 2**20, 1))
    kinds = ("", "gpu_") if cuda else ("",)
    for kind in kinds:
        first, last = (float(result[f"frame_{n}_{kind}mib"]) for n in (min(marks), length))
        settings.add(f"{kind}growth_percent", round(100 * (last / first - 1), 2))
    return result
