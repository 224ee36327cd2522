"""From pairs of clips to what the network is given: cut, turned, spoilt, and joined."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .clips import degradations, noise
from .clips.rng import Rng, seed_of, seeded
from .generated import Pair
from .recipe import Recipe

HARDEST_OF = 4
"""Cuts of which the most blurred is taken, where the recipe asks for hard ones."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What goes through the network at once: clips of equal length, one after the other."""

    degraded: Tensor
    """(clips * (frames + 2 * context), 3, H, W)."""
    noise: Tensor | None
    """(clips * (frames + 2 * context), 1, H, W), standard deviations; for denoising only."""
    clean: Tensor
    """(clips * frames, 3, H, W) in [0, 1]."""
    cuts: tuple[int, ...]
    """First frames of the clips; none where the network's own boundary rule applies."""


def augmented(pair: Pair, rng: Rng, *, crop: int, reversal: bool) -> Pair:
    """The same random square cut, flips and quarter turn of both clips, and perhaps both backwards."""
    height, width = pair[0].shape[-2:]
    top, left = rng.integer(0, height - crop), rng.integer(0, width - crop)
    flips = [axis for axis in ((0, 2, 3) if reversal else (2, 3)) if rng.chance(0.5)]
    transposed = rng.chance(0.5)

    def apply(clip: Tensor) -> Tensor:
        clip = clip[..., top : top + crop, left : left + crop].flip(flips)
        return clip.transpose(2, 3).contiguous() if transposed else clip

    return apply(pair[0]), apply(pair[1])


def blurred(pair: Pair) -> float:
    """How far a degraded clip is from its clean one, by every second frame."""
    return float(F.mse_loss(pair[0][::2], pair[1][::2]))


def spoilt(pair: Pair, recipe: Recipe, *key: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Input, noise map and target of one clip of a step. The key is what its noise is drawn by."""
    degraded, clean = pair
    rng = Rng(seeded(recipe.seed, "spoilt", *key))
    if recipe.task == "deblur":
        if recipe.data.camera:
            degraded = degradations.camera(degraded, rng.generator)
        return degraded, None, clean
    sigma = rng.uniform() ** recipe.data.sigma_power * recipe.data.sigma / 255
    if recipe.data.real and rng.chance(recipe.data.real):
        coded = rng.chance(recipe.data.coded)
        # White noise is there anyway, but not coded.
        kinds = [kind for kind in noise.KINDS if kind.endswith(noise.CODED) == coded and kind != "white"]
        degraded, level = noise.noisy(clean.cpu(), rng.choice(kinds), sigma, rng.generator)
        level *= rng.log_uniform(*recipe.data.misjudged)
        return degraded.to(clean), level.to(clean), clean
    generator = torch.Generator(clean.device).manual_seed(seed_of(recipe.seed, "noise", *key))
    present = sigma
    if recipe.data.quiet and rng.chance(recipe.data.quiet):
        present *= 0.0 if rng.chance(0.5) else rng.uniform()
    degraded = degradations.add_noise(degraded, present, generator)
    if recipe.data.rounded and rng.chance(recipe.data.rounded):
        degraded = (degraded.clamp(0.0, 1.0) * 255).round() / 255
    if recipe.data.camera and rng.chance(0.3):
        degraded = degradations.recorded(degraded, rng.generator)
    return degraded, clean.new_full((len(clean), 1, *clean.shape[2:]), sigma), clean


def batches(pairs: Iterator[Pair], recipe: Recipe, items: range, first: int, device: torch.device) -> Iterator[Batch]:
    """What one process runs, from step `first` on: `len(items) / at_once` batches a step.

    pairs: of this process's items in turn; larger than the crop.
    """
    fit, data = recipe.fit, recipe.data
    length = data.frames + 2 * data.context
    step = first
    while True:
        for start in range(0, len(items), fit.at_once):
            made = []
            for item in items[start : start + fit.at_once]:
                pair = next(pairs)
                rng = Rng(seeded(recipe.seed, "cut", step, item))
                tries = HARDEST_OF if recipe.task == "deblur" and rng.chance(data.hard) else 1
                pair = max(
                    (augmented(pair, rng, crop=data.crop, reversal=data.reversal) for _ in range(tries)), key=blurred
                )
                degraded = pair[0].to(device, non_blocking=True)
                clean = degraded if pair[1] is pair[0] else pair[1].to(device, non_blocking=True)
                made.append(spoilt((degraded, clean), recipe, step, item))
            maps = [level for _, level, _ in made if level is not None]
            yield Batch(
                degraded=torch.cat([degraded for degraded, _, _ in made]),
                noise=torch.cat(maps) if maps else None,
                clean=torch.cat([clean[data.context : length - data.context] for _, _, clean in made]),
                cuts=tuple(range(0, len(made) * length, length)) if fit.hold else (),
            )
        step += 1
