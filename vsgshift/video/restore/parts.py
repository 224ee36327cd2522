"""What is finished of a restoration, kept next to its output until the whole is.

The film is cut into parts of equal length, each encoded by itself, so that a run that was stopped and goes on makes the
same parts as one that was not, and so do several machines. They lie in a folder that only we write to; whatever else is
found in it is left alone. A part has its name once it is whole, so that two attempts at one do no harm.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsgshift.errors import VideoError
from vsgshift.files import PARTIAL, atomic_write, is_abandoned, lock

PART_SECONDS = 60
"""Of work in a part if nothing else is asked for: what a person would mind losing."""
FEWEST_FRAMES, MOST_FRAMES = 24, 7200
"""In such a part: each begins with a key frame, and its encoder has all of it to distribute bits over."""
PART_SIZE = "frames of a part"
"""What the state calls it."""
MACHINE = "machine"
"""What the state calls that of the machine on which the frames depend."""
STATE = "job.json"
ENDING = ".parts"
"""Of the folder's name."""
INDEX = "index"
"""What the names of BestSource's index files begin with."""
MARK = "made-by-vsgshift"
"""A file that tells our folders from those of the user."""
OURS = re.compile(rf"\d{{5}}\.mkv|{INDEX}.*|{MARK}|{re.escape(STATE)}|.*\.partial")
"""Names of the files that we make."""
AFRESH = "start over with --force"


