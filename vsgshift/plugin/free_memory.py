"""How much memory is free on a device, as far as the system tells."""

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None if the system does not say."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(cached)
    return host_memory()


def host_memory(root: Path = Path("/")) -> int | None:
    """Bytes that are free for this process: of the machine, swap included, and of each control group it is in.

    Only Linux says; None elsewhere. ``root`` is where proc and sys are.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        known = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free = [known["MemAvailable"] + known["SwapFree"]]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    free += [left for folder in _groups(root) if (left := _left(folder)) is not None]
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
