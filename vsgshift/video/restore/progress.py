"""How far a restoration is: speed, time left, memory; a bar on a terminal, else a line now and then."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from vsgshift.video.times import clock

BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
"""tqdm's own, but with frames per second even if a frame takes more than one."""
MEMORY_EVERY = 1.0
"""Seconds between two looks at the memory."""
LINE_EVERY = 60.0
"""Seconds between two lines if there is no terminal."""


class Progress:
    """Counts frames, and shows a bar or, if stderr is no terminal, writes a line each minute; a context manager.

    ``total`` are the frames of the whole, ``done`` those that were there before.
    """

    def __init__(self, name: str, total: int, done: int) -> None:
        self.began, self.sampled = time.monotonic(), 0.0
        self.written = self.began
        self.count, self.peak = 0, 0
        self.name, self.total, self.done = name, total, done
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

    def frame(self, count: int = 1) -> None:
        """One frame more, or several."""
        self.count += count
        now = time.monotonic()
        if now - self.sampled > MEMORY_EVERY:
            self.sampled = now
            if memory := self.memory():
                self.bar.set_postfix_str(f"{memory / 1e9:.1f} GB", refresh=False)
        self.bar.update(count)
        if self.bar.disable and now - self.written > LINE_EVERY:
            self.written = now
            sys.stderr.write(f"{self.name}: {self._line()}\n")
            sys.stderr.flush()

    def memory(self) -> int:
        """Bytes that the programs at work take now; 0 if the system does not tell."""
        memory = sum(map(_resident, _children(os.getpid())))
        self.peak = max(self.peak, memory)
        return memory

    def _line(self) -> str:
        pace = self.count / self.seconds
        made = self.done + self.count
        left = clock((self.total - made) / pace)
        return f"{made} of {self.total} frames, {pace:.2g} frames/s, {left} left"

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began


def _resident(process: int) -> int:
    """Bytes of memory that a process and its children occupy; 0 if the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
    return own + sum(map(_resident, _children(process)))


def _children(process: int) -> list[int]:
    """Ids of the processes that one has started; none if the system does not tell."""
    try:
        files = list(Path(f"/proc/{process}/task").glob("*/children"))
        return [int(number) for file in files for number in file.read_text(encoding="ascii").split()]
    except OSError:
        return []
