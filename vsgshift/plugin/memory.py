"""Give freed memory back to the system.

Frames and tensors are allocated on one thread and freed on another, in sizes that the C library keeps in heaps of its
own. What lives long lies there between what does not, and holds it: heaps would take half as much again as is used.
"""

import ctypes
from contextlib import suppress

LARGE = 2**19
"""Bytes from which a block gets pages of its own, which go back to the system when it is freed."""
KEPT_FREE = 2**23
"""Bytes at the end of a heap that are kept for the next blocks."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""What `mallopt` calls them; left alone, glibc raises both up to 32 and 64 MiB."""


def keep_apart() -> None:
    """Let large blocks of the whole process lie outside the heaps, where the C library can: glibc."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, KEPT_FREE)


def give_back_freed() -> None:
    """Return what is free in glibc's heaps to the system; takes about a millisecond."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
