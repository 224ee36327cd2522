"""The bundled denoisers on what is drawn rather than filmed: it comes out as it went in, and without a lattice."""

import pytest
import torch
from torch import Tensor

from training.clips.graphics import graphics
from training.clips.rng import Rng, seeded
from vsgshift.engine import prepared
from vsgshift.network import ShiftNet
from vsgshift.streaming import restore
from vsgshift.weights import load_network

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "brick": (230, 30, 30),
    "navy": (20, 20, 90),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


@pytest.fixture(scope="module", params=["tiny-denoise", pytest.param("fine-denoise", marks=pytest.mark.slow)])
def network(request: pytest.FixtureRequest) -> ShiftNet:
    return prepared(load_network(request.param))


def restored(network: ShiftNet, clip: Tensor, sigma: float) -> Tensor:
    return restore(network, clip, torch.full_like(clip[:, :1], sigma / 255))


def levels_off(actual: Tensor, clip: Tensor) -> Tensor:
    """By how much 8-bit frames differ, in levels."""
    return (255 * actual.clamp(0, 1)).round().sub((255 * clip).round()).abs()


@pytest.mark.parametrize("sigma", [0.1, 3.0, 10.0])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_flat_colour_stays(network: ShiftNet, colour: str, sigma: float) -> None:
    clip = (torch.tensor(COLOURS[colour]) / 255).view(1, 3, 1, 1).expand(6, 3, 48, 64).contiguous()
    assert levels_off(restored(network, clip, sigma), clip).max() <= 1


@pytest.mark.parametrize(("sigma", "pictures"), [(0.1, 12), (3.0, 12), (10.0, 7)])
def test_bars_cartoons_and_screens_stay(network: ShiftNet, sigma: float, pictures: int) -> None:
    """In so many of 12 but 0.5 % of the values: thin lines and faint letters may be taken for noise of such a level."""
    off = []
    for number in range(12):
        clip = graphics(Rng(seeded("judged", number)), frames=8, size=(72, 96)).contiguous()
        off.append(float((levels_off(restored(network, clip, sigma), clip) > 1).float().mean()))
    assert sum(share <= 5e-3 for share in off) >= pictures


@pytest.mark.parametrize("colour", COLOURS)
def test_no_lattice_on_flat_colours_with_noise(network: ShiftNet, colour: str) -> None:
    """Waves of 2 and 4 pixels, which the network's own grid would make, are lost in rounding to 8 bits."""
    clip = (torch.tensor(COLOURS[colour]) / 255).view(1, 3, 1, 1).expand(24, 3, 64, 64).contiguous()
    generator = torch.Generator().manual_seed(2)
    noisy = clip + 10 / 255 * torch.randn(clip.shape, generator=generator)
    error = 255 * (restored(network, noisy, 10) - clip)
    waves = torch.fft.fft2(error.mean(0) - error.mean((0, 2, 3))[:, None, None]).abs() / (32 * 64)
    of_the_grid = waves[:, ::16, ::16].flatten(1)[:, 1:]
    assert of_the_grid.max() < 0.5
