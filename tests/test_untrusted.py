"""Files that are damaged or made to harm are refused with a reason, and nothing of them is executed."""

import io
import os
import pickle
import random
import re
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vsgshift.errors import CheckpointError
from vsgshift.weights import untrusted
from vsgshift.weights.pickled import describe
from vsgshift.weights.untrusted import metadata, published_state, read_bytes, read_ours

HERE = Path("file.pth")


def saved(contents: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer, **options)
    return buffer.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """A checkpoint with the content of its entries changed, whole in every other way."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return buffer.getvalue()


def with_pickle(contents: bytes) -> bytes:
    """A checkpoint of one number whose pickle is this."""
    return repacked(
        saved({"params": {"a": torch.ones(1)}}), lambda name, old: contents if name.endswith("data.pkl") else old
    )


def refused(data: bytes, why: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^file\.pth .*{why}") as caught:
        published_state(data, HERE)
    assert str(caught.value).isprintable()


def test_what_torch_writes_is_read() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.PReLU())
    network[0].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shared = torch.rand(10, 10)
    state = network.state_dict()
    assert isinstance(state, OrderedDict)
    assert state._metadata  # type: ignore[attr-defined]
    state |= {"window": shared[2:5, 3:], "turned": shared.T, "number": torch.tensor(0.5)}
    state["trained"] = nn.Parameter(torch.rand(2))
    state["long"] = torch.rand(70_000)
    read = published_state(saved({"params": state, "epoch": 3, "rate": 0.1, "notes": ["a", None, True]}), HERE)
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], tensor), name


class Harmful:
    """Pickles as a call that would create a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


class HarmfulLater(Harmful):
    """Hides the call in the attributes of something harmless."""

    def __reduce__(self) -> tuple[object, ...]:
        return OrderedDict, (), {"hook": Harmful(self.trace)}


class HarmfulHook(Harmful):
    """Hides the call in the arguments of a tensor."""

    def __reduce__(self) -> tuple[object, ...]:
        storage = torch.ones(1).untyped_storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, (1,), (1,), False, Harmful(self.trace))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [Harmful, HarmfulLater, HarmfulHook])
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_executed(kind: type[Harmful], protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    harmful = kind(trace)
    for contents in ({"params": harmful}, {"params": {"a": torch.ones(1)}, "b": harmful}):
        refused(
            saved(contents, pickle_protocol=protocol), "holds more than tensors.*; refused, and nothing of it was run$"
        )
    refused(pickle.dumps({"params": Harmful(trace)}), "not a PyTorch checkpoint")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Harmful(trace)))
    assert trace.exists(), "the example does no harm"


class Subclass(Tensor):
    pass


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.ones(2, dtype=torch.float64), "DoubleStorage; published ones are float32"),
        (torch.ones(2, dtype=torch.float16), "HalfStorage; published ones are float32"),
        (torch.ones(2, dtype=torch.complex64), "ComplexFloatStorage; published ones are float32"),
        (torch.ones(2, dtype=torch.int64), "LongStorage; published ones are float32"),
        (torch.ones(2, dtype=torch.uint16), r"torch\.serialization|_rebuild_tensor_v3"),
        (torch.ones(2).to_sparse(), "_get_layout|_rebuild_sparse_tensor"),
        (torch.ones(2, device="meta"), "_rebuild_meta_tensor_no_storage"),
        (torch.ones(2).as_subclass(Subclass), "_rebuild_from_type_v2"),
        (torch._neg_view(torch.ones(2)), "unusual call of .*_rebuild_tensor_v2"),
        (torch.zeros(1).expand(2**30), "larger than its values"),
        (torch.zeros(0), "empty"),
        (torch.zeros([1] * 9), "too many dimensions"),
        (np.ones(2), "numpy"),
        (3, "a is not a tensor"),
        ({"a": torch.ones(1)}, "a is not a tensor"),
    ],
)
def test_odd_tensors(tensor: object, why: str) -> None:
    refused(saved({"params": {"a": tensor}}), why)


@pytest.mark.parametrize("contents", [[1, 2], {}, {"params": {}}, {"params": 3}, {"state_dict": {"a": torch.ones(1)}}])
def test_other_layouts(contents: object) -> None:
    refused(saved(contents), "not in the published format.*'params'$")


def test_odd_names() -> None:
    for name in ("a\x1b[31mb", "a\nb", "ö", "n" * 201):
        refused(saved({"params": {name: torch.ones(1)}}), "senseless name")
    refused(saved({"params": {1: torch.ones(1)}}), "keys that are not text")


