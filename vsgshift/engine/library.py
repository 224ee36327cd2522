"""The compiled kernels for the CPU, where there are any."""

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

BUILDS = {"AVX512": ("avx512", "avx2"), "AVX2": ("avx2",)}
"""By what torch says of the machine: builds for its instruction set, the best first."""


class Attention(ctypes.Structure):
    """`Attention` in native/blocks.h."""

    _fields_ = (("hidden", ctypes.c_int), ("squeeze", ctypes.c_void_p), ("excite", ctypes.c_void_p))


class Half(ctypes.Structure):
    """`Half` in native/blocks.h."""

    _fields_ = (("start", ctypes.c_void_p), ("stride", ctypes.c_ssize_t))


class Gated(ctypes.Structure):
    """`GatedBlock` in native/gated.h."""

    _fields_ = (
        ("channels", ctypes.c_int),
        ("side", ctypes.c_int),
        ("group", ctypes.c_int),
        ("expand", ctypes.c_void_p),
        ("expand_bias", ctypes.c_void_p),
        ("depthwise", ctypes.c_void_p),
        ("first", Attention),
        ("mix", ctypes.c_void_p),
        ("gate", ctypes.c_void_p),
        ("second", Attention),
        ("project", ctypes.c_void_p),
        ("project_bias", ctypes.c_void_p),
    )


class Residual(ctypes.Structure):
    """`ResidualBlock` in native/residual.h."""

    _fields_ = (
        ("channels", ctypes.c_int),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("slope", ctypes.c_void_p),
        ("attention", Attention),
    )


class Align(ctypes.Structure):
    """`Align` in native/align.h."""

    _fields_ = (
        ("channels", ctypes.c_int),
        ("offsets", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
    )


def candidates() -> Iterator[Path]:
    """Where builds that this machine can run may be, the fastest first."""
    import vsgshift.engine

    for build in (*BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()), "baseline"):
        # An editable install has its compiled files in another folder than its sources.
        for folder in vsgshift.engine.__path__:
            yield Path(folder, f"_kernels_{build}.so")


def load(path: Path) -> ctypes.CDLL:
    """One build. Calls into it run without Python's lock."""
    return ctypes.CDLL(str(path))


@cache
def chosen() -> Path | None:
    """The fastest build that this machine can run, or None where none was compiled."""
    return next((path for path in candidates() if path.is_file()), None)


@cache
def kernels() -> ctypes.CDLL | None:
    """The same, loaded."""
    path = chosen()
    return None if path is None else load(path)


def built_for() -> str:
    """The instruction set that the kernels in use were built for, or "none"."""
    path = chosen()
    return "none" if path is None else path.stem.removeprefix("_kernels_")
