"""What a user of the machine gets: frames per second by each way through VapourSynth, latency and memory."""

import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import vapoursynth as vs

from measuring.networks import Subject
from measuring.settings import Settings, label
from measuring.streams import engine
from vsgshift.benchmark import cases
from vsgshift.benchmark.measures import SIGMA, blank, restored, steady_rate
from vsgshift.video.pipe import ScriptFrames
from vsgshift.video.programs import find_vspipe

Measure = Callable[[Settings, Subject, tuple[int, int]], dict[str, Any]]
"""Measures one network at one width and height."""
SEEKS = 5
"""Frames of a clip that are sought; the median counts."""
SCRIPT = """
import vapoursynth as vs

clip = vs.core.std.BlankClip(width={width}, height={height}, format=vs.YUV420P8, length={length}, keep=True)
vs.core.gshift.{function}(clip, {options}).set_output()
"""


def machine(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    """The bare stream and vspipe in turns, then the filter in a process of its own, and latency."""

    def attempt(measure: Measure) -> dict[str, Any]:
        figures: dict[str, Any] = settings.attempt(label(subject, size), measure, subject, size)
        return figures

    # In turns: what else the machine does then meets both alike.
    turns = [(attempt(engine), attempt(vspipe)) for _ in range(settings.rounds)]
    bare, piped = (_middle(runs) for runs in zip(*turns, strict=True))
    row: dict[str, Any] = {f"engine_{name}": value for name, value in bare.items()}
    row |= attempt(through_filter)
    row |= {f"vspipe_{name}": value for name, value in piped.items()}
    if shares := [run["fps"] / stream["fps"] for stream, run in turns if "fps" in stream and "fps" in run]:
        row["vspipe_share"] = round(median(shares), 3)
        row["vspipe_shares"] = [round(share, 3) for share in shares]
    return row | attempt(latency)


def _middle(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run of medium speed; the last one if none got through."""
    through = sorted((run for run in runs if "fps" in run), key=lambda run: float(run["fps"]))
    return through[len(through) // 2] if through else runs[-1]


def vspipe(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    """Through the program vspipe, as an encoder gets the frames: YUV420P8 in, Y4M out."""
    width, height = (side + side % 2 for side in size)  # YUV420 has no odd sizes
    options: dict[str, object] = {**settings.choices, "model": subject.source}
    if subject.variant.task == "denoise":
        options["sigma"] = SIGMA
    script = settings.folder / "benchmark.vpy"
    script.write_text(
        SCRIPT.format(
            width=width,
            height=height,
            length=cases.ENDLESS,
            function=subject.variant.task.capitalize(),
            options=", ".join(f"{name}={value!r}" for name, value in options.items()),
        )
    )
    started = time.perf_counter()
    with ScriptFrames(find_vspipe(), script) as frames:
        read = frames.read(cases.ENDLESS)
        next(read)
        first = time.perf_counter() - started
        rate, count = steady_rate(read, settings.block, settings.seconds)
    return {"fps": round(rate, 3), "frames": count, "first_s": round(first, 2)}


def through_filter(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    """The filter on RGB float, as `vsgshift benchmark` measures it."""
    figures = cases.measure_apart(settings.case(subject, size), patience=3600)
    known = {"filter_fps": round(figures.fps, 3), "filter_memory_mib": round(figures.memory_mib, 1)}
    if figures.gpu_memory_mib is not None:
        known["filter_gpu_memory_mib"] = round(figures.gpu_memory_mib, 1)
    return known


def latency(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, Any]:
    """Seconds that a previewer waits for one frame: the first one after creation, after seeks, a step back."""
    rng = random.Random(1)
    source = blank(*size, 1000)
    started = time.perf_counter()
    clip = restored(source, subject.variant.task, model=subject.source, **settings.choices)
    seconds = {"first": [_seconds_for(clip, 0, started)], "seek": [], "back": []}
    margin = min(max(20, subject.variant.radius + 1), 400)
    for _ in range(SEEKS if settings.rounds > 1 else 1):
        n = rng.randrange(margin, 1000 - margin)
        seconds["seek"].append(_seconds_for(clip, n))
        seconds["back"].append(_seconds_for(clip, n - 1))
    return {f"{name}_s": round(median(each), 2) for name, each in seconds.items()}


def _seconds_for(clip: vs.VideoNode, n: int, started: float | None = None) -> float:
    """Seconds until frame n is there, from now or from an earlier time."""
    started = time.perf_counter() if started is None else started
    clip.get_frame(n).close()
    return time.perf_counter() - started
