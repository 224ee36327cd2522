"""What is finished of a restoration, kept beside its output until the whole is.

The film is cut into parts of equal length, each encoded by itself, so that a run that was stopped and
goes on makes the same parts as one that was not. A part has its name when it is complete; until then
its name says that it is not.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsgshift.files import flush
from vsgshift.video.restore.errors import RestoreError

PART_FRAMES = 120
"""Frames in a part where nothing else is asked for: half a usual GOP, so that cutting there costs next to nothing."""
UNFINISHED = ".unfinished"
STATE = "job.json"


@dataclass(frozen=True)
class Parts:
    """The folder of the parts of an output.

    Args:
        output: the file that will be made of them.
        frames: how many it has.
        size: frames in a part, the last one excepted; a run that is stopped loses at most as many.
    """

    output: Path
    frames: int
    size: int = PART_FRAMES

    @property
    def folder(self) -> Path:
        """Where they are."""
        return parts_folder(self.output)

    @property
    def script(self) -> Path:
        """The VapourSynth script."""
        return self.folder / "script.vpy"

    @property
    def index(self) -> Path:
        """What BestSource's index files are named for."""
        return index_name(self.output)

    def __len__(self) -> int:
        return -(-self.frames // self.size)

    def length(self, number: int) -> int:
        """Frames of a part."""
        return min(self.size, self.frames - number * self.size)

    def file(self, number: int) -> Path:
        """A part's file, once it is complete."""
        return self.folder / f"{number:05}.mkv"

    def unfinished(self, number: int) -> Path:
        """Where a part is written to."""
        return self.folder / f"{number:05}.mkv{UNFINISHED}"

    def complete(self, number: int) -> None:
        """Give a part that has been written its name."""
        written = self.unfinished(number)
        flush(written)
        written.replace(self.file(number))

    def missing(self) -> list[int]:
        """Numbers of the parts that are yet to be made."""
        return [number for number in range(len(self)) if not self.file(number).exists()]


def parts_folder(output: Path) -> Path:
    """The folder of an output's parts."""
    return output.with_name(f"{output.name}.parts")


def index_name(output: Path) -> Path:
    """What the names of BestSource's index files begin with."""
    return parts_folder(output) / "index"


@contextmanager
def working_folder(output: Path) -> Iterator[None]:
    """Make an output's folder of parts, and keep other runs away from it; remove it at the end if no part is finished.

    Raises:
        RestoreError: another run is at it.
    """
    folder = parts_folder(output)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RestoreError(f"cannot write to {folder.parent}: {error.strerror}") from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RestoreError(f"another run is writing {output}; wait for it to end") from error
        try:
            yield
        finally:
            _tidy(folder)
    finally:
        os.close(descriptor)


def _tidy(folder: Path) -> None:
    """A run that came to nothing leaves nothing; one that has finished parts leaves those."""
    for rest in folder.glob(f"*{UNFINISHED}"):
        rest.unlink(missing_ok=True)
    if not any(folder.glob("*.mkv")):
        shutil.rmtree(folder, ignore_errors=True)


def refuse_unfinished(output: Path, *, afresh: bool) -> None:
    """Make way for a run that begins anew; the folder's lock is held.

    Args:
        output: the file to be made.
        afresh: throw away what an earlier run has left.

    Raises:
        RestoreError: there is something that is not to be thrown away.
    """
    folder = parts_folder(output)
    if (folder / STATE).exists() and not afresh:
        raise RestoreError(f"{folder} holds an unfinished run; go on with --resume, or begin anew with --force")
    for old in folder.iterdir():
        old.unlink()


def begin(output: Path, state: Mapping[str, Any], *, resume: bool) -> None:
    """Begin, or go on where an earlier run was stopped; the folder's lock is held.

    Args:
        output: the file to be made.
        state: everything that its frames depend on; plain types.
        resume: go on, where there is something to go on from.

    Raises:
        RestoreError: the earlier run was told otherwise.
    """
    folder = parts_folder(output)
    file = folder / STATE
    if file.exists() and resume:
        _check_same(file, state)
        return
    written = file.with_name(f"{STATE}{UNFINISHED}")
    written.write_text(json.dumps(state, indent=1), encoding="utf-8")
    written.replace(file)


def _check_same(file: Path, state: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RestoreError(f"{file} is damaged", advice="begin anew with --force") from error
    now = json.loads(json.dumps(state))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            was, wanted = (json.dumps(told.get(name)) for told in (before, now))
            raise RestoreError(
                f"cannot go on: {name} was {was}, now it is {wanted}",
                advice="repeat the command as it was, or begin anew with --force",
            )


def discard(output: Path) -> None:
    """Remove the parts of an output that is finished."""
    shutil.rmtree(parts_folder(output), ignore_errors=True)
