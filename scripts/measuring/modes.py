"""The benchmarks by name: what each measures, and which networks and sizes it takes where none are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from measuring import authors, growth, layers, rates
from measuring.against import compared
from measuring.equality import equality
from measuring.kernels import kernels
from measuring.networks import loaded
from measuring.speeds import engine, latency, machine, memory, pipe, speed
from measuring.wanted import SMALL, Wanted, label


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A benchmark."""

    run: Callable[[Wanted], Any]
    models: tuple[str, ...] = ("tiny",)
    sizes: tuple[tuple[int, int], ...] = SMALL
    """Widths and heights."""


def where_time_goes(wanted: Wanted) -> dict[str, Any]:
    """See `layers.measured`; the device is measured once for all networks."""
    known = rates.measured(wanted.device, wanted.dtype, quick=wanted.quick)
    result: dict[str, Any] = {}
    for subject in wanted.subjects:
        for size in wanted.sizes:
            network = loaded(subject, wanted.device, wanted.dtype)
            try:
                result[label(subject, size)] = layers.measured(
                    network, size[::-1], wanted.device, wanted.dtype, wanted.block, known
                )
            except torch.OutOfMemoryError as error:
                wanted.failures.append(f"{label(subject, size)}: {error}")
    return result


def beside_the_authors(wanted: Wanted) -> dict[str, Any]:
    """See `against.compared`, for each of their networks whose name is among those asked for.

    Raises:
        AuthorsError: no folder, or nothing in it to compare with.
    """
    if wanted.against is None:
        raise authors.AuthorsError("name a checkout of the authors' repository with --against")
    names = [subject.variant.name for subject in wanted.subjects]
    theirs = authors.found(wanted.against, wanted.device, wanted.dtype)
    if missing := [name for name in names if name not in theirs]:
        raise authors.AuthorsError(f"{wanted.against} has no {missing[0]}; it has {', '.join(theirs)}")
    (width, height), *_ = wanted.sizes
    result: dict[str, Any] = {}
    for name in names:
        result[f"{name} {width}x{height}"] = compared(
            theirs[name],
            wanted.folder,
            size=(height, width),
            frames=wanted.frames or 12,
            device=wanted.device,
            dtype=wanted.dtype,
            block=wanted.block,
            rounds=wanted.rounds,
        )
    return result


def grown(wanted: Wanted) -> dict[str, Any]:
    """See `growth`: against length at one small size, and against pixels."""
    subject = wanted.subjects[0]
    lengths = growth.LENGTHS if wanted.frames is None else (max(1, wanted.frames // 10), wanted.frames)
    by_length = growth.against_length(wanted.case(subject, growth.SMALL), lengths)
    by_pixels = growth.against_pixels(wanted.case(subject, growth.SMALL), wanted.sizes)
    return {
        "model": subject.name,
        "length_size": f"{growth.SMALL[0]}x{growth.SMALL[1]}",
        "length": by_length,
        "length_memory_largest_over_smallest": growth.evenness(by_length, "memory_mib"),
        "length_fps_largest_over_smallest": growth.evenness(by_length, "fps"),
        "pixels": by_pixels,
        "pixels_rate_largest_over_smallest": growth.evenness(by_pixels, "megapixels_per_second"),
    }


MODES = {
    "machine": Mode(run=machine),
    "engine": Mode(run=engine),
    "vspipe": Mode(run=pipe),
    "speed": Mode(run=speed),
    "latency": Mode(run=latency),
    "memory": Mode(run=memory, models=("tiny-denoise",), sizes=SMALL[:1]),
    "layers": Mode(run=where_time_goes, models=("tiny-deblur",), sizes=SMALL[1:]),
    "kernels": Mode(run=kernels, models=("tiny-deblur",), sizes=SMALL[1:]),
    "growth": Mode(run=grown, models=("tiny-denoise",), sizes=growth.SIZES),
    "against": Mode(run=beside_the_authors, models=("small",), sizes=((256, 256),)),
    "equality": Mode(run=equality, models=("all",), sizes=((64, 64),)),
}
