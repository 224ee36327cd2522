"""How a camera renders the light of a scene."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .palettes import illuminant
from .rng import Rng


@dataclass(frozen=True, kw_only=True)
class Grading:
    """How a camera renders a clip's light: applied to every frame alike, but for the flicker."""

    gains: Tensor
    """(3,) on RGB: exposure and the light's colour."""
    contrast: float
    lift: float
    saturation: float
    falloff: tuple[float, float, float]
    """Light lost by the corner, and gained down and across the view."""
    flicker: tuple[float, float, float]
    """Amplitude, radians a frame and phase of a change of brightness."""
    glare: float
    """How far highlights exceed what can be shown: by so much for each unit above 0.95."""

    @staticmethod
    def draw(rng: Rng) -> "Grading":
        """A look between a sunny street and a dim room."""
        exposure = rng.log_uniform(0.3, 0.9) if rng.chance(0.2) else rng.uniform(0.85, 1.2)
        falloff = flicker = (0.0, 0.0, 0.0)
        if rng.chance(0.6):
            falloff = (rng.uniform(0.0, 0.25), rng.normal(0.1), rng.normal(0.1))
        if rng.chance(0.08):
            flicker = (rng.log_uniform(0.004, 0.06), rng.uniform(0.3, 3.1), rng.uniform(0.0, 6.3))
        return Grading(
            gains=exposure * illuminant(rng),
            contrast=rng.uniform(0.65, 1.2),
            lift=rng.uniform(0.0, 0.06),
            saturation=rng.choice((0.0, 1.0), (0.05, 0.95)) * rng.uniform(0.4, 1.3),
            falloff=falloff,
            flicker=flicker,
            glare=rng.log_uniform(1.0, 20.0) if rng.chance(0.35) else 0.0,
        )

    def apply(self, instants: Tensor, times: Tensor, headroom: float) -> Tensor:
        """(I, 3, H, W) at times (I,) as the camera gives it, clamped to [0, headroom]."""
        height, width = instants.shape[-2:]
        y = torch.linspace(-1, 1, height, device=instants.device)[:, None]
        x = torch.linspace(-1, 1, width, device=instants.device)
        vignette, down, across = self.falloff
        light = 1 - 0.5 * vignette * (y * y + x * x) + down * y + across * x
        amplitude, rate, phase = self.flicker
        # The gain is scaled about mid grey, chroma about luma; both are one affine map of the pixel.
        luma = torch.tensor((0.299, 0.587, 0.114))
        mix = self.saturation * torch.eye(3) + (1 - self.saturation) * luma
        mix = (self.contrast * mix * self.gains).to(instants)
        offset = 0.4 * (1 - self.contrast) * float(self.gains.mean()) + self.lift
        out = torch.einsum("ij,njhw->nihw", mix, instants) + offset
        out = out * light
        if amplitude:
            out = out * (1 + amplitude * torch.sin(rate * times + phase))[:, None, None, None]
        # A camera's shoulder: bright surfaces keep some of their texture instead of turning white.
        excess = (out - 0.8).clamp(min=0.0)
        out = out - excess + 0.2 * torch.tanh(excess / 0.2)
        if self.glare and headroom > 1:
            out = out + self.glare * (excess - 0.15).clamp(min=0.0)
        return out.clamp(0.0, headroom)
