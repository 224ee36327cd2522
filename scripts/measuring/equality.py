"""The stream on a device against the network on the CPU in double precision: how far its output is off."""

import time
from typing import Any

import torch

from measuring import streams
from measuring.networks import Subject, load
from measuring.rates import wait_for
from measuring.settings import Settings
from vsgshift.network.timeline import WholeClip
from vsgshift.streaming import restore
from vsgshift.weights import load_network

LIMITS = {torch.float32: 1e-3, torch.float16: 5e-2}
"""Largest relative error, ||out - ref|| / ||ref - clip||, of sound arithmetic: single precision, by way of tf32 too;
and half, whose output is rounded to 1/2048 while the change may be as small as a few hundredths."""


def equality(settings: Settings) -> dict[str, Any]:
    """For each network, in single precision and on a GPU in half as well: errors, and whether they are sound.

    The reference is the whole clip at once under the stream's boundary rule, in float64 on the CPU. The relative
    error is that of the *change* which the network makes, the part that is computed.
    """
    result: dict[str, Any] = {}
    (width, height), *_ = settings.sizes
    precisions = [torch.float32] + ([torch.float16] if settings.device.type == "cuda" else [])
    for subject in settings.subjects:
        frames = settings.frames or subject.variant.radius + 2 * settings.block
        reference = _reference(subject, frames, (height, width))
        for dtype in precisions:
            row = _compared(settings, subject, frames, (height, width), dtype, reference)
            name = f"{subject.name} {str(dtype).removeprefix('torch.')}"
            result[name] = row
            if not row["sound"]:
                settings.failures.append(f"{name}: relative error {row['relative_error']}")
    return result


def _reference(subject: Subject, frames: int, size: tuple[int, int]) -> torch.Tensor:
    network = load_network(subject.source, dtype=torch.float64)
    clip, noise = streams.footage(subject.variant.task, frames, size, torch.device("cpu"), torch.float64)
    with torch.inference_mode():
        return network.run(clip, noise, WholeClip(frames, boundary="hold")) - clip


def _compared(
    settings: Settings,
    subject: Subject,
    frames: int,
    size: tuple[int, int],
    dtype: torch.dtype,
    reference: torch.Tensor,
) -> dict[str, Any]:
    network = load(subject, settings.device, dtype)
    clip, noise = streams.footage(subject.variant.task, frames, size, settings.device, dtype)
    started = time.perf_counter()
    restored = restore(network, clip, noise, block=settings.block)
    wait_for(settings.device)
    change = restored.cpu().double() - clip.cpu().double()
    error = float((change - reference).norm() / reference.norm())
    return {
        "frames": frames,
        "relative_error": float(f"{error:.3g}"),
        "max_difference": float(f"{float((change - reference).abs().max()):.3g}"),
        # Not "error > limit": what is no number is unsound too.
        "sound": error <= LIMITS[dtype],
        "seconds": round(time.perf_counter() - started, 2),
    }
