"""Shift-Net video restoration for VapourSynth: `core.gshift.Deblur` and `core.gshift.Denoise`.

The same networks for Python programs: `load_network`, `restore`, `Stream`.
"""

from typing import TYPE_CHECKING

from vsgshift._version import __version__

if TYPE_CHECKING:
    from vsgshift.network import ShiftNet
    from vsgshift.streaming import Stream, restore
    from vsgshift.weights import load_network

__all__ = ["ShiftNet", "Stream", "__version__", "load_network", "restore"]

_HOMES = {
    "ShiftNet": "vsgshift.network",
    "Stream": "vsgshift.streaming",
    "load_network": "vsgshift.weights",
    "restore": "vsgshift.streaming",
}


def __getattr__(name: str) -> object:
    # torch takes seconds to import; a script that only loads the plugin must not wait for it.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vsgshift' has no attribute {name!r}")
