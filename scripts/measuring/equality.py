"""The stream on a device against the network on the CPU in double precision: how far its output is off."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measuring import streams
from measuring.networks import Subject, load, random_network
from measuring.settings import Settings
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.timeline import WholeClip
from vsgshift.streaming import Stream
from vsgshift.weights import load_network

LIMITS = {torch.float32: 1e-4, torch.float16: 5e-2}
"""Largest relative error, ||out - ref|| / ||ref - clip||, of sound arithmetic: single precision; and half, in which the
change is as small as a few hundredths of what is rounded to 1/2048."""
KNOWN = Path(__file__).with_name("references.npz")
"""What the networks with random weights add to some frames of a clip of `SIZE`, by double precision."""
SIZE = 32, 32
BLOCK = 4


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a network adds to some frames of `streams.footage`, in double precision."""

    length: int
    """Frames of the clip."""
    numbers: list[int]
    """Of the frames."""
    change: Tensor
    """(N, 3, H, W)."""


def equality(settings: Settings) -> dict[str, Any]:
    """For each network, in single precision and on a GPU in half as well: errors, and whether they are sound.

    The reference is the whole clip at once under the stream's boundary rule, in float64 on the CPU. The relative
    error is that of the *change* which the network makes, the part that is computed. On a GPU the clip is long enough
    for most of it to be restored by a CUDA graph.
    """
    (width, height), *_ = settings.sizes
    precisions = [torch.float32] + ([torch.float16] if settings.device.type == "cuda" else [])
    for subject in settings.subjects:
        reference = _reference(settings, subject, (height, width))
        for dtype in precisions:
            name = f"{subject.name} {str(dtype).removeprefix('torch.')}"
            row = settings.attempt(name, _compared, subject, (height, width), dtype, reference)
            if not row.get("sound", True):
                settings.failures.append(f"{name}: relative error {row['relative_error']}")
            settings.add(name, row)
    return settings.result


def length(radius: int) -> int:
    """Frames of a clip that is under way for a while."""
    return streams.frames_under_way(radius, BLOCK) + 2 * BLOCK


def write_references() -> Path:
    """Compute what `KNOWN` holds: the first frame, the last, and one that a graph restores."""
    changes = {}
    for name, variant in VARIANTS.items():
        frames = length(variant.radius)
        change = _change(random_network(variant).double(), frames, SIZE)
        changes[name] = change[_shown(variant.radius)].float().numpy()
    np.savez(KNOWN, allow_pickle=False, **changes)
    return KNOWN


def _shown(radius: int) -> list[int]:
    frames = length(radius)
    return [0, frames - radius - 2, frames - 1]


def _reference(settings: Settings, subject: Subject, size: tuple[int, int]) -> Reference:
    radius = subject.variant.radius
    if size == SIZE and settings.frames is None and subject.weights != "installed":
        with np.load(KNOWN) as known:
            change = torch.from_numpy(known[subject.variant.name]).double()
        return Reference(length=length(radius), numbers=_shown(radius), change=change)
    frames = settings.frames or length(radius)
    change = _change(load_network(subject.source, dtype=torch.float64), frames, size)
    return Reference(length=frames, numbers=[*range(frames)], change=change)


def _change(network: ShiftNet, frames: int, size: tuple[int, int]) -> Tensor:
    clip, noise = streams.footage(network.variant.task, frames, size, torch.device("cpu"), torch.float64)
    with torch.inference_mode():
        return network.run(clip, noise, WholeClip(frames, boundary="hold")) - clip


def _compared(
    settings: Settings, subject: Subject, size: tuple[int, int], dtype: torch.dtype, reference: Reference
) -> dict[str, Any]:
    clip, noise = streams.footage(subject.variant.task, reference.length, size, settings.device)
    started = time.perf_counter()
    with exact():
        stream = Stream(load(subject, settings.device, dtype), block=settings.block)
        parts = []
        for first in range(0, reference.length, settings.block):
            part = slice(first, first + settings.block)
            parts.append(stream.push(clip[part], None if noise is None else noise[part]))
        mode = stream.mode
        restored = torch.cat([*parts, stream.finish()])
        streams.wait_for(settings.device)
    change = (restored - clip)[reference.numbers].cpu().double()
    error = float((change - reference.change).norm() / reference.change.norm())
    return {
        "frames": reference.length,
        "mode": mode,
        "relative_error": float(f"{error:.3g}"),
        "max_difference": float(f"{float((change - reference.change).abs().max()):.3g}"),
        # Not "error > limit": what is no number is unsound too.
        "sound": error <= LIMITS[dtype],
        "seconds": round(time.perf_counter() - started, 2),
    }


@contextmanager
def exact() -> Iterator[None]:
    """Single precision that is not rounded to TF32 on the way."""
    switches: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = False
        yield
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed
