"""The authors' network and ours, in turns, with the same weights, on the same frames: output, time, memory."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from measuring.authors import AuthorsError, Theirs, find_networks
from measuring.networks import Subject, load, save
from measuring.settings import Settings
from measuring.streams import footage, peak_of, timed, under_way
from vsgshift.network import ShiftNet
from vsgshift.network.variants import AuthorsRun
from vsgshift.streaming import restore

FRAMES = 12
"""Of the clip, if no other number is asked for."""


def against(settings: Settings) -> dict[str, Any]:
    """Each of their networks that is asked for, beside ours; at the first size. Raises AuthorsError."""
    if settings.against is None:
        raise AuthorsError("name a checkout of the authors' repository with --against")
    names = [subject.variant.name for subject in settings.subjects]
    networks = find_networks(settings.against, settings.device, settings.dtype)
    if missing := [name for name in names if name not in networks]:
        raise AuthorsError(f"{settings.against} has no {missing[0]}; it has {', '.join(networks)}")
    (width, height), *_ = settings.sizes

    def measure(settings: Settings, name: str) -> dict[str, Any]:
        return compare(networks[name], settings)

    for name in names:
        label = f"{name} {width}x{height}"
        settings.add(label, settings.attempt(label, measure, name))
    return settings.result


def compare(theirs: Theirs, settings: Settings) -> dict[str, Any]:
    """Compare one network with ours.

    Theirs is given the clip as one chunk and restores every frame of it. (Their programs drop two at either end of
    each chunk, which is not held against it here.) Ours is timed as a stream: over the same clip from the first
    frame to the last, start and end included, and under way in a clip that is longer. Theirs and ours take turns, and
    take turns in being first.

    Args:
        theirs: see `authors.find_networks`.
        settings: the first size, the rounds of which the median counts, and how ours is run.

    Returns:
        Seconds for each frame, the ratios of theirs to ours, the largest difference between the outputs beside the
        largest change that the network makes, and the most memory that each took beyond weights and frames.
    """
    device, dtype, block, size = settings.device, settings.dtype, settings.block, settings.sizes[0][::-1]
    frames = settings.frames or FRAMES
    path = save(theirs.ours, settings.folder / f"{theirs.variant.name}-authors.safetensors")
    subject = Subject(name=theirs.variant.name, source=str(path), variant=theirs.variant, weights="random")
    ours = load(subject, device, dtype)
    clip, noise = footage(theirs.variant.task, frames, size, device, dtype)

    kept: list[Tensor] = []
    memory = {
        "theirs": peak_of(lambda: kept.append(theirs.run(clip, noise)), device),
        "ours": peak_of(lambda: kept.append(restore(ours, clip, noise, block=block)), device),
    }
    result = _differences(theirs, ours, clip, noise, kept[0], kept[1])
    kept.clear()

    push = under_way(ours, size, device, block)
    blocks = math.ceil(frames / block)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "theirs": (lambda: theirs.run(clip, noise), frames),
        "ours_clip": (lambda: restore(ours, clip, noise, block=block), frames),
        "ours_steady": (lambda: [push() for _ in range(blocks)], blocks * block),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(settings.rounds):
        for name, (run, count) in list(ways.items())[:: -1 if turn % 2 else 1]:
            seconds[name].append(timed(run, device) / count)
    each = {name: median(times) for name, times in seconds.items()}
    return {
        "frames": frames,
        "their_chunk": (theirs.variant.authors or AuthorsRun()).chunk,
        "block": block,
        **{f"{name}_s_per_frame": round(value, 5) for name, value in each.items()},
        "ratio_clip": round(each["theirs"] / each["ours_clip"], 3),
        "ratio_steady": round(each["theirs"] / each["ours_steady"], 3),
        **{f"{name}_memory_mib": None if mib is None else round(mib, 1) for name, mib in memory.items()},
        **result,
        "rounds": {name: [round(value, 5) for value in times] for name, times in seconds.items()},
    }


def _differences(
    theirs: Theirs, ours: ShiftNet, clip: Tensor, noise: Tensor | None, expected: Tensor, streamed: Tensor
) -> dict[str, float | None]:
    """How far the outputs are apart, on the scale of [0, 1]."""
    whole = streamed
    inner = slice(None)
    if theirs.variant.boundary == "wrap":
        # The stream holds the first and last frame where this network of theirs wraps around the chunk. The whole clip
        # at once can be had either way; the stream gives the same only where neither end reaches.
        with torch.inference_mode():
            whole = ours(clip, noise)
        inner = slice(ours.radius, max(ours.radius, len(clip) - ours.radius))
    return {
        "max_difference": _farthest(whole, expected),
        "max_difference_stream": _farthest(streamed[inner], expected[inner]) if len(clip[inner]) else None,
        "largest_change": _farthest(expected, clip),
    }


def _farthest(a: Tensor, b: Tensor) -> float:
    return float(f"{float((a - b).abs().max()):.3g}")
