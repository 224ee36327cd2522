"""The C library's heaps: glibc keeps one for each thread, and gives back only what is free at their ends.

Frames and tensors are allocated on one thread and freed on another. Each heap comes to hold the most that its threads
had at a time, and the sum differs by a fifth from run to run; one heap for all holds less, and differs less.
"""

import ctypes
import os
from contextlib import suppress

_ARENA_MAX = -8
"""What glibc's `mallopt` calls the number of heaps."""


def share_one_heap() -> None:
    """Let all threads that begin from now on allocate in one of glibc's heaps; of the whole process, unless the user
    has set how many there are. Small blocks come from a cache of each thread's own as before."""
    if "MALLOC_ARENA_MAX" not in os.environ and "arena_max" not in os.environ.get("GLIBC_TUNABLES", ""):
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back_freed() -> None:
    """Return what is free in glibc's heaps to the system; takes about a millisecond."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
