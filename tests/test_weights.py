"""Checkpoints are used whole or refused with a reason."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from standin import lively, published_state
from torch import Tensor

from vsgshift import load_network
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.variants import PUBLISHED
from vsgshift.weights import CheckpointError, MissingWeightsError, import_checkpoint
from vsgshift.weights.published import convert
from vsgshift.weights.store import write

SMALL = VARIANTS["deblur-small"]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published_state(SMALL)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv("VSGSHIFT_MODELS", str(folder))
    return folder


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


def test_published_file_loads_and_installs(state: dict[str, Tensor], tmp_path: Path, models: Path) -> None:
    file = tmp_path / "net_gopro_deblur_small.pth"
    torch.save({"params": state}, file)
    with pytest.raises(MissingWeightsError, match="import"):
        load_network("gopro-small")
    direct = load_network(file)
    assert import_checkpoint(file) == models / "gopro-small.safetensors"
    installed = load_network("gopro-small")
    assert installed.name == "gopro-small"
    clip = torch.rand(2, 3, 8, 8)
    assert torch.equal(direct(clip), installed(clip))
    with pytest.raises(CheckpointError, match="is a deblur-small checkpoint, but gopro"):
        import_checkpoint(file, "gopro")
    import_checkpoint(file, "mine")
    assert load_network("mine").variant is SMALL


class Harmful:
    """Pickles as a call that would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


def test_harmful_and_damaged_files_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    file, trace = tmp_path / "harmful.pth", tmp_path / "trace"
    torch.save({"params": Harmful(trace)}, file)
    with pytest.raises(CheckpointError, match="nothing of it was run"):
        load_network(file)
    file.write_bytes(pickle.dumps(Harmful(trace)))
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        load_network(file)
    assert not trace.exists()

    torch.save({"params": state}, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="cut off"):
        load_network(file)
    torch.save([1, 2], file)
    with pytest.raises(CheckpointError, match="params"):
        load_network(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb, bomb.open("data.pkl", "w") as entry:
        for _ in range(600):
            entry.write(bytes(2**20))
    with pytest.raises(CheckpointError, match="unpack to more"):
        load_network(file)


def test_our_format(tmp_path: Path) -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"]))
    file = tmp_path / "mine.safetensors"
    write(file, network, name="mine", training_data="none", licence="MIT")
    clip, noise = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    assert torch.equal(load_network(file)(clip, noise), network(clip, noise))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot read"):
        load_network(file)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'gopr'; there are: .*gopro-small"):
        load_network("gopr")
    with pytest.raises(ValueError, match="no such file"):
        load_network("missing.pth")


@pytest.mark.parametrize("name", ["tiny-deblur", "tiny-denoise"])
def test_bundled_weights(name: str) -> None:
    network = load_network(name)
    assert network.name == name
    assert network.variant is VARIANTS[name.replace("tiny-", "") + "-tiny"]
