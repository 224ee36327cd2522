"""Files that have their name only once they are whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
"""How the name of a file that is being written ends."""


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """An empty file to write to, next to the one that is wanted; it takes its name at the end, or goes after an error.

    Until then a file of that name stays. Raises OSError, which names a file, if the disk does not take what was
    written.
    """
    # Another name each time: two programs may write one file, and where others may write a known name is a trap.
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}{PARTIAL}")
    partial.touch(exist_ok=False)
    try:
        yield partial
        _flush(partial)
        partial.replace(file)
    except OSError as error:
        # A write that is refused, as on a full disk, does not say by itself which file it was for.
        error.filename = error.filename or str(file)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _flush(file: Path) -> None:
    """Wait until a file is on the disk: after a power failure a name must not stand for half of it."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
