"""The authors' networks are found in a checkout by what they are, and differences between the outputs are seen.

The checkout here is a stand-in: files of the authors' layout and names, with our arithmetic inside.
"""

from pathlib import Path

import pytest
import torch

from measuring.against import compare
from measuring.authors import AuthorsError, find_networks
from measuring.settings import Settings

CPU = torch.device("cpu")
NETWORK = """
import torch
from neighbour import OFFSET
from standin import published_state
from torch import nn
from vsgshift.network import ShiftNet
from vsgshift.network.variants import VARIANTS
from vsgshift.weights.published import convert


class GShiftNet(nn.Module):
    def __init__(self, n_features=48, future_frames=1, past_frames=1):
        super().__init__()
        assert (future_frames, past_frames) == (0, 0)
        self.device = torch.device("cuda")
        for name, tensor in published_state(VARIANTS["{variant}"]).items():
            *path, last = name.split(".")
            owner = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner._modules[part]
            owner.register_parameter(last, nn.Parameter(tensor))

    def forward(self, x, noise_map=None):
        variant, state = convert(self.state_dict())
        network = ShiftNet(variant)
        network.load_state_dict(state)
        return network(x[0], None if noise_map is None else noise_map[0]) + OFFSET
"""


def checkout(folder: Path, *variants: str, offset: float = 0.0) -> Path:
    archs = folder / "basicsr" / "models" / "archs"
    archs.mkdir(parents=True)
    (archs / "neighbour.py").write_text(f"OFFSET = {offset}\n")
    for n, variant in enumerate(variants):
        (archs / f"net{n}.py").write_text(NETWORK.format(variant=variant))
    (folder / "train.py").write_text("raise SystemExit('what has no network is not run')\n")
    return folder


@pytest.mark.slow
def test_same_weights_same_output(tmp_path: Path) -> None:
    networks = find_networks(
        checkout(tmp_path / "theirs", "deblur-small", "denoise-small", offset=0.25), CPU, torch.float32
    )
    assert {name: theirs.file.name for name, theirs in networks.items()} == {
        "deblur-small": "net0.py",
        "denoise-small": "net1.py",
    }
    settings = Settings(subjects=(), folder=tmp_path, sizes=((20, 16),), device_id=-1, frames=2, block=16, rounds=1)
    result = compare(networks["denoise-small"], settings)
    # The offset, and no more: all weights are the same.
    assert result["max_difference"] == pytest.approx(0.25, abs=1e-3)
    assert result["max_difference_stream"] == pytest.approx(0.25, abs=1e-3)
    assert result["largest_change"] > 0.25
    assert (result["frames"], result["their_chunk"]) == (2, 96)
    for way in ("clip", "steady"):
        expected = result["theirs_s_per_frame"] / result[f"ours_{way}_s_per_frame"]
        assert result[f"ratio_{way}"] == pytest.approx(expected, rel=0.05)


def test_what_cannot_be_compared_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AuthorsError, match="is not a folder; give a checkout"):
        find_networks(tmp_path / "nowhere", CPU, torch.float32)
    with pytest.raises(AuthorsError, match="no file there has a class named ShiftNet"):
        find_networks(tmp_path, CPU, torch.float32)
    (tmp_path / "net.py").write_text("import a_package_that_nobody_has\nclass GShiftNet(object):\n    pass\n")
    with pytest.raises(AuthorsError, match=r"none of the published networks; net.py: ModuleNotFoundError: No module"):
        find_networks(tmp_path, CPU, torch.float32)
