"""How far a restoration is: a bar with frames per second, the time left, and memory."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
"""tqdm's own, but with frames per second where a frame takes more than one."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the memory."""


class Meter:
    """Counts frames and shows a bar where stderr is a terminal; a context manager.

    Args:
        name: what is shown before the bar.
        total: frames of the whole.
        done: those that were there before.
        processes: gives the ids of the processes whose memory counts.
    """

    def __init__(self, name: str, total: int, done: int, processes: Callable[[], Sequence[int]]) -> None:
        self.processes = processes
        self.began, self.looked = time.monotonic(), 0.0
        self.count, self.peak = 0, 0
        self.bar = tqdm(
            desc=name,
            total=total,
            initial=done,
            unit=" frames",
            bar_format=BAR,
            disable=None,
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()

    def frame(self) -> None:
        """One frame more."""
        self.count += 1
        now = time.monotonic()
        if now - self.looked > LOOK_EVERY:
            self.looked = now
            memory = sum(map(resident, self.processes()))
            self.peak = max(self.peak, memory)
            if memory:
                self.bar.set_postfix_str(f"{memory / 1e9:.1f} GB", refresh=False)
        self.bar.update()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began


def resident(process: int) -> int:
    """Bytes of memory that a process and its children occupy; 0 where the system does not tell."""
    folder = Path("/proc") / str(process)
    try:
        status = (folder / "status").read_text(encoding="ascii", errors="replace")
        children = (folder / "task" / str(process) / "children").read_text(encoding="ascii").split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return own + sum(resident(int(child)) for child in children)
