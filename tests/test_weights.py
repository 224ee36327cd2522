"""Checkpoints are used whole or refused with a reason."""

import hashlib
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from standin import file_size_limit, lively, published_state
from torch import Tensor

from vsgshift import load_network
from vsgshift.errors import CheckpointError, MissingWeightsError, UnknownModelError
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.variants import PUBLISHED
from vsgshift.weights import import_checkpoint, remove
from vsgshift.weights.published import convert
from vsgshift.weights.store import write
from vsgshift.weights.untrusted import metadata

SMALL = VARIANTS["deblur-small"]
pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published_state(SMALL)


@pytest.mark.parametrize("variant", PUBLISHED, ids=lambda variant: variant.name)
def test_variant_is_recognised(variant: object) -> None:
    assert convert(published_state(variant))[0] is variant  # type: ignore[arg-type]


def test_missing_extra_misshapen_and_untied_entries(state: dict[str, Tensor]) -> None:
    without = {key: tensor for key, tensor in state.items() if key != "rconcat.weight"}
    with pytest.raises(CheckpointError, match=r"deblur-small.*missing.*rconcat\.weight"):
        convert(without)
    with pytest.raises(CheckpointError, match=r"missing.*orb4"):
        convert({key: tensor for key, tensor in state.items() if not key.startswith("orb4.")})
    with pytest.raises(CheckpointError, match=r"deblur-small.*unknown.*surprise"):
        convert({**state, "surprise": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"wrong shape.*conv_last\.weight"):
        convert({**state, "conv_last.weight": torch.zeros(3, 14, 3, 3)})
    with pytest.raises(CheckpointError, match=r"differ.*stage1\.concat\.body\.1\.weight"):
        convert({**state, "stage1.concat.body.1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"not finite.*conv_trans\.bias"):
        convert({**state, "conv_trans.bias": torch.full((14,), torch.nan)})
    with pytest.raises(CheckpointError, match="unknown"):
        convert({"weight": torch.zeros(1)})


@pytest.mark.slow
def test_published_file_loads_and_installs(state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file = tmp_path / "net_gopro_deblur_small.pth"
    torch.save({"params": state}, file)
    with pytest.raises(MissingWeightsError, match=r"run: python -m vsgshift download gopro-small$"):
        load_network("gopro-small")
    direct = load_network(file)
    assert import_checkpoint(file) == models / "gopro-small.safetensors"
    installed = load_network("gopro-small")
    assert installed.name == "gopro-small"
    assert all(torch.equal(installed.get_parameter(name), value) for name, value in direct.named_parameters())
    with pytest.raises(CheckpointError, match="is a deblur-small checkpoint, but gopro"):
        import_checkpoint(file, "gopro")
    import_checkpoint(file, "mine")
    assert load_network("mine").variant is SMALL


def test_entries_may_share_memory(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "shared.pth"
    values = torch.rand(20)
    shared = {"feat_extract.0.bias": values[:14], "conv_trans.bias": values[6:]}
    torch.save({"params": {**state, **shared}}, file)
    import_checkpoint(file)
    installed = load_network("shared").state_dict()
    assert torch.equal(installed["embed.bias"], values[:14])
    assert torch.equal(installed["transition.bias"], values[6:])


def test_our_format(tmp_path: Path) -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"]))
    file = tmp_path / "mine.safetensors"
    write(file, network, name="mine", training_data="none", licence="MIT")
    clip, noise = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    assert torch.equal(load_network(file)(clip, noise), network(clip, noise))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
    data = file.read_bytes()
    for size, why in ((5000, "is damaged"), (len(data) - 5000, "cannot read")):
        file.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=why):
            load_network(file)


def test_our_format_is_checked_too(tmp_path: Path) -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"]))
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    known = {"variant": "denoise-tiny"}
    file = tmp_path / "mine.safetensors"
    first, second, *rest = sorted(state)

    def refused(why: str, state: dict[str, Tensor], metadata: dict[str, str] | None = known) -> None:
        safetensors.torch.save_file(state, file, metadata)
        with pytest.raises(CheckpointError, match=why):
            load_network(file)

    refused("does not say which", state, None)
    refused("does not say which", state, {"variant": "huge"})
    refused(f"does not fit denoise-tiny: {first}, {second}$", {key: state[key] for key in rest})
    refused("does not fit denoise-tiny: surprise$", {**state, "surprise": torch.zeros(1)})
    refused(f"does not fit denoise-tiny: {first}$", {**state, first: torch.zeros(1)})
    refused(f"does not fit denoise-tiny: {first}$", {**state, first: state[first].to(torch.int64)})
    refused(f"does not fit denoise-tiny: {first}$", {**state, first: state[first].to(torch.complex64)})
    refused(f"not finite numbers: {first}$", {**state, first: torch.full_like(state[first], torch.inf)})
    refused(r"does not fit denoise-tiny: \?\[31m$", {**state, "\x1b[31m": torch.zeros(1)})
    file.write_bytes(struct.pack("<Q", 2**40) + bytes(100))
    with pytest.raises(CheckpointError, match="its header is longer than any"):
        load_network(file)


@pytest.mark.parametrize("name", ["../gopro", "a/b", "/tmp/a", "..", "", ".hidden", "tiny", "tiny-deblur", "a b",
                                  "net.pth", "a.safetensors", "n" * 65, "a\n", "a\0b"])  # fmt: skip
def test_names_stay_in_the_folder(name: str, state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file = tmp_path / "net (1).pth"
    torch.save({"params": state}, file)
    with pytest.raises(CheckpointError, match="--name"):
        import_checkpoint(file, name)
    with pytest.raises(UnknownModelError, match=r"unknown model|cannot be removed"):
        remove(name)
    assert not models.exists()


@pytest.mark.slow
def test_originals_are_remembered(state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file, other = tmp_path / "net_gopro_deblur_small.pth", tmp_path / "other.pth"
    torch.save({"params": state}, file)
    torch.save({"params": {**state, "conv_trans.bias": torch.ones(14)}}, other)
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, other)]
    installed = import_checkpoint(file)
    known = metadata(installed)
    assert known["original_file"] == file.name
    assert known["original_sha256"] == sums[0]
    assert int(known["original_size"]) == file.stat().st_size
    assert remove("gopro-small") == installed
    assert [path.name for path in models.iterdir()] == ["gopro-small.original.json"]

    with pytest.raises(CheckpointError, match=f"{sums[1]}.*{sums[0]}.*--accept-changed"):
        import_checkpoint(other, "gopro-small")
    assert not installed.exists()
    import_checkpoint(file)
    assert metadata(installed) == known
    import_checkpoint(other, "gopro-small", accept_changed=True)
    assert metadata(installed)["original_sha256"] == sums[1]
    with pytest.raises(CheckpointError, match=sums[1]):
        import_checkpoint(file)
    (models / "gopro-small.original.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"gopro-small\.original\.json is damaged; restore it, or delete it"):
        import_checkpoint(other, "gopro-small")
    import_checkpoint(other, "another")
    import_checkpoint(file, "another")
    assert metadata(models / "another.safetensors")["original_sha256"] == sums[0]


def test_a_full_disk_leaves_what_was_there(state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file = tmp_path / "net_gopro_deblur_small.pth"
    torch.save({"params": state}, file)
    models.mkdir()
    installed = models / "gopro-small.safetensors"
    installed.write_bytes(b"old")
    with file_size_limit(2**20), pytest.raises(OSError, match="File too large"):
        import_checkpoint(file)
    assert [path.name for path in models.iterdir()] == [installed.name]
    assert installed.read_bytes() == b"old"


def test_a_models_folder_that_cannot_be(state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file = tmp_path / "net_gopro_deblur_small.pth"
    torch.save({"params": state}, file)
    models.write_bytes(b"not a folder")
    with pytest.raises(OSError, match=str(models)):
        import_checkpoint(file)


def test_unknown_names() -> None:
    with pytest.raises(UnknownModelError, match=r"unknown model 'gopr'; there are: .*gopro-small"):
        load_network("gopr")
    with pytest.raises(UnknownModelError, match="no such file"):
        load_network("missing.pth")


@pytest.mark.parametrize("name", ["tiny-deblur", "tiny-denoise", "fine-denoise"])
def test_bundled_weights(name: str) -> None:
    network = load_network(name)
    assert network.name == name
    size, task = name.split("-")
    assert network.variant is VARIANTS[f"{task}-{size}"]
