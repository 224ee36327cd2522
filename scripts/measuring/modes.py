"""The benchmarks by name: what each measures, and which networks and sizes it takes where none are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from measuring import authors, growth, layers, rates
from measuring.against import compare
from measuring.equality import SIZE, equality
from measuring.kernels import kernels
from measuring.networks import Subject, load
from measuring.settings import SMALL, Settings
from measuring.smoke import smoke
from measuring.speeds import engine, latency, machine, memory, pipe, speed
from vsgshift.network import VARIANTS


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A benchmark."""

    run: Callable[[Settings], Any]
    models: tuple[str, ...] = ("tiny",)
    sizes: tuple[tuple[int, int], ...] = SMALL
    """Widths and heights."""


def where_time_goes(settings: Settings) -> dict[str, Any]:
    """See `layers.measure_layers`; the device is measured once for all networks."""
    known = rates.measure_rates(settings.device, settings.dtype, quick=settings.quick)

    def measure(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, object]:
        network = load(subject, settings.device, settings.dtype)
        return layers.measure_layers(network, size[::-1], settings.device, settings.dtype, settings.block, known)

    return settings.each(measure)


def beside_the_authors(settings: Settings) -> dict[str, Any]:
    """See `against.compare`, for each of their networks whose name is among those asked for.

    Raises:
        AuthorsError: no folder, or nothing in it to compare with.
    """
    if settings.against is None:
        raise authors.AuthorsError("name a checkout of the authors' repository with --against")
    names = [subject.variant.name for subject in settings.subjects]
    theirs = authors.find_networks(settings.against, settings.device, settings.dtype)
    if missing := [name for name in names if name not in theirs]:
        raise authors.AuthorsError(f"{settings.against} has no {missing[0]}; it has {', '.join(theirs)}")
    (width, height), *_ = settings.sizes

    def measure(settings: Settings, name: str) -> dict[str, Any]:
        return compare(
            theirs[name],
            settings.folder,
            size=(height, width),
            frames=settings.frames or 12,
            device=settings.device,
            dtype=settings.dtype,
            block=settings.block,
            rounds=settings.rounds,
        )

    for name in names:
        label = f"{name} {width}x{height}"
        settings.add(label, settings.tried(label, measure, name))
    return settings.result


def grown(settings: Settings) -> dict[str, Any]:
    """See `growth`: against length at one small size, and against pixels."""
    subject = settings.subjects[0]
    lengths = growth.LENGTHS if settings.frames is None else (max(1, settings.frames // 10), settings.frames)
    by_length = growth.against_length(settings.case(subject, growth.SMALL), lengths)
    by_pixels = growth.against_pixels(settings.case(subject, growth.SMALL), settings.sizes)
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
    "equality": Mode(run=equality, models=tuple(VARIANTS), sizes=(SIZE,)),
    "smoke": Mode(run=smoke, models=("tiny-deblur",)),
}
