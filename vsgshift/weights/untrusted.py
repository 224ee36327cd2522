"""Reading files of weights that may be damaged or made to harm.

Every size is checked before anything of that size is allocated, and nothing from a file is executed:
a checkpoint's list of contents is first read as data (`pickled`), and only one that holds dense
tensors and nothing else is handed to `torch.load`, with ``weights_only=True``. That alone would keep
code from running, but not a small file from asking for all memory.
"""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from vsgshift.errors import CheckpointError
from vsgshift.network import VARIANTS, Variant
from vsgshift.weights.pickled import LARGEST_PICKLE, Storage, StoredTensor, describe, plain
from vsgshift.weights.published import shapes_of

LARGEST_FILE = 256 * 2**20
"""Bytes. The largest published checkpoint has 54 MB; anything beyond this is not one."""

MOST_ENTRIES = 20_000
"""Files inside a checkpoint. The published ones have up to 2,600."""

_DIRECTORY_ENTRY = b"PK\x01\x02"
_OLD_FORMAT = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""How PyTorch's files began before version 1.6."""


def read_bytes(path: Path) -> bytes:
    """The content of a file of weights, at most `LARGEST_FILE` bytes.

    Raises:
        CheckpointError: there is no such file, it is not a regular one, too large, or unreadable.
    """
    # A pipe or a device would block, or never end.
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file" if path.exists() else f"no such file: {path}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise CheckpointError(f"{path} is too large for a Shift-Net checkpoint")
    return data


def published_state(data: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict in the bytes of a published checkpoint.

    Args:
        data: what `read_bytes` returned.
        path: where it is from, for messages.

    Returns:
        Names and float32 tensors of any strides, within the file's own bytes.

    Raises:
        CheckpointError: it is not a checkpoint, is damaged, holds something else than dense float32
            tensors, or would need more memory than it has bytes.
    """
    try:
        return _state(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    # All that zipfile is known to raise on senseless archives, and torch where it is stricter still.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        struct.error,
        pickle.UnpicklingError,
    ) as error:
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
        described = _parameters(describe(_entry(archive, sizes, tables[0], LARGEST_PICKLE)))
        for stored in described.values():
            _check_window(stored)
            _check_storage(stored.storage, sizes, folder)
        if damaged := archive.testzip():
            raise CheckpointError(f"is damaged at {plain(damaged)}; fetch it again")
    # Known by now to hold dense tensors within its own bytes and nothing else.
    loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = loaded["params"]
    return {name: state[name].detach() for name in described}


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


def _check_storage(storage: Storage, sizes: dict[str, int], folder: str) -> None:
    """The values of a storage must be there, and as many as it says."""
    if sizes.get(f"{folder}data/{storage.key}") != 4 * storage.count:
        raise CheckpointError("is damaged: it lacks values of its tensors; fetch it again")


def _check_window(stored: StoredTensor) -> None:
    """No tensor may have more elements than its storage, or any outside of it."""
    storage: Storage = stored.storage
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
    """What a .safetensors file says of itself, as text that is fit for a terminal.

    Raises:
        CheckpointError: it is no such file, or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {plain(key): plain(value) for key, value in (file.metadata() or {}).items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {plain(str(error))}") from error


def read_ours(path: Path) -> tuple[Variant, dict[str, Tensor], str]:
    """Variant, state dict (float32) and model name of a .safetensors file that we wrote.

    Raises:
        CheckpointError: it is damaged, too large, not for a network of ours, or has values that are
            not finite.
    """
    known = metadata(path)
    if path.stat().st_size > LARGEST_FILE:
        raise CheckpointError(f"{path} is too large for the weights of a Shift-Net")
    variant = VARIANTS.get(known.get("variant", ""))
    if variant is None:
        raise CheckpointError(f"{path} does not say which vsgshift network it is for; import the original file again")
    wanted = shapes_of(variant)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            fitting = {
                key
                for key in wanted.keys() & found.keys()
                if found[key].get_dtype() in ("F32", "F16", "BF16") and found[key].get_shape() == [*wanted[key]]
            }
            wrong = (wanted.keys() | found.keys()) - fitting
            if wrong:
                shown = ", ".join(plain(key) for key in sorted(wrong)[:5])
                raise CheckpointError(f"{path} does not fit {variant.name}: {shown}")
            state = {key: file.get_tensor(key).float() for key in wanted}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {plain(str(error))}") from error
    if broken := [key for key, tensor in state.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"{path} has values that are not finite numbers: {', '.join(broken[:5])}")
    return variant, state, known.get("name", path.stem)
