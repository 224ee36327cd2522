"""Colours as the world has them: families of surfaces in a luma and colour-difference space."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .rng import Rng


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of surface, as a Gaussian in gamma-encoded luma and BT.601-scaled colour differences."""

    luma: tuple[float, float]
    """Mean and spread of luma, 0 black to 1 white."""
    blue: tuple[float, float]
    """Mean and spread of B - Y, for a surface of luma one half."""
    red: tuple[float, float]
    """Mean and spread of R - Y, for a surface of luma one half."""
    weight: float
    """How often the family is drawn, relative to the others."""


# Hand-set from what the surfaces look like in ordinary video; no image was measured for them.
FAMILIES = (
    Family(luma=(0.42, 0.14), blue=(0.01, 0.02), red=(0.00, 0.02), weight=3.0),  # asphalt, concrete
    Family(luma=(0.75, 0.12), blue=(0.00, 0.03), red=(0.00, 0.02), weight=2.0),  # walls, paint, paper
    Family(luma=(0.13, 0.08), blue=(0.02, 0.03), red=(0.01, 0.03), weight=1.5),  # shade, rubber, hair
    Family(luma=(0.45, 0.16), blue=(-0.12, 0.05), red=(0.08, 0.05), weight=2.0),  # earth, wood, brick
    Family(luma=(0.38, 0.15), blue=(-0.15, 0.06), red=(-0.04, 0.04), weight=2.0),  # leaves, grass
    Family(luma=(0.68, 0.14), blue=(0.14, 0.07), red=(-0.10, 0.05), weight=1.5),  # sky, water
    Family(luma=(0.58, 0.15), blue=(-0.12, 0.03), red=(0.12, 0.03), weight=1.5),  # skin
    Family(luma=(0.45, 0.18), blue=(0.00, 0.19), red=(0.00, 0.19), weight=1.2),  # cloth, cars, signs
)


def from_luma_chroma(luma: Tensor, blue: Tensor, red: Tensor) -> Tensor:
    """RGB (..., 3) of luma Y and the differences B - Y and R - Y (BT.601 luma weights)."""
    green = -(0.114 * blue + 0.299 * red) / 0.587
    return torch.stack((luma + red, luma + green, luma + blue), -1)


def colours(rng: Rng, count: int) -> Tensor:
    """Gamma-encoded colours (count, 3) in [0, 1] of one scene: a few families, shaded copies of each.

    Within a family luma varies more than chroma does, as shading and wear have it, and chroma goes
    with luma, since a dark copy of a surface keeps its ratios of red to green to blue.
    """
    weights = [family.weight for family in FAMILIES]
    members = [rng.choice(FAMILIES, weights) for _ in range(rng.integer(2, 4))]
    centres = torch.tensor([[mean + rng.normal(spread) for mean, spread in (f.luma, f.blue, f.red)] for f in members])
    # The first families of a scene own most of it.
    share = torch.tensor([0.55**i for i in range(len(members))])
    owner = torch.multinomial(share, count, replacement=True, generator=rng.generator)
    centre = centres[owner]
    shading = rng.log_uniform(0.03, 0.22)
    luma = (centre[:, 0] + shading * rng.randn(count)).clamp(0.02, 1.0)
    chroma = centre[:, 1:] + 0.02 * rng.randn(count, 2)
    # Little chroma fits near white or black.
    room = (luma / 0.5).clamp(max=1.3) * (1.15 - luma.pow(4))
    return from_luma_chroma(luma, chroma[:, 0] * room, chroma[:, 1] * room).clamp(0.0, 1.0)


def illuminant(rng: Rng) -> Tensor:
    """Gains (3,) on gamma-encoded RGB of a light between warm and cool, its balance mostly corrected."""
    warmth, tint = rng.normal(0.04), rng.normal(0.015)
    return torch.tensor((1.0 + warmth, 1.0 + tint, 1.0 - warmth))
