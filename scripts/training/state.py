"""The state of a training on disk: small files with digests, and an index that appears last.

Every writing makes new files and then replaces the index in one go, so a crash at any moment leaves
the previous state whole. Nothing is pickled.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from vsgshift.files import atomic_write

from .recipe import TrainingError

LARGEST_FILE = 15_000_000
"""Bytes per file of tensors, their descriptions included."""
INDEX = "state.json"


def write_state(folder: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes tensors and JSON facts into a folder, in place of an earlier state.

    facts: must have "step", the number of steps done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, shard in enumerate(_shards(tensors)):
        content = safetensors.torch.save(shard)
        digest = hashlib.sha256(content).hexdigest()
        # The digest in the name keeps a rewriting of the same step from touching files in use.
        path = folder / f"state-{facts['step']:07}-{number}-{digest[:8]}.safetensors"
        _write(path, content)
        files.append({"file": path.name, "sha256": digest})
    index = {"format": "vsgshift training state", "facts": facts, "files": files}
    _write(folder / INDEX, json.dumps(index, indent=1).encode())
    kept = {entry["file"] for entry in files}
    for path in [*folder.glob("state-*.safetensors"), *folder.glob("state-*.part")]:
        if path.name not in kept:
            path.unlink(missing_ok=True)


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the state in a folder; None where there is none.

    Raises:
        TrainingError: files of the state are missing or damaged.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    tensors: dict[str, Tensor] = {}
    try:
        index = json.loads(path.read_bytes())
        for entry in index["files"]:
            content = (folder / Path(entry["file"]).name).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise TrainingError(f"{folder / entry['file']} is damaged: its digest is not the one in {INDEX}")
            tensors |= safetensors.torch.load(content)
        facts = index["facts"]
        assert isinstance(facts["step"], int)
    except FileNotFoundError as error:
        raise TrainingError(f"the state in {folder} is not complete: {error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError, SafetensorError) as error:
        if isinstance(error, TrainingError):
            raise
        raise TrainingError(f"cannot read the state in {folder}: {error}") from error
    return tensors, facts


def _shards(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tensors in groups that fit a file each."""
    shards: list[dict[str, Tensor]] = [{}]
    room = LARGEST_FILE
    for name, tensor in tensors.items():
        size = tensor.nbytes + len(name) + 100
        if size > LARGEST_FILE:
            raise ValueError(f"{name} has {tensor.nbytes} bytes, more than fit a file of the state")
        if size > room:
            shards.append({})
            room = LARGEST_FILE
        shards[-1][name] = tensor.detach().cpu().contiguous()
        room -= size
    return shards


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as partial:
        partial.write_bytes(content)
