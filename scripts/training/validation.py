"""Validation: clips that training never sees, restored, measured, and laid out as pictures."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluation.frames import pillow
from vsgshift.network import ShiftNet

from .clips import degradations
from .clips.rng import seed_of, seeded
from .filmed import film
from .footage import Library
from .generated import Pair, make, new_pool
from .recipe import Precision, Recipe

GAP = 4
"""Pixels between the pictures of a sheet."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One clip: what is given, what is wanted."""

    degraded: Tensor
    noise: Tensor | None
    clean: Tensor


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a validation found."""

    before: float
    """PSNR of the inputs in dB, mean over frames and clips; of [0, 1] values, outputs clamped."""
    after: float
    """PSNR of the restored clips."""
    worst: float
    """Gain of the clip that gained least, dB."""
    rows: list[tuple[Tensor, Tensor, Tensor]]
    """Input, output and target of each clip's middle frame, (3, H, W) in [0, 1]."""


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network computes with a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.float16 if precision == "fp16" else torch.bfloat16)


def psnr(output: Tensor, target: Tensor) -> float:
    """Mean over frames in dB of (T, 3, H, W); equal frames count as 100 dB, where float32 rounds."""
    return float(-10 * torch.log10((output - target).square().mean((1, 2, 3)) + 1e-10).mean())


def examples(recipe: Recipe, device: torch.device) -> list[Example]:
    """The recipe's validation clips, on the CPU: the same ones whatever has been trained before.

    Raises:
        TrainingError: footage is wanted, and there is none.
    """
    check = recipe.validation
    out = []
    for index, (degraded, clean) in zip(range(check.clips), _pairs(recipe, device), strict=False):
        noise = None
        if recipe.task == "denoise":
            sigma = check.sigmas[index % len(check.sigmas)] / 255
            degraded = degradations.add_noise(clean, sigma, seeded("validation noise", index))
            noise = clean.new_full((len(clean), 1, *clean.shape[2:]), sigma)
        out.append(Example(degraded=degraded, noise=noise, clean=clean))
    return out


def _pairs(recipe: Recipe, device: torch.device) -> Iterator[Pair]:
    """Clips without end; seeded apart from those of training, and not by the recipe's seed."""
    check = recipe.validation
    library = Library(recipe.data.source, check.root) if check.root else None
    pool = None if library else new_pool(recipe, seed_of("validation scenes"), device)
    number = 0
    while True:
        generator = seeded("validation", number)
        if library:
            pair = film(recipe, library, generator, frames=check.frames, size=check.size)
        else:
            assert pool is not None
            pair = make(recipe, generator, pool, frames=check.frames, size=check.size, sharp=False)
        yield pair[0].cpu(), pair[1].cpu()
        number += 1


def validate(
    network: ShiftNet, clips: list[Example], *, device: torch.device, precision: Precision, hold: bool
) -> Outcome:
    """Restores the clips and compares. hold: as in `Fit.hold`."""
    before, after = [], []
    rows = []
    for clip in clips:
        noise = None if clip.noise is None else clip.noise.to(device)
        with torch.inference_mode(), autocast(device, precision):
            restored = network(clip.degraded.to(device), noise, cuts=(0,) if hold else ()).float().cpu().clamp(0.0, 1.0)
        before.append(psnr(clip.degraded, clip.clean))
        after.append(psnr(restored, clip.clean))
        middle = len(restored) // 2
        rows.append((clip.degraded[middle].clamp(0.0, 1.0), restored[middle], clip.clean[middle]))
    gains = [b - a for a, b in zip(before, after, strict=True)]
    return Outcome(
        before=math.fsum(before) / len(before), after=math.fsum(after) / len(after), worst=min(gains), rows=rows
    )


def sheet(rows: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """One picture (3, H, W): a row a clip; input, output and target side by side."""
    height, width = rows[0][0].shape[-2:]
    out = torch.ones(3, len(rows) * (height + GAP) - GAP, 3 * (width + GAP) - GAP)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            top, left = row * (height + GAP), column * (width + GAP)
            out[:, top : top + height, left : left + width] = picture
    return out


def write_png(picture: Tensor, path: Path) -> None:
    """Writes (3, H, W) in [0, 1] as 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (picture * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    pillow().fromarray(pixels).save(path)
