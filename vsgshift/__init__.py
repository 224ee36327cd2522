"""Shift-Net video restoration for VapourSynth: `core.gshift.Deblur` and `core.gshift.Denoise`.

The same with types, for scripts: `deblur`, `denoise`, `estimate_noise`. The same networks for Python programs:
`load_network`, `prepared` (the same, faster), `restore`, `Stream`.
"""

from typing import TYPE_CHECKING

from vsgshift._version import __version__

if TYPE_CHECKING:
    from vsgshift.engine import prepared
    from vsgshift.filters import DeblurModel, DenoiseModel, deblur, denoise, estimate_noise
    from vsgshift.network import ShiftNet
    from vsgshift.parameters import SceneChange
    from vsgshift.streaming import Stream, restore
    from vsgshift.weights import load_network

__all__ = [
    "DeblurModel",
    "DenoiseModel",
    "SceneChange",
    "ShiftNet",
    "Stream",
    "__version__",
    "deblur",
    "denoise",
    "estimate_noise",
    "load_network",
    "prepared",
    "restore",
]

_HOMES = {
    "DeblurModel": "vsgshift.filters",
    "DenoiseModel": "vsgshift.filters",
    "SceneChange": "vsgshift.parameters",
    "ShiftNet": "vsgshift.network",
    "Stream": "vsgshift.streaming",
    "deblur": "vsgshift.filters",
    "denoise": "vsgshift.filters",
    "estimate_noise": "vsgshift.filters",
    "load_network": "vsgshift.weights",
    "prepared": "vsgshift.engine",
    "restore": "vsgshift.streaming",
}


def __getattr__(name: str) -> object:
    # torch takes seconds to import; a script that only loads the plugin, or wraps it, must not wait for it.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vsgshift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
