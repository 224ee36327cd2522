"""The benchmarks by name: what each measures, and which networks and sizes it takes by default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from measuring.against import against
from measuring.equality import SIZE, equality
from measuring.growth import SIZES, growth
from measuring.layers import layers
from measuring.machine import machine
from measuring.settings import SMALL, Settings
from measuring.sharing import sharing
from measuring.smoke import smoke
from measuring.streams import engine, kernels
from vsgshift.network import VARIANTS


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A benchmark, and what it measures by default."""

    run: Callable[[Settings], Any]
    models: tuple[str, ...] = ("tiny",)
    sizes: tuple[tuple[int, int], ...] = SMALL
    """Widths and heights."""


MODES = {
    "machine": Mode(run=lambda settings: settings.each(machine)),
    "engine": Mode(run=lambda settings: settings.each(engine)),
    "layers": Mode(run=layers, models=("tiny-deblur",), sizes=SMALL[1:]),
    "kernels": Mode(run=lambda settings: settings.each(kernels), models=("tiny-deblur",), sizes=SMALL[1:]),
    "growth": Mode(run=growth, models=("tiny-denoise",), sizes=SIZES),
    "against": Mode(run=against, models=("small",), sizes=((256, 256),)),
    "equality": Mode(run=equality, models=tuple(VARIANTS), sizes=(SIZE,)),
    "sharing": Mode(run=sharing, models=("tiny-denoise",), sizes=SMALL[:1]),
    "smoke": Mode(run=smoke, models=("tiny-deblur",)),
}