@dataclass(frozen=True)
class Parts:
    """The files of the parts in a folder: ``frames`` of the output, ``size`` in a part, the last one excepted, which
    are the most that a run loses if it is stopped."""

    folder: Path
    frames: int
    size: int

    def __len__(self) -> int:
        return -(-self.frames // self.size)

    def length(self, number: int) -> int:
        """Frames of a part."""
        return min(self.size, self.frames - number * self.size)

    def file(self, number: int) -> Path:
        """A part's file; it is there once the part is finished."""
        return self.folder / f"{number:05}.mkv"

    def stretch(self, number: int, count: int) -> range:
        """The parts of one of ``count`` stretches of about equal length; the first one is 1."""
        return range(len(self) * (number - 1) // count, len(self) * number // count)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of the parts that are not there."""
        return [number for number in numbers if not self.file(number).exists()]


def part_size(pace: float) -> int:
    """Frames in a part, at that many frames per second."""
    return round(min(max(PART_SECONDS * pace, FEWEST_FRAMES), MOST_FRAMES))


def parts_folder(output: Path) -> Path:
    """The folder of an output's parts."""
    return output.with_name(f"{output.name}{ENDING}")


@contextmanager
def working_folder(output: Path, *, shared: bool = False) -> Iterator[Path]:
    """Make an output's folder of parts, and keep other runs away from it, unless they share it; remove it at the end if
    no part is finished.

    Raises VideoError if another run is at it, or there is a folder of that name which we did not make.
    """
    folder = parts_folder(output)
    descriptor = _locked(folder, shared)
    try:
        yield folder
    finally:
        for partial in folder.glob(f"*{PARTIAL}*"):
            with suppress(OSError):
                if is_abandoned(partial):
                    partial.unlink()
        useless = not any(folder.glob("*.mkv")) and lock(descriptor)
        if useless and sys.platform != "win32":
            remove(folder)
        os.close(descriptor)
        if useless and sys.platform == "win32":
            # There no file is removed that is open: not ours before, and from here on not that of a run which comes.
            remove(folder)


def _locked(folder: Path, shared: bool) -> int:
    """A descriptor that holds a folder's lock; the folder is made if there is none."""
    while True:
        _make(folder)
        if (descriptor := _open_mark(folder)) is None:
            continue
        if not lock(descriptor, shared=shared):
            os.close(descriptor)
            output = folder.with_name(folder.name.removesuffix(ENDING))
            raise VideoError(f"another run is writing {output}; wait for it to end")
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # A run that has just ended has taken the folder with it.
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Make a folder of parts, marked from the first moment on; not if there is anything of that name."""
    if os.path.lexists(folder):
        return
    try:
        fresh = Path(tempfile.mkdtemp(prefix=".vsgshift-", dir=folder.parent))
    except OSError as error:
        raise VideoError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        (fresh / MARK).touch()
        # It fails if others were faster.
        with suppress(OSError):
            fresh.rename(folder)
    finally:
        remove(fresh)


def _open_mark(folder: Path) -> int | None:
    """A descriptor of the mark of a folder that we made, as networks lock no folders; None if it is gone."""
    mark = -1
    with suppress(OSError):
        if sys.platform == "win32":
            if not (folder.is_symlink() or folder.is_junction()):
                mark = os.open(folder / MARK, os.O_RDWR)
        else:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(opened).st_uid == os.geteuid():
                    mark = os.open(MARK, os.O_RDWR | os.O_NOFOLLOW, dir_fd=opened)
            finally:
                os.close(opened)
    if mark < 0 and not os.path.lexists(folder):
        return None
    if mark < 0:
        raise VideoError(
            f"{folder} was not made by vsgshift, which would write there; move it away, or name another output"
        )
    return mark


def remove(folder: Path) -> None:
    """Remove a folder of parts; what we did not make stays, and the folder with it."""
    with suppress(OSError):
        _empty(folder)
        (folder / MARK).unlink()
        folder.rmdir()


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        if OURS.fullmatch(file.name) and file.name != MARK and not file.is_dir():
            file.unlink()


def make_way(folder: Path, *, resume: bool, force: bool) -> None:
    """Make way for a run that starts over; the folder's lock is held.

    With ``resume`` go on instead, if there is something to go on from; with ``force`` throw away what an earlier run
    has left. Raises VideoError if there is something that is not to be thrown away.
    """
    unfinished = (folder / STATE).exists()
    if unfinished and resume:
        return
    if unfinished and not force:
        raise VideoError(f"{folder} holds an unfinished run; go on with --resume, or {AFRESH}")
    _empty(folder)


def kept_size(folder: Path) -> int | None:
    """Frames in a part of the run that left the folder; None if there was none. Raises VideoError if its notes are
    damaged."""
    file = folder / STATE
    return int(_read(file)[PART_SIZE]) if file.exists() else None


def begin(folder: Path, state: Mapping[str, Any], *, measured: bool = False, mixed: bool = False) -> int:
    """Write down what the frames depend on (plain types), or compare it with what an earlier run or another machine
    had; returns the frames in a part.

    If its size was measured, whoever was first has chosen it. Raises VideoError if that one had other options, or was a
    machine of another kind, unless ``mixed``.
    """
    file = folder / STATE
    if not file.exists():
        with atomic_write(file, first=True) as partial:
            partial.write_text(json.dumps(state, indent=1), encoding="utf-8")
    before = _read(file)
    if measured:
        state = {**state, PART_SIZE: before.get(PART_SIZE)}
    _check_same(before, json.loads(json.dumps(state)), mixed=mixed)
    return int(before[PART_SIZE])


def _read(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if not (isinstance(state, dict) and isinstance(state.get(MACHINE), dict)):
            raise ValueError("not an object")
        if not (isinstance(size := state.get(PART_SIZE), int) and size > 0):
            raise ValueError("no size")
    except (ValueError, RecursionError) as error:
        raise VideoError(f"{file} is damaged", advice=AFRESH) from error
    return state


def _check_same(before: dict[str, Any], now: dict[str, Any], *, mixed: bool) -> None:
    for name in sorted({*before, *now} - {MACHINE}):
        if before.get(name) != now.get(name):
            was, is_now = (json.dumps(values.get(name)) for values in (before, now))
            raise VideoError(
                f"cannot go on: {name} was {was}, now it is {is_now}",
                advice=f"repeat the command as it was, or {AFRESH}",
            )
    for name in () if mixed else sorted({*before[MACHINE], *now[MACHINE]}):
        was, is_now = (str(values[MACHINE].get(name, "not known")) for values in (before, now))
        if was != is_now:
            # Of long lists of settings, those that differ.
            words = [" ".join(w for w in a.split() if w not in b.split()) for a, b in ((was, is_now), (is_now, was))]
            raise VideoError(
                f"this machine would make other frames: {name} was {words[0] or was}, here it is {words[1] or is_now}",
                advice="take one of the same kind, or allow it with --mixed",
            )
