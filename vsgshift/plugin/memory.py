"""Give freed memory back to the system.

Frames and tensors are allocated on one thread and freed on another, in sizes that the C library
keeps in its own heaps. Those heaps grow by about 0.1 MB per frame unless they are trimmed.
"""

import ctypes
from collections.abc import Callable


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_trim = _malloc_trim()
"""glibc has it; other C libraries trim by themselves."""


def give_back_freed() -> None:
    """Return what is free in the heaps to the system; takes about a millisecond."""
    if _trim is not None:
        _trim(0)
