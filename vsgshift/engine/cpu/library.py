"""Load the compiled kernels for the CPU, if there are any.

Structures and functions are declared here as in `native/`; `load` compares the version and all sizes.
"""

import ctypes
import sys
from collections.abc import Iterator
from ctypes import POINTER, c_float, c_int, c_ssize_t, c_void_p
from functools import cache
from pathlib import Path

import torch

BUILDS = {"AVX512": ("avx512", "avx2"), "AVX2": ("avx2",)}
"""Builds for the instruction set that torch finds, the best first."""


type _Kind = type[c_int | c_float | c_void_p | c_ssize_t]


def _each(kind: _Kind, names: str) -> tuple[tuple[str, _Kind], ...]:
    """Fields of one kind."""
    return tuple((name, kind) for name in names.split())


class Attention(ctypes.Structure):
    """In native/blocks.h."""

    _fields_ = (("hidden", c_int), ("squeeze", c_void_p), ("excite", c_void_p))


class Half(ctypes.Structure):
    """In native/blocks.h."""

    _fields_ = (("start", c_void_p), ("stride", c_ssize_t))


class Gated(ctypes.Structure):
    """In native/gated.h."""

    _fields_ = (
        *_each(c_int, "channels side group"),
        *_each(c_void_p, "expand expand_bias depthwise"),
        ("first", Attention),
        *_each(c_void_p, "mix gate"),
        ("second", Attention),
        *_each(c_void_p, "project project_bias"),
    )


class Residual(ctypes.Structure):
    """In native/residual.h."""

    _fields_ = (("channels", c_int), *_each(c_void_p, "first second slope"), ("attention", Attention))


class Align(ctypes.Structure):
    """In native/align.h."""

    _fields_ = (("channels", c_int), ("offsets", c_void_p), ("weights", c_void_p))


class Merge(ctypes.Structure):
    """In native/merge.h."""

    _fields_ = (
        *_each(c_int, "height width before after"),
        *_each(c_float, "fall free common doubt"),
        *_each(c_void_p, "kept noise change remaining"),
    )


ABI_VERSION = 3
"""`vsgshift_abi_version` in native/library.c."""
STRUCTURES = (Attention, Half, Gated, Residual, Align, Merge)
_SIZE = (c_int, c_int, c_int)
"""Frames, height, width."""
FUNCTIONS = {
    "vsgshift_frames_at_once": (*_SIZE, c_int),
    "vsgshift_gated": (POINTER(Gated), *_SIZE, POINTER(Half), c_void_p, c_void_p, c_void_p, c_int),
    "vsgshift_residual": (POINTER(Residual), *_SIZE, c_void_p, c_void_p, c_int),
    "vsgshift_align": (POINTER(Align), *_SIZE, POINTER(Half), c_void_p, c_int),
    "vsgshift_kept_size": (c_int, c_int),
    "vsgshift_keep": (c_int, c_int, c_void_p, c_ssize_t, c_ssize_t, c_void_p, c_int),
    "vsgshift_merge": (POINTER(Merge), c_int),
    "vsgshift_merged_input": (*_SIZE, *(c_void_p,) * 5, c_int),
    "vsgshift_merged_output": (*_SIZE, *(c_void_p,) * 4, POINTER(c_float), c_void_p, c_int),
}
"""Arguments of each; all return an int. The last argument of those that compute is the number of threads."""


def candidates() -> Iterator[Path]:
    """Yield the paths at which builds for this machine can be, the fastest first."""
    import vsgshift.engine.cpu

    for build in (*BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()), "baseline"):
        # The compiled files of an editable install are in site-packages, its sources are not; both are in this path.
        for folder in vsgshift.engine.cpu.__path__:
            yield Path(folder, f"_kernels_{build}.{'dll' if sys.platform == 'win32' else 'so'}")


def load(path: Path) -> ctypes.CDLL:
    """Load one build and declare its functions, which release the GIL. Raises ImportError if it is of other sources
    than this."""
    library = ctypes.CDLL(str(path))
    try:
        sizes = [c_int.in_dll(library, "vsgshift_abi_version").value]
        sizes += [ctypes.c_size_t.in_dll(library, f"vsgshift_sizeof_{each.__name__}").value for each in STRUCTURES]
        for name, arguments in FUNCTIONS.items():
            getattr(library, name).argtypes = arguments
    except (AttributeError, ValueError):
        sizes = []
    if sizes != [ABI_VERSION, *map(ctypes.sizeof, STRUCTURES)]:
        raise ImportError(f"{path} was compiled from another version of vsgshift; install vsgshift again")
    return library


@cache
def chosen() -> Path | None:
    """The fastest build that this machine can run, or None if none was compiled."""
    return next((path for path in candidates() if path.is_file()), None)


@cache
def kernels() -> ctypes.CDLL | None:
    """The kernels of that build. Errors as for `load`."""
    path = chosen()
    return None if path is None else load(path)


def built_for() -> str:
    """The instruction set that the kernels in use were built for, or "none"."""
    path = chosen()
    return "none" if path is None else path.stem.removeprefix("_kernels_")
