"""The state on disk: small files, digests, and the previous state whole whatever happens."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training import state
from training.recipe import TrainingError
from training.state import read_state, write_state


def tensors(seed: int) -> dict[str, Tensor]:
    """Some of each kind."""
    generator = torch.Generator().manual_seed(seed)
    out = {f"network.{n}": torch.randn(40, 3, 3, 3, generator=generator) for n in range(20)}
    return out | {"scalar": torch.tensor(3.0), "moment": torch.randn(7, generator=generator).bfloat16()}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) and actual[key].dtype == expected[key].dtype for key in expected)


def test_a_state_comes_back(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    facts = {"step": 12, "norms": [0.1, 1e-300], "more": {"a": "b"}}
    write_state(tmp_path, tensors(0), facts)
    actual = read_state(tmp_path)
    assert actual is not None
    assert actual[1] == facts
    assert_same(actual[0], tensors(0))


def test_files_are_small_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LARGEST_FILE", 20_000)
    for step in (1, 2, 2):
        write_state(tmp_path, tensors(step), {"step": step})
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6
    assert max(f.stat().st_size for f in files) <= 20_500
    index = json.loads((tmp_path / "state.json").read_text())
    assert {entry["file"] for entry in index["files"]} == {f.name for f in files} - {"state.json"}
    actual = read_state(tmp_path)
    assert actual is not None
    assert_same(actual[0], tensors(2))


@pytest.mark.parametrize("survives", range(6))
def test_a_crash_while_writing_leaves_the_previous_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    monkeypatch.setattr(state, "LARGEST_FILE", 20_000)
    write_state(tmp_path, tensors(1), {"step": 1})
    whole = state._write
    written = 0

    def failing(path: Path, content: bytes) -> None:
        nonlocal written
        if written == survives:
            path.with_suffix(".part").write_bytes(content[: len(content) // 2])
            raise OSError("disk full")
        written += 1
        whole(path, content)

    monkeypatch.setattr(state, "_write", failing)
    with pytest.raises(OSError, match="disk full"):
        write_state(tmp_path, tensors(2), {"step": 2})
    actual = read_state(tmp_path)
    assert actual is not None
    assert actual[1] == {"step": 1}
    assert_same(actual[0], tensors(1))
    monkeypatch.undo()
    write_state(tmp_path, tensors(3), {"step": 3})
    assert len(list(tmp_path.glob("state-*"))) == 1


def test_damage_is_noticed(tmp_path: Path) -> None:
    write_state(tmp_path, tensors(0), {"step": 1})
    (file,) = tmp_path.glob("state-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged"):
        read_state(tmp_path)
    file.unlink()
    with pytest.raises(TrainingError, match="not complete"):
        read_state(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match="cannot read the state"):
        read_state(tmp_path)