def test_sizes_that_do_not_fit() -> None:
    data = saved({"params": {"a": torch.ones(64, 300)}})
    size = struct.pack("<H", 300)

    def edited(old: bytes, new: bytes, count: int = -1) -> bytes:
        def edit(name: str, content: bytes) -> bytes:
            if not name.endswith("data.pkl"):
                return content
            assert old in content
            return content.replace(old, new, count)

        return repacked(data, edit)

    assert published_state(edited(b"K@", b"K?"), HERE)["a"].shape == (63, 300)
    refused(edited(b"K@", b"KA"), "larger than its values")
    refused(edited(b"M" + size, b"M" + struct.pack("<H", 301)), "larger than its values")
    refused(edited(b"M" + size, b"J" + struct.pack("<i", -1), 1), "is damaged")
    refused(edited(b"M" + size, b"J" + struct.pack("<i", 2**31 - 1)), "larger than its values")
    count = b"M" + struct.pack("<H", 64 * 300)
    refused(edited(count, b"M" + struct.pack("<H", 64 * 300 + 1)), "lacks values")
    refused(edited(count, b"M" + struct.pack("<H", 64 * 300 - 1)), "larger than its values|lacks values")
    refused(edited(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x001"), "lacks values")
    refused(edited(b"X\x01\x00\x00\x000", b"X\x07\x00\x00\x00../0/.."), "lacks values")
    two = saved({"params": {"a": torch.ones(8), "b": torch.ones(4)}})
    shared = repacked(two, lambda name, old: old.replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x000"))
    refused(shared, "lacks values")


@pytest.mark.slow
def test_pickles_made_to_exhaust() -> None:
    deep = b"\x80\x02)" + b"\x85" * 500_000 + b"."
    refused(with_pickle(deep), "'params'")
    refused(with_pickle(b"\x80\x02" + b"(" * 500_000 + b"."), "is damaged")
    refused(with_pickle(b"\x80\x02" + b"N" * 3 * 2**20 + b"."), "too long")
    # A key that takes 2^60 steps to hash.
    doubling = b"".join(b"q%ch%c\x86" % (index, index) for index in range(60))
    refused(with_pickle(b"\x80\x02})" + doubling + b"Ns."), "keys that are not text")
    # Memory by a call that is harmless as such.
    refused(with_pickle(b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."), "bytearray")
    refused(with_pickle(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."), r"\(os\.system\)")
    refused(with_pickle(b"\x80\x02cos\n\x1b[31m\nX\x02\x00\x00\x00id\x85R."), r"\(os\.\?\[31m\)")
    refused(with_pickle(b"\x80\x02}(X\x06\x00\x00\x00params"), "is damaged")
    refused(with_pickle(b""), "is damaged")


def directory_changed(data: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """The archive with the first entry of its directory changed."""
    changed = bytearray(data)
    change(changed, data.index(b"PK\x01\x02"))
    return bytes(changed)


def test_archives_made_to_exhaust() -> None:
    good = saved({"params": {"a": torch.ones(1000)}})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("x/data.pkl", bytes(10 * 2**20))
    deflated = buffer.getvalue()
    refused(deflated, "compressed entries")

    def lie(offset: int, value: int, form: str) -> Callable[[bytearray, int], None]:
        return lambda data, at: struct.pack_into(form, data, at + offset, value)

    sizes, method = 20, 10
    refused(directory_changed(deflated, lie(sizes + 4, 10, "<I")), "compressed entries")
    refused(directory_changed(deflated, lie(method, 0, "<H")), "unpack to more than its own size")
    stored_after_all = directory_changed(deflated, lie(method, 0, "<H"))
    refused(directory_changed(stored_after_all, lie(sizes + 4, 100, "<I")), "is damaged")
    refused(directory_changed(good, lie(sizes, 2**31, "<I")), "unpack to more than its own size")
    refused(directory_changed(good, lie(8, 1, "<H")), "is damaged.*password|is damaged.*encrypted")
    refused(directory_changed(good, lie(42, 2**31, "<I")), "is damaged")

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as overlapping:
        overlapping.writestr("x/data.pkl", bytes(10_000))
        (entry,) = overlapping.infolist()
        overlapping.filelist += [entry] * 100
    refused(buffer.getvalue(), "unpack to more than its own size")

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as crowded:
        for index in range(3):
            crowded.writestr(f"{index}", b"PK\x01\x02" * 10_000)
    refused(buffer.getvalue(), "more entries")


def test_confused_archives() -> None:
    good = saved({"params": {"a": torch.ones(1000)}})
    buffer = io.BytesIO(good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as twice:
        twice.writestr(next(name for name in twice.namelist() if name.endswith("data.pkl")), b"other")
    refused(buffer.getvalue(), "several entries of one name")
    buffer = io.BytesIO(good)
    with zipfile.ZipFile(buffer, "a") as two:
        two.writestr("other/data.pkl", b"other")
    refused(buffer.getvalue(), "list of contents, or several")
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as other:
        other.writestr("readme.txt", b"hello")
    refused(buffer.getvalue(), "no list of contents")
    refused(repacked(good, lambda name, old: b"big" if name.endswith("byteorder") else old), "byte order")
    at = good.index(struct.pack("<f", 1) * 100) + 41
    refused(good[:at] + b"!" + good[at + 1 :], "is damaged at archive/data/0")


def test_the_archive_that_is_checked_is_the_one_that_is_read() -> None:
    def filled(value: float) -> bytes:
        return saved({"params": {"a": torch.full((1000,), value)}})

    # Readers disagree on which of the two directories counts.
    twice = filled(2.0) + filled(1.0)
    assert torch.equal(torch.load(io.BytesIO(twice))["params"]["a"], torch.full((1000,), 2.0))
    assert torch.equal(published_state(twice, HERE)["a"], torch.ones(1000))
    # An attribute of an entry, which makes it a folder to one reader and a file to another.
    folder = directory_changed(filled(1.0), lambda data, at: struct.pack_into("<I", data, at + 38, 0x10))
    assert torch.equal(published_state(folder, HERE)["a"], torch.ones(1000))


def long_header(size: int) -> bytes:
    """A .safetensors file of many empty tensors."""
    text = b'{"__metadata__":{"variant":"denoise-tiny"}'
    text += b",".join(
        b"" if not n else b'"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(size)
    )
    text += b"}"
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 2) + b"\xff\xff",
        struct.pack("<Q", 400_000) + b"[" * 400_000,
        struct.pack("<Q", 400_000) + b'{"a":' * 80_000,
        long_header(30_000),
    ],
    ids=["empty", "ones", "huge", "list", "null", "no text", "deep", "deep too", "long"],
)
def test_headers_made_to_exhaust(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "film.safetensors"
    file.write_bytes(data)
    for read in (read_ours, metadata):
        with pytest.raises(CheckpointError, match=re.escape(str(file))) as caught:
            read(file)
        assert str(caught.value).isprintable()
    file.write_bytes(struct.pack("<Q", 22) + b'{"__metadata__":["a"]}')
    assert metadata(file) == {}


def test_a_long_header_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "film.safetensors"
    with file.open("wb") as sparse:
        sparse.write(struct.pack("<Q", 100 * 2**20) + b"{")
        sparse.truncate(101 * 2**20)
    tracemalloc.start()
    for read in (read_ours, metadata):
        with pytest.raises(CheckpointError, match="its header is longer than any"):
            read(file)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_other_files() -> None:
    good = saved({"params": {"a": torch.ones(1000)}})
    refused(b"", "not a PyTorch checkpoint, or is cut off")
    refused(bytes(1000), "not a PyTorch checkpoint, or is cut off")
    refused(b"\n<!DOCTYPE html><html>", "web page")
    refused(saved({"params": {"a": torch.ones(1)}}, _use_new_zipfile_serialization=False), "before version 1.6")
    for size in (10, 100, len(good) // 2, len(good) - 1):
        refused(good[:size], "cut off")
    refused(good[len(good) // 2 :], "not a PyTorch checkpoint")


def test_only_bounded_regular_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, link, loop, big = (tmp_path / name for name in ("pipe", "link", "loop", "big"))
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    big.write_bytes(bytes(1001))
    link.symlink_to(big)
    for path, why in (
        (pipe, "is not a file"), (tmp_path, "is not a file"), (Path("/dev/zero"), "is not a file"),
        (loop, "no such file"), (tmp_path / "missing", "no such file"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=why):
            read_bytes(path)
    monkeypatch.setattr(untrusted, "LARGEST_FILE", 1000)
    for path in (big, link):
        with pytest.raises(CheckpointError, match="too large"):
            read_bytes(path)
    monkeypatch.setattr(untrusted, "LARGEST_FILE", 1001)
    assert read_bytes(link) == bytes(1001)


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")
def test_random_damage_never_surprises() -> None:
    """Whatever is changed: the file is read, or refused in one line; no other error comes out."""
    state = {"a": torch.rand(3, 4), "b": torch.rand(2, 2).T, "c": nn.Parameter(torch.rand(1))}
    good = saved({"params": OrderedDict(state)})
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        contents = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    chance = random.Random(1)
    outcomes = {True: 0, False: 0}

    def survives(read: Callable[[bytes], object], data: bytes) -> None:
        message = None
        try:
            read(data)
        except CheckpointError as error:
            message = str(error)
        assert message is None or message.isprintable()
        outcomes[message is None] += 1

    for _ in range(3000):
        for read, data in ((describe, contents), (lambda data: published_state(data, HERE), good)):
            damaged = bytearray(data)
            for _ in range(chance.choice((1, 1, 2, 8))):
                at = chance.randrange(len(damaged))
                match chance.randrange(3):
                    case 0:
                        damaged[at] = chance.randrange(256)
                    case 1:
                        del damaged[at : at + chance.randrange(1, 5)]
                    case 2:
                        damaged[at:at] = chance.choice((b"(", b"t", b"}", b"R", b"0", b"\x8a\x04", b".", b"h\x00"))
            survives(read, bytes(damaged))
    assert min(outcomes.values()) > 100, outcomes
