"""The networks give the published numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from standin import lively, published_state, relative_error
from torch import Tensor

from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.shift import OFFSETS, group_sizes, spatial_shift
from vsgshift.network.variants import PUBLISHED
from vsgshift.weights.published import convert

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-5
LAYERS = {
    "f0": "embed_block",
    "s": "unets_before",
    "t": "transition",
    "g": "core",
    "u": "merge_activation",
    "v": "unets_after",
}
"""The specification's names of intermediate tensors, and the modules that put them out."""
PUBLISHED_NAMES = [variant.name for variant in PUBLISHED]


def standin(name: str) -> ShiftNet:
    network = ShiftNet(VARIANTS[name])
    network.load_state_dict(convert(published_state(network.variant))[1])
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def run(network: ShiftNet, clip: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
    """The output and the named intermediate tensors of frames 2 and 3."""
    actual: dict[str, Tensor] = {}
    for name, module in LAYERS.items():
        network.get_submodule(module).register_forward_hook(
            lambda _module, _args, out, name=name: actual.__setitem__(name, out[2:4])
        )
    network.merge_activation.register_forward_pre_hook(
        lambda _module, args: actual.__setitem__("u_before_activation", args[0][2:4])
    )
    actual["out"] = network(clip, noise)
    return actual


def noise_for(network: ShiftNet, clip: Tensor) -> Tensor | None:
    return torch.full((len(clip), 1, *clip.shape[2:]), 30 / 255) if network.variant.task == "denoise" else None


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_golden_numbers(name: str) -> None:
    clip = torch.from_numpy(np.load(GOLDEN / "clip.npz")["clip"])
    golden = np.load(GOLDEN / f"{name}.npz")
    network = standin(name)
    actual = run(network, clip, noise_for(network, clip))
    for key in golden:
        sampled = actual[key][..., ::4, ::4] if key == "out" else actual[key][..., ::16, ::16]
        assert relative_error(sampled, torch.from_numpy(golden[key])) <= TOLERANCE, key


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_all_shared_vectors(name: str) -> None:
    file = SHARED / "vectors" / f"{name}.npz"
    if not file.exists():
        pytest.skip("the full vectors are not beside this checkout")
    vectors = {key: torch.from_numpy(array) for key, array in np.load(file).items()}
    network = standin(name)
    actual = run(network, vectors["clip"], vectors.get("noise"))
    keys = actual.keys() & vectors.keys()
    assert keys >= {"out", "f0", "s", "t", "g", "v"}
    for key in keys:
        assert relative_error(actual[key], vectors[key]) <= TOLERANCE, key
    long = network(vectors["long_clip"], vectors.get("long_noise"))
    assert relative_error(long, vectors["long_out"]) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "radius", "millions", "dead"),
    [
        ("deblur-plus", 28, 12.99, 1),
        ("deblur-small", 24, 4.71, 1),
        ("denoise-plus", 30, 13.38, 0),
        ("denoise-small", 24, 4.22, 0),
    ],
)
def test_published_sizes(name: str, radius: int, millions: float, dead: int) -> None:
    variant = VARIANTS[name]
    network = ShiftNet(variant)
    used = sum(parameter.numel() for parameter in network.parameters())
    unet = sum(p.numel() for p in network.unets_before[0].parameters())
    assert variant.radius == radius
    assert round((used + dead + 2 * (5 - variant.unets) * unet) / 1e6, 2) == millions


def test_spatial_shift_moves_each_group_its_own_way() -> None:
    channels = 40
    x = torch.rand(2, channels, 21, 18)
    shifted = spatial_shift(x)
    channel = 0
    for size, (dy, dx) in zip(group_sizes(channels), OFFSETS, strict=True):
        for _ in range(size):
            for y in range(21):
                for col in range(18):
                    within = 0 <= y - dy < 21 and 0 <= col - dx < 18
                    expected = x[:, channel, y - dy, col - dx] if within else torch.zeros(2)
                    assert torch.equal(shifted[:, channel, y, col], expected)
            channel += 1
    assert channel == channels


@pytest.mark.parametrize("name", ["deblur-tiny", "denoise-tiny"])
def test_a_frame_depends_on_radius_frames_and_no_more(name: str) -> None:
    network = lively(ShiftNet(VARIANTS[name]))
    frames = 2 * network.radius + 3
    clip = torch.rand(frames, 3, 8, 8)
    noise = torch.rand(frames, 1, 8, 8) if network.variant.task == "denoise" else None
    before = network(clip, noise)
    clip[0] += 0.5
    changed = (network(clip, noise) - before).flatten(1).abs().amax(1) > 0
    assert changed[: network.radius + 1].all()
    assert not changed[network.radius + 1 :].any()


@pytest.mark.parametrize(
    ("clip", "noise", "message"),
    [
        (torch.rand(2, 3, 12, 8), None, "multiples of 8"),
        (torch.rand(3, 8, 8), None, r"\(T, 3, H, W\)"),
        (torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8), "takes no noise map"),
    ],
)
def test_wrong_shapes_are_refused(clip: Tensor, noise: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShiftNet(VARIANTS["deblur-tiny"])(clip, noise)


def test_missing_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise must be"):
        ShiftNet(VARIANTS["denoise-tiny"])(torch.rand(2, 3, 8, 8))
