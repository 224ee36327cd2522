"""Mild compression, as recordings carry it: an 8x8 block transform whose coefficients are rounded."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .rng import Rng

BLOCK = 8
"""Side of a transform block, pixels."""


@dataclass(frozen=True, kw_only=True)
class Quantiser:
    """How coarsely one clip's transform coefficients are rounded, on the 8-bit scale."""

    step: float
    """Rounding step of the lowest frequencies of luma. H.264's QP 18 has 5, QP 24 has 10."""
    tilt: float
    """How much larger the step of the highest frequency is, relatively; 0 for one step for all."""
    chroma: float
    """Steps of chroma relative to those of luma."""
    dead_zone: float
    """Fraction of a step added before rounding down: 0.5 rounds to the nearest, less zeroes more."""
    between: float
    """Steps of every second frame relative to the others': encoders spend less on frames few refer to."""

    @staticmethod
    def draw(generator: torch.Generator) -> "Quantiser":
        """From hardly visible to what a webcam or a modest download has."""
        rng = Rng(generator)
        return Quantiser(
            step=rng.log_uniform(1.5, 14.0),
            tilt=rng.uniform(0.0, 2.0),
            chroma=rng.uniform(0.8, 1.5),
            dead_zone=rng.uniform(0.25, 0.5),
            between=rng.choice((1.0, 1.0, 1.25, 1.5)),
        )


def cosines(size: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (size, size); rows are frequencies."""
    position = (torch.arange(size) + 0.5) * math.pi / size
    rows = torch.cos(torch.arange(size)[:, None] * position) * math.sqrt(2 / size)
    rows[0] *= math.sqrt(0.5)
    return rows


def quantised(plane: Tensor, steps: Tensor, dead_zone: float) -> Tensor:
    """Planes (T, C, H, W) of any size after their 8x8 blocks went through rounded coefficients.

    steps: (T, 1, 1, 1, 8, 8) or whatever broadcasts to blocks (T, C, H/8, W/8, 8, 8); on the plane's scale.
    """
    height, width = plane.shape[-2:]
    below, beside = -height % BLOCK, -width % BLOCK
    padded = functional.pad(plane, (0, beside, 0, below), mode="replicate")
    rows, columns = padded.shape[-2] // BLOCK, padded.shape[-1] // BLOCK
    blocks = padded.reshape(*plane.shape[:2], rows, BLOCK, columns, BLOCK).transpose(3, 4)
    dct = cosines(BLOCK).to(plane)
    levels = dct @ blocks @ dct.T / steps
    levels = levels.sign() * (levels.abs() + dead_zone).floor()
    blocks = dct.T @ (levels * steps) @ dct
    return blocks.transpose(3, 4).reshape(padded.shape)[..., :height, :width]


def halved_chroma(clip: Tensor) -> tuple[Tensor, Tensor]:
    """Luma (T, 1, H, W) and BT.601 colour differences halved by area (T, 2, H/2, W/2) of (T, 3, H, W): 4:2:0."""
    luma = 0.299 * clip[:, :1] + 0.587 * clip[:, 1:2] + 0.114 * clip[:, 2:]
    return luma, functional.avg_pool2d(clip[:, ::2] - luma, 2, ceil_mode=True)


def from_halved_chroma(luma: Tensor, chroma: Tensor) -> Tensor:
    """The clip (T, 3, H, W) of these, chroma interpolated."""
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    chroma = chroma[..., : luma.shape[-2], : luma.shape[-1]]
    red, blue = luma + chroma[:, :1], luma + chroma[:, 1:]
    return torch.cat((red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue), 1)


def compressed(clip: Tensor, quantiser: Quantiser) -> Tensor:
    """The clip (T, 3, H, W) in [0, 1] after 4:2:0 and quantisation; the same shape, not clamped.

    Frames are coded each by itself: what prediction between frames adds to it, errors that move along
    with the picture, is left out.
    """
    device = clip.device
    frequency = torch.arange(BLOCK, device=device)
    tilt = 1 + quantiser.tilt * (frequency[:, None] + frequency) / (2 * BLOCK - 2)
    frame = torch.arange(len(clip), device=device) % 2
    share = torch.where(frame == 1, quantiser.between, 1.0).view(-1, 1, 1, 1, 1, 1)
    steps = quantiser.step / 255 * share * tilt
    luma, chroma = halved_chroma(clip)
    luma = quantised(luma, steps, quantiser.dead_zone)
    return from_halved_chroma(luma, quantised(chroma, quantiser.chroma * steps, quantiser.dead_zone))
