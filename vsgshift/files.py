"""Files that have their name only once they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A name to write to, beside the file; what is written there becomes the file at the end, or nothing is left of it.

    A file of that name stays as it is until then. Raises OSError where the disk does not take what was written.
    """
    partial = file.with_name(file.name + PARTIAL)
    try:
        yield partial
        flush(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def flush(file: Path) -> None:
    """Wait until a file is on the disk: after a power failure a name must not stand for half of it."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
