"""What is finished of a restoration, kept next to its output until the whole is.

The film is cut into parts of equal length, each encoded by itself, so that a run that was stopped and
goes on makes the same parts as one that was not. They lie in a folder that only we write to; whatever
else is found in it is left alone.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsgshift.errors import VideoError
from vsgshift.files import atomic_write

PART_SECONDS = 60
"""Of work in a part if nothing else is asked for: what a person would mind losing."""
FEWEST_FRAMES, MOST_FRAMES = 24, 7200
"""In such a part: each begins with a key frame, and its encoder has all of it to distribute bits over."""
PART_SIZE = "frames of a part"
"""What the state calls it."""
STATE = "job.json"
INDEX = "index"
"""What the names of BestSource's index files begin with."""
MARK = "made-by-vsgshift"
"""A file that tells our folders from those of the user."""
OURS = re.compile(rf"\d{{5}}\.mkv|{INDEX}.*|{MARK}|{re.escape(STATE)}|.*\.partial")
"""Names of the files that we make."""
AFRESH = "start over with --force"


@dataclass(frozen=True)
class Parts:
    """The files of the parts.

    Args:
        folder: where they are.
        frames: how many the output has.
        size: frames in a part, the last one excepted; a run that is stopped loses at most as many.
    """

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


def part_size(pace: float) -> int:
    """Frames in a part, at that many frames per second."""
    return round(min(max(PART_SECONDS * pace, FEWEST_FRAMES), MOST_FRAMES))


def parts_folder(output: Path) -> Path:
    """The folder of an output's parts."""
    return output.with_name(f"{output.name}.parts")


@contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """Make an output's folder of parts, and keep other runs away from it; remove it at the end if no part is finished.

    Raises:
        VideoError: another run is at it, or there is a folder of that name which we did not make.
    """
    folder = parts_folder(output)
    try:
        folder.mkdir(mode=0o700)
        (folder / MARK).touch()
    except FileExistsError:
        pass
    except OSError as error:
        raise VideoError(f"cannot write to {folder.parent}: {error.strerror}") from error
    descriptor = _open_own(folder)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise VideoError(f"another run is writing {output}; wait for it to end") from error
        try:
            yield folder
        finally:
            for partial in folder.glob("*.partial"):
                partial.unlink(missing_ok=True)
            if not any(folder.glob("*.mkv")):
                remove(folder)
    finally:
        os.close(descriptor)


def _open_own(folder: Path) -> int:
    """A descriptor of a folder that we made."""
    foreign = f"{folder} was not made by vsgshift, which would write there; move it away, or name another output"
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise VideoError(foreign) from error
    marked = (folder / MARK).is_file() and not (folder / MARK).is_symlink()
    if not marked or os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise VideoError(foreign)
    return descriptor


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

    Args:
        folder: of the parts.
        resume: go on instead, if there is something to go on from.
        force: throw away what an earlier run has left.

    Raises:
        VideoError: there is something that is not to be thrown away.
    """
    unfinished = (folder / STATE).exists()
    if unfinished and resume:
        return
    if unfinished and not force:
        raise VideoError(f"{folder} holds an unfinished run; go on with --resume, or {AFRESH}")
    _empty(folder)


def kept_size(folder: Path) -> int | None:
    """Frames in a part of the run that left the folder; None if there was none.

    Raises:
        VideoError: its notes are damaged.
    """
    file = folder / STATE
    if not file.exists():
        return None
    size = _read(file).get(PART_SIZE)
    return size if isinstance(size, int) and size > 0 else None


def begin(folder: Path, state: Mapping[str, Any]) -> None:
    """Write down what the frames depend on, or compare it with what an earlier run had; the folder's lock is held.

    Args:
        folder: of the parts.
        state: everything that the frames of the output depend on; plain types.

    Raises:
        VideoError: the earlier run had other options.
    """
    file = folder / STATE
    if file.exists():
        _check_same(file, state)
        return
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(state, indent=1), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(state, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise VideoError(f"{file} is damaged", advice=AFRESH) from error
    return state


def _check_same(file: Path, state: Mapping[str, Any]) -> None:
    before = _read(file)
    now = json.loads(json.dumps(state))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            was, is_now = (json.dumps(values.get(name)) for values in (before, now))
            raise VideoError(
                f"cannot go on: {name} was {was}, now it is {is_now}",
                advice=f"repeat the command as it was, or {AFRESH}",
            )
