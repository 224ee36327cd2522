"""The authors' files, remembered by size and digest.

There are no published digests of them. So those of the first file that was installed under a published
name are kept beside the installed weights, and a later file must agree, whether downloaded or
imported. The note outlives the removal of the weights.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from vsgshift.errors import CheckpointError
from vsgshift.weights.catalogue import Model, models_folder

LONGEST_NOTE = 2**16
"""Bytes that are read of a note."""


@dataclass(frozen=True)
class Original:
    """A file that weights were made of."""

    file: str
    size: int
    """In bytes."""
    sha256: str

    @classmethod
    def of(cls, data: bytes, file: str) -> Self:
        return cls(file=file, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{self.size} bytes, SHA-256 {self.sha256}"


def note(model: Model) -> Path:
    """The file that keeps what the first original of a model was."""
    return models_folder() / f"{model.name}.original.json"


def first(model: Model) -> Original | None:
    """The original that was installed first, if any was. Raises CheckpointError if the note is damaged; OSError."""
    path = note(model)
    try:
        with path.open("rb") as file:
            known = json.loads(file.read(LONGEST_NOTE))
        original = Original(file=known["file"], size=known["size"], sha256=known["sha256"])
        if list(map(type, vars(original).values())) != [str, int, str]:
            raise ValueError("not a note")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged; restore it, or delete it to trust the next file") from error
    return original


def check(model: Model, original: Original) -> None:
    """Raise CheckpointError, with both digests, for an original that is not the one installed first."""
    known = first(model)
    if known and (known.size, known.sha256) != (original.size, original.sha256):
        raise CheckpointError(
            f"{original.file} is not the file that was first installed as {model.name}: it has {original}; "
            f"the first had {known}; add --accept-changed if you trust the new one"
        )


def contents(original: Original) -> bytes:
    """What the note on an original says."""
    return (json.dumps(asdict(original), indent=2) + "\n").encode()
