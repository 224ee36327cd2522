"""What a camera does to a scene: exposure over time, noise, processing and storage."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .compression import Quantiser, compressed, from_halved_chroma, halved_chroma
from .rng import Rng


@dataclass(frozen=True, kw_only=True)
class Shutter:
    """One clip's exposure."""

    exposure: float
    """Fraction of the frame period for which light is gathered, in (0, 1]."""
    gamma: float
    """Exponent from pixel values to the quantity averaged: 2.2 for light, 1 for the values."""

    @staticmethod
    def draw(generator: torch.Generator) -> "Shutter":
        """Any exposure from a fifth of the period to all of it, mostly in linear light."""
        rng = Rng(generator)
        return Shutter(exposure=rng.uniform(0.2, 1.0), gamma=2.2 if rng.chance(0.8) else 1.0)


def blur(instants: Tensor, *, exposure: float, gamma: float = 2.2) -> tuple[Tensor, Tensor]:
    """Motion blur: the mean of the instants while the shutter is open, and the instant in its middle.

    instants: (T, S, 3, H, W), S a frame, values of 0 and up; those above 1 saturate after averaging,
    so that moving highlights leave streaks. exposure in (0, 1]: the odd number of instants next to
    exposure * S is averaged, never fewer than one. The mean is of values**gamma, then taken back.

    Returns (blurred, sharp), each (T, 3, H, W) in [0, 1].
    """
    if not 0 < exposure <= 1:
        raise ValueError(f"exposure must be in (0, 1], not {exposure}")
    subframes = instants.shape[1]
    half = min(round((exposure * subframes - 1) / 2), (subframes - 1) // 2)
    middle = (subframes - 1) // 2
    window = instants[:, middle - half : middle + half + 1]
    sharp = instants[:, middle].clamp(0.0, 1.0)
    if half == 0:
        return sharp.clone(), sharp
    mean = window.mean(1) if gamma == 1 else window.clamp(min=0).pow(gamma).mean(1).pow(1 / gamma)
    return mean.clamp(0.0, 1.0), sharp


def add_noise(clip: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """The clip with Gaussian noise, not clipped.

    clip: (..., T, 3, H, W); sigma: deviation on the clip's scale, a number, or one a clip as a tensor
    whose axes are the clip's leading ones. The generator is on the CPU or on the clip's device.
    """
    noise = torch.randn(clip.shape, generator=generator, device=generator.device, dtype=clip.dtype)
    if isinstance(sigma, Tensor):
        sigma = sigma.to(clip).reshape(sigma.shape + (1,) * (clip.dim() - sigma.dim()))
    return clip + sigma * noise.to(clip.device)


def sharpened(clip: Tensor, amount: float) -> Tensor:
    """The clip (T, 3, H, W) plus amount times what a 3x3 binomial blur takes from it: halos included."""
    line = torch.tensor((0.25, 0.5, 0.25), device=clip.device, dtype=clip.dtype)
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    soft = functional.conv2d(functional.pad(clip, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return clip + amount * (clip - soft)


def chroma_subsampled(clip: Tensor) -> Tensor:
    """The clip (T, 3, H, W) after 4:2:0: BT.601 colour differences halved by area and interpolated."""
    return from_halved_chroma(*halved_chroma(clip))


def camera(clip: Tensor, generator: torch.Generator) -> Tensor:
    """Now and then, mildly, what a consumer camera does after the exposure; half of clips pass untouched.

    clip: (T, 3, H, W) in [0, 1]; same out. Each independently: sensor noise up to sigma 0.012 that
    grows with the signal, sharpening up to 0.8, and what `recorded` does. For the input of a
    deblurring network only: the target stays as it is. The generator lives on the CPU.
    """
    rng = Rng(generator)
    if rng.chance(0.5):
        return clip
    if rng.chance(0.5):
        sigma = rng.log_uniform(0.002, 0.012)
        noise = torch.randn(clip.shape, generator=generator).to(clip)
        clip = clip + sigma * (0.4 + 0.6 * clip).sqrt() * noise
    if rng.chance(0.4):
        clip = sharpened(clip, rng.uniform(0.1, 0.8))
    return recorded(clip.clamp(0.0, 1.0), generator)


def recorded(clip: Tensor, generator: torch.Generator) -> Tensor:
    """Now and then, mildly, what storing a clip does to it: 4:2:0 chroma or compression, 8-bit rounding.

    clip: (T, 3, H, W); the same out, in [0, 1]. The generator lives on the CPU.
    """
    rng = Rng(generator)
    if rng.chance(0.4):
        clip = compressed(clip, Quantiser.draw(generator))
    elif rng.chance(0.4):
        clip = chroma_subsampled(clip)
    clip = clip.clamp(0.0, 1.0)
    return (clip * 255).round() / 255 if rng.chance(0.6) else clip
