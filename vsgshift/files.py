"""Files that have their name only once they are whole, and locks that keep other programs away."""

import os
import platform
import re
import secrets
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    from vsgshift import windows
else:
    import fcntl

PARTIAL = ".partial"
"""How the name of a file that is being written ends."""


def _host() -> str:
    """The name of this machine and, where the system tells, a mark of what its process numbers belong to: the machine
    since its start, or a container. Containers, and machines, may share a name."""
    name = re.sub("[^A-Za-z0-9-]", "-", platform.node())[:63] or "unnamed"
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        return f"{name}-{zlib.crc32(start + bytes(Path('/proc/self/ns/pid').readlink())):08x}"
    except OSError:
        return name


HOST = _host()
"""Who processes belong to, in such names."""


def partial_name(file: Path) -> Path:
    """A name for a file while it is being written, next to its own; it tells machine and process."""
    # Another name each time: two programs may write one file, and where others may write a known name is a trap.
    kept = os.fsencode(file.name)[:120].decode(errors="ignore")
    return file.with_name(f"{kept}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")


def is_abandoned(partial: Path) -> bool:
    """Whether a file with such a name was being written on this machine since its start, or in this container, by a
    process that is no more."""
    found = re.search(rf"\.{re.escape(HOST)}-(\d+)-[0-9a-f]+{re.escape(PARTIAL)}", partial.name)
    return found is not None and not _is_running(int(found[1]))


def _is_running(process: int) -> bool:
    if sys.platform == "win32":
        return windows.is_running(process)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it is someone else's
    return True


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed, in the place of a lock that it has; whether no other program is in the way.

    Those that are all ``shared`` are not; on a file system without locks none is.
    """
    if sys.platform == "win32":
        return windows.lock(descriptor, shared=shared)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def atomic_write(file: Path, *, first: bool = False) -> Iterator[Path]:
    """An empty file to write to, next to the one that is wanted; it takes its name at the end, or goes after an error.

    Until then a file of that name stays, and if this one is to be the ``first``, at the end too. Raises OSError, which
    names a file, if the disk does not take what was written.
    """
    partial = partial_name(file)
    partial.touch(exist_ok=False)
    try:
        yield partial
        _flush(partial)
        if first:
            try:
                file.hardlink_to(partial)
            except FileExistsError:
                pass
            except OSError:
                partial.replace(file)  # a file system without links
        else:
            partial.replace(file)
    except OSError as error:
        # A write that is refused, as on a full disk, does not say by itself which file it was for.
        error.filename = error.filename or str(file)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _flush(file: Path) -> None:
    """Wait until a file is on the disk: after a power failure a name must not stand for half of it."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
