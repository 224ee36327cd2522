"""Reading files of weights that may be damaged or made to harm.

Every size is checked before anything of that size is allocated, and nothing from a file is executed. A file is read
once, and its tensors are made from the bytes that were checked, by the reader that checked them: `torch.load` is not
used, since another reader may see another file in the same bytes. A checkpoint's pickle is read as data (`pickled`).
"""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vsgshift.errors import CheckpointError
from vsgshift.network import VARIANTS, Variant
from vsgshift.weights.pickled import LARGEST_PICKLE, StoredTensor, describe, plain
from vsgshift.weights.published import shapes_of

LARGEST_FILE = 256 * 2**20
"""Bytes. The largest published checkpoint has 54 MB; anything beyond this is not one."""

MOST_ENTRIES = 20_000
"""Files inside a checkpoint. The published ones have up to 2,600."""

LARGEST_HEADER = 2**20
"""Bytes of JSON at the head of a .safetensors file. Ours have up to 0.2 MB."""

_DIRECTORY_ENTRY = b"PK\x01\x02"
_OLD_FORMAT = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""How PyTorch's files began before version 1.6."""


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file of up to `LARGEST_FILE` bytes, or its first ``most``. Raises CheckpointError."""
    # A pipe or a device would block, or never end.
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file" if path.exists() else f"no such file: {path}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1 if most is None else most)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise CheckpointError(f"{path} is too large for a Shift-Net checkpoint")
    return data


def published_state(data: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict in a published checkpoint's bytes: names and float32 tensors of any strides, within the file's own
    bytes.

    Raises CheckpointError, with the path, if it is no checkpoint, is damaged, holds something else than dense float32
    tensors, or would need more memory than it has bytes.
    """
    try:
        return _state(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    # All that zipfile is known to raise on senseless archives.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, struct.error) as error:
        raise CheckpointError(f"{path} is damaged: {plain(str(error))}; fetch it again") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged; fetch it again") from error


def _state(data: bytes) -> dict[str, Tensor]:
    _check_kind(data)
    # Any reader of archives needs this mark before each entry, so that counting it bounds their number.
    if data.count(_DIRECTORY_ENTRY) > MOST_ENTRIES:
        raise CheckpointError("has more entries than any Shift-Net checkpoint; refused")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError("holds compressed entries, which could unpack to any size; refused")
        # Entries may overlap: each then fits into the file, but not all of them together.
        if sum(max(entry.file_size, entry.compress_size) for entry in entries) > len(data):
            raise CheckpointError("would unpack to more than its own size; refused")
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(sizes) != len(entries):
            raise CheckpointError("has several entries of one name; refused")
        tables = [name for name in sizes if name.endswith("/data.pkl")]
        if len(tables) != 1:
            raise CheckpointError("is not a PyTorch checkpoint: it has no list of contents, or several")
        folder = tables[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in sizes and _entry(archive, sizes, f"{folder}byteorder", 6) != b"little":
            raise CheckpointError("was written on a machine of the other byte order; not supported")
        if damaged := archive.testzip():
            raise CheckpointError(f"is damaged at {plain(damaged)}; fetch it again")
        described = _parameters(describe(_entry(archive, sizes, tables[0], LARGEST_PICKLE)))
        values: dict[str, Tensor] = {}
        for stored in described.values():
            _check_window(stored)
            key = stored.storage.key
            name = f"{folder}data/{key}"
            if sizes.get(name) != 4 * stored.storage.count:
                raise CheckpointError("is damaged: it lacks values of its tensors; fetch it again")
            if key not in values:
                # Of bytes that can be written to: torch has no tensors that cannot.
                values[key] = torch.frombuffer(bytearray(archive.read(name)), dtype=torch.float32)
    return {
        name: values[stored.storage.key].as_strided(stored.shape, stored.strides, stored.offset)
        for name, stored in described.items()
    }


def _check_kind(data: bytes) -> None:
    """Say what a file is that is not an archive."""
    if data.startswith(_OLD_FORMAT):
        raise CheckpointError("is in PyTorch's format of before version 1.6, which is not supported")
    if data.lstrip()[:1] == b"<":
        raise CheckpointError("is a web page, not a PyTorch checkpoint; fetch the file itself")
    if not data.startswith(b"PK") or not zipfile.is_zipfile(io.BytesIO(data)):
        raise CheckpointError("is not a PyTorch checkpoint, or is cut off; fetch it again")


def _entry(archive: zipfile.ZipFile, sizes: dict[str, int], name: str, longest: int) -> bytes:
    """The bytes of an entry, checked against its checksum."""
    if name not in sizes:
        raise CheckpointError("is damaged: it lacks values of its tensors; fetch it again")
    if sizes[name] > longest:
        raise CheckpointError(f"has an entry that is too long: {plain(name)}; refused")
    return archive.read(name)


def _parameters(contents: object) -> dict[str, StoredTensor]:
    state = contents.get("params") if isinstance(contents, dict) else None
    if not isinstance(state, dict) or not state:
        raise CheckpointError("is not in the published format: it has no dictionary of tensors called 'params'")
    for name, value in state.items():
        if not name.isascii() or not name.isprintable() or len(name) > 200:
            raise CheckpointError(f"has a parameter with a senseless name: {plain(ascii(name))}")
        if not isinstance(value, StoredTensor):
            raise CheckpointError(f"is not in the published format: {plain(name)} is not a tensor")
        if value.storage.kind != "torch.FloatStorage":
            raise CheckpointError(f"holds {plain(name)} as {plain(value.storage.kind)}; published ones are float32")
    return state


def _check_window(stored: StoredTensor) -> None:
    """No tensor may have more elements than its storage, or any outside of it."""
    storage = stored.storage
    elements = 1
    last = stored.offset
    if len(stored.shape) > 8 or 0 in stored.shape:
        raise CheckpointError("holds a tensor that is empty or of too many dimensions; refused")
    for size, stride in zip(stored.shape, stored.strides, strict=True):
        elements *= size
        last += (size - 1) * stride
    if elements > storage.count or last >= storage.count:
        raise CheckpointError("holds a tensor that is larger than its values; refused")


def metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file says of itself, as text that is fit for a terminal. Raises CheckpointError."""
    return _said(_header(path, read_bytes(path, 8 + LARGEST_HEADER)))


def _header(path: Path, data: bytes) -> dict[str, Any]:
    """Read the JSON at the head of a .safetensors file, of which the first bytes are given."""
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER:
        raise CheckpointError(f"{path} is no file of weights: its header is longer than any of a Shift-Net")
    try:
        header = json.loads(data[8 : 8 + length].decode())
    except (ValueError, RecursionError):
        header = None
    if len(data) < 8 + length or not isinstance(header, dict):
        raise CheckpointError(f"{path} is damaged, or no .safetensors file")
    return header


def _said(header: dict[str, Any]) -> dict[str, str]:
    known = header.get("__metadata__")
    return {plain(key): plain(str(value)) for key, value in known.items()} if isinstance(known, dict) else {}


def read_ours(path: Path) -> tuple[Variant, dict[str, Tensor], str]:
    """Variant, state dict (float32) and model name of a .safetensors file that we wrote.

    Raises CheckpointError if it is damaged, too large, not for a network of ours, or has values that are not finite.
    """
    # Its head alone first: a file that is none of ours is not read whole.
    metadata(path)
    data = read_bytes(path)
    known = _said(_header(path, data))
    variant = VARIANTS.get(known.get("variant", ""))
    if variant is None:
        raise CheckpointError(f"{path} does not say which vsgshift network it is for; import the original file again")
    expected = shapes_of(variant)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot read {path}: {plain(str(error))}") from error
    fitting = {
        key
        for key in expected.keys() & tensors.keys()
        if tensors[key].dtype in (torch.float32, torch.float16, torch.bfloat16) and tensors[key].shape == expected[key]
    }
    if wrong := (expected.keys() | tensors.keys()) - fitting:
        shown = ", ".join(plain(key) for key in sorted(wrong)[:5])
        raise CheckpointError(f"{path} does not fit {variant.name}: {shown}")
    state = {key: tensors[key].float() for key in expected}
    if broken := [key for key, tensor in state.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"{path} has values that are not finite numbers: {', '.join(broken[:5])}")
    return variant, state, known.get("name", path.stem)
