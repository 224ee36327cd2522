"""Surface textures: periodic tiles of zero mean and about unit spread, by which a colour is modulated.

Every tile is (C, N, N) with C of 1 or 3 and wraps round at its edges. Lengths are in texels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .rng import Rng


def spectral_noise(rng: Rng, texels: int, slope: float, *, channels: int = 1) -> Tensor:
    """Gaussian noise whose amplitude spectrum falls as frequency**-slope."""
    frequency = torch.fft.fftfreq(texels)[:, None].hypot(torch.fft.rfftfreq(texels)[None])
    frequency[0, 0] = 1.0
    gain = frequency.pow(-slope)
    # Below a few cycles a tile the noise would be one slow ramp, and nothing of it texture.
    gain = gain * (frequency / (frequency + 2.0 / texels))
    gain[0, 0] = 0.0
    return standardised(torch.fft.irfft2(torch.fft.rfft2(rng.randn(channels, texels, texels)) * gain))


def standardised(tile: Tensor) -> Tensor:
    """The tile at zero mean and unit standard deviation."""
    tile = tile - tile.mean()
    return tile / tile.std().clamp(min=1e-6)


def coordinates(texels: int) -> tuple[Tensor, Tensor]:
    """Row and column positions (N, 1) and (1, N) in [0, 1)."""
    line = torch.arange(texels) / texels
    return line[:, None], line[None, :]


def grating(rng: Rng, texels: int) -> Tensor:
    """A sinusoid of whole cycles in both directions, 3 to 60 texels a cycle, now and then squared up."""
    y, x = coordinates(texels)
    cycles = texels / rng.log_uniform(3.0, 60.0)
    angle = rng.uniform(0.0, math.pi)
    rows, columns = round(cycles * math.sin(angle)), round(cycles * math.cos(angle))
    wave = torch.sin(2 * math.pi * (rows * y + columns * x + rng.uniform()))
    return torch.tanh(rng.uniform(2.0, 6.0) * wave) if rng.chance(0.3) else wave


def gratings(rng: Rng, texels: int) -> Tensor:
    """A sum or product of two to four gratings: cloth, blinds, tiles, ripples."""
    tile = grating(rng, texels)
    weave = rng.chance(0.4)
    for _ in range(rng.integer(1, 3)):
        other = grating(rng, texels)
        tile = tile * other if weave else tile + rng.uniform(0.3, 1.0) * other
    return standardised(tile)[None]


def cloud(rng: Rng, texels: int) -> Tensor:
    """Colour noise of slope 0.5 to 2.5, its channels almost alike."""
    slope = rng.uniform(0.5, 2.5)
    if rng.chance(0.6):
        return spectral_noise(rng, texels, slope)
    grey = spectral_noise(rng, texels, slope)
    return grey + rng.uniform(0.05, 0.5) * spectral_noise(rng, texels, slope, channels=3)


def grain(rng: Rng, texels: int) -> Tensor:
    """Fine stuff: gravel, asphalt, cloth; nearly white noise, contrast varying from place to place."""
    fine = spectral_noise(rng, texels, rng.uniform(0.0, 0.9))
    position = spectral_noise(rng, texels, 1.6)
    return standardised(fine * (0.5 * position).exp() + rng.uniform(0.0, 0.8) * position)


def blotches(rng: Rng, texels: int) -> Tensor:
    """Noise pushed towards two levels: stains, camouflage, foliage against light, marble."""
    tile = spectral_noise(rng, texels, rng.uniform(1.0, 2.2))
    return standardised(torch.tanh(rng.log_uniform(1.0, 12.0) * (tile + rng.uniform(-1.0, 1.0))))


def streaks(rng: Rng, texels: int) -> Tensor:
    """Noise drawn out along one direction: hair, wood, brushed metal, grass."""
    tile = spectral_noise(rng, texels, rng.uniform(0.3, 1.2))
    along = torch.fft.fftfreq(texels)[:, None] * texels / rng.log_uniform(4.0, 40.0)
    tile = torch.fft.irfft2(torch.fft.rfft2(tile) * torch.exp(-0.5 * along.square()))
    tile = standardised(tile)
    if rng.chance(0.5):
        tile = tile.transpose(-1, -2)
    return tile.contiguous()


def specks(rng: Rng, texels: int) -> Tensor:
    """Sparse dots of a few texels, bright or dark: grit, leaves on a road, stars, lights."""
    dots = (rng.rand(1, 1, texels, texels) < rng.log_uniform(2e-4, 6e-3)).float()
    dots = dots * rng.rand(1, 1, texels, texels)
    size = rng.choice((2, 2, 3, 4))
    padded = functional.pad(dots, (size, 0, size, 0), mode="circular")
    tile = functional.max_pool2d(padded, size, stride=1)[0, :, 1:, 1:]
    peak = 6.0 if rng.chance(0.75) else -5.0
    return peak * tile + 0.4 * spectral_noise(rng, texels, rng.uniform(0.6, 1.6))


def bricks(rng: Rng, texels: int) -> Tensor:
    """Courses of blocks with joints, each block its own shade: walls, paving, windows, shelves."""
    rows = rng.integer(4, 24)
    columns = rng.integer(3, 20)
    y, x = coordinates(texels)
    course = (y * rows).floor()
    shifted = (x * columns + (course % 2) * rng.choice((0.0, 0.5))) % columns
    block = shifted.floor().long()
    shade = rng.randn(rows, columns)[course.long().expand(-1, texels), block]
    joint = rng.uniform(0.03, 0.12)
    gap = ((y * rows - course < joint * rows / columns) | (shifted - shifted.floor() < joint)).float()
    tile = rng.uniform(0.1, 1.0) * shade * (1 - gap) + rng.uniform(-4.0, 3.0) * gap
    return (standardised(tile) + rng.uniform(0.1, 0.5) * spectral_noise(rng, texels, 0.8)[0])[None]


def glyphs(rng: Rng, texels: int) -> Tensor:
    """Rows of made-up letters, a few strokes on a small grid each: print, signs, screens."""
    cell = rng.choice((2, 3, 4, 6))
    across, down = texels // cell, texels // cell
    # A letter is 4 cells wide with its space, 7 high with its leading.
    ink = (rng.rand(down // 7 + 1, across // 4 + 1, 5, 3) < rng.uniform(0.45, 0.6)).float()
    word = (rng.rand(down // 7 + 1, across // 4 + 1, 1, 1) < 0.83).float()
    letters = functional.pad(ink * word, (0, 1, 1, 1))
    page = letters.permute(0, 2, 1, 3).reshape(7 * (down // 7 + 1), 4 * (across // 4 + 1))[:down, :across]
    page = functional.interpolate(page[None, None], size=(texels, texels), mode="nearest")[0]
    sign = 1.0 if rng.chance(0.3) else -1.0
    return sign * 3.0 * page + 0.15 * spectral_noise(rng, texels, 0.8)


def flat(rng: Rng, texels: int) -> Tensor:
    """Next to nothing: painted metal, plastic, clear sky."""
    return 0.25 * spectral_noise(rng, texels, rng.uniform(0.8, 2.0))


def mixture(rng: Rng, texels: int) -> Tensor:
    """Two other kinds, added up or side by side in patches: worn paint, weeds in gravel, cloth on cloth."""
    one, other = (rng.choice((cloud, grain, gratings, streaks, blotches))(rng, texels) for _ in range(2))
    if rng.chance(0.5):
        return standardised(one + rng.uniform(0.4, 1.0) * other)
    patches = spectral_noise(rng, texels, rng.uniform(1.2, 2.2))
    share = torch.sigmoid(rng.log_uniform(2.0, 20.0) * (patches - rng.normal(0.5)))
    return standardised(torch.lerp(one, other, share))


KINDS: tuple[tuple[Callable[[Rng, int], Tensor], float], ...] = (
    (cloud, 4.0),
    (grain, 3.0),
    (flat, 2.0),
    (blotches, 1.5),
    (streaks, 1.5),
    (gratings, 0.9),
    (mixture, 1.2),
    (specks, 1.2),
    (bricks, 1.0),
    (glyphs, 0.8),
)
"""Texture makers and how often each is used."""


def texture(rng: Rng, texels: int) -> Tensor:
    """A tile (3, N, N) of any kind, turned and mirrored at random."""
    make = rng.choice([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
    tile = make(rng, texels)
    if rng.chance(0.5):
        tile = tile.transpose(-1, -2)
    if rng.chance(0.5):
        tile = tile.flip(-1)
    return tile.expand(3, texels, texels).contiguous()
