"""How much memory is free on a device, as far as the system tells."""

import mmap
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

if sys.platform == "win32":
    from vsgshift import windows


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None if the system does not say."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(cached)
    return host_memory()


class Promises:
    """Memory that filters were admitted for and have not taken yet: others must not be admitted for the same."""

    def __init__(self) -> None:
        self._sizes: dict[str, list[tuple[int, int]]] = {}
        """By device, of each living filter, in bytes: what it was admitted for, and what of that it shares."""
        self._before: dict[str, int] = {}
        """By device: what this process had taken when the first of them was made."""

    def add(self, device: torch.device, size: int, shared: int, owner: object) -> None:
        """Count a filter's memory, in bytes, for as long as its owner lives; ``shared`` is a part of it that it has in
        common with all filters on the device."""
        sizes = self._sizes.setdefault(device.type, [])
        if not sizes:
            self._before[device.type] = _taken(device)
        sizes.append((size, shared))
        weakref.finalize(owner, sizes.remove, (size, shared))

    def left(self, device: torch.device, free: int, shared: int) -> int:
        """What a new filter may take of ``free`` bytes, which has ``shared`` in common with the others."""
        if not (sizes := self._sizes.get(device.type)):
            return free
        common = max(part for _, part in sizes)
        promised = sum(size - part for size, part in sizes) + common
        outstanding = max(promised - max(_taken(device) - self._before[device.type], 0), 0)
        return max(free - outstanding, 0) + min(common, shared)


PROMISES = Promises()
"""Of this process."""


def _taken(device: torch.device) -> int:
    """Bytes of a device's memory that this process has; 0 if the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    if sys.platform == "win32":
        return windows.resident()[0]
    return _pages(Path("/"), 1) or 0


def _pages(root: Path, field: int) -> int | None:
    """Bytes of this process by a field of its statm: 0 for its address space, 1 for what is resident."""
    try:
        return int((root / "proc/self/statm").read_text().split()[field]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return None


def host_memory(root: Path = Path("/")) -> int | None:
    """Bytes that are free for this process: of the machine, swap included, of each control group it is in, and of
    its address space, where that is limited (``ulimit -v``).

    Only Linux and Windows say; None elsewhere. ``root`` is where proc and sys are.
    """
    if sys.platform == "win32":
        return windows.memory()[1]
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        known = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free = [known["MemAvailable"] + known["SwapFree"]]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    free += [left for folder in _groups(root) if (left := _left(folder)) is not None]
    # Not a module of every system.
    import resource

    limit, mapped = resource.getrlimit(resource.RLIMIT_AS)[0], _pages(root, 0)
    if limit != resource.RLIM_INFINITY and mapped is not None:
        free.append(limit - mapped)
    return max(min(free), 0)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups that this process is in, innermost first; version 2, then the memory one of 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        # In a container the path may be the host's, and its own group lies at the top.
        own = PurePosixPath(path.lstrip("/"))
        for inner in (own, *own.parents):
            yield top / inner


def _left(folder: Path) -> int | None:
    """Bytes that a control group may still take; None if it has no limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        # Files that were read count as taken until the memory is needed.
        kept = stat.get("total_inactive_file", stat.get("inactive_file", "0"))
        return most - taken + int(kept)
    return None
