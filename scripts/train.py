"""Train a network of the family on clips generated as they are needed.

    python scripts/train.py denoise-tiny runs/denoise-tiny --minutes 60

The run folder holds everything needed to go on (`state.pt`, written every few minutes) and the
averaged weights as safetensors. Run the same command again to continue an interrupted run; the
learning rate follows a cosine over the minutes asked for, all runs together.
"""

import argparse
import copy
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.training import degradations, synthetic
from vsgshift.weights.store import write

log = logging.getLogger("train")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and how."""

    frames: int = 7
    """Frames per clip."""
    crop: int = 64
    """Height and width of training clips, pixels."""
    clips: int = 2
    """Clips per step."""
    rate: float = 1.5e-3
    """Learning rate at the start."""
    floor: float = 1e-5
    """Mean squared error under which a frame counts as good enough: nearly clean clips must not rule."""
    clip_gradient: float = 0.5
    """Largest gradient norm."""
    average: float = 0.998
    """Decay of the averaged weights, per step."""
    pool: int = 96
    """Generated clips that steps draw from; each new one replaces the oldest."""
    sigma: float = 55 / 255
    """Largest noise standard deviation for denoising."""
    subframes: int = 9
    """Instants per frame of a clip that is blurred."""
    blur_speed: float = 36.0
    """Largest speed in clips that are blurred, pixels per frame."""
    blur_psnr: float = 36.0
    """Blurred clips nearer to their sharp ones than this (dB) are mostly left out."""


Sample = tuple[Tensor, Tensor]
"""Degraded and clean clip, (T, 3, H, W); for denoising both are clean."""


class Generated(IterableDataset[Sample]):
    """An endless supply of clips, larger than the crop, different in each worker."""

    def __init__(self, task: str, recipe: Recipe, seed: int) -> None:
        self.task, self.recipe, self.seed = task, recipe, seed

    def __iter__(self) -> Iterator[Sample]:
        info = torch.utils.data.get_worker_info()
        generator = torch.Generator().manual_seed(self.seed * 1000 + (info.id if info else 0))
        pool = synthetic.Pool(generator)
        while True:
            yield sample(self.task, self.recipe, generator, pool)


def sample(task: str, recipe: Recipe, generator: torch.Generator, pool: synthetic.Pool) -> Sample:
    """One clip for the task, (T, 3, 2 crop, 2 crop)."""
    size = (2 * recipe.crop, 2 * recipe.crop)
    if task == "denoise":
        clean = synthetic.clip(generator, frames=recipe.frames, size=size, pool=pool)
        return clean, clean
    while True:
        instants = synthetic.clip(
            generator,
            frames=recipe.frames,
            size=size,
            subframes=recipe.subframes,
            pool=pool,
            speed=recipe.blur_speed,
            headroom=4.0,
        )
        shutter = degradations.Shutter.draw(generator)
        blurred, sharp = degradations.blur(instants, exposure=shutter.exposure, gamma=shutter.gamma)
        # Most clips must have blur to remove; some must teach to leave sharp footage alone.
        visible = float(F.mse_loss(blurred, sharp)) > 10 ** -(recipe.blur_psnr / 10)
        if visible or torch.rand((), generator=generator) < 0.15:
            return blurred, sharp


def augment(pair: Sample, crop: int) -> Sample:
    """The same random crop, flips and transposition of both clips; sometimes backwards in time."""
    height, width = pair[0].shape[-2:]
    top, left = random.randint(0, height - crop), random.randint(0, width - crop)
    flips = [axis for axis in (0, 2, 3) if random.random() < 0.5]
    transpose = random.random() < 0.5

    def apply(clip: Tensor) -> Tensor:
        clip = clip[..., top : top + crop, left : left + crop].flip(flips)
        return clip.transpose(2, 3) if transpose else clip

    return apply(pair[0]), apply(pair[1])


def psnr_loss(restored: Tensor, clean: Tensor, floor: float) -> Tensor:
    """Minus half the PSNR in dB, mean over frames (the authors' loss; their floor is 1e-8). Both (T, 3, H, W)."""
    mse = F.mse_loss(restored, clean, reduction="none").mean((1, 2, 3))
    return (5 / math.log(10) * torch.log(mse + floor)).mean()


def batch(pool: list[Sample], task: str, recipe: Recipe) -> tuple[Tensor, Tensor | None, Tensor]:
    """Input, noise map and target of one step; the clips stand one behind the other."""
    pairs = [augment(random.choice(pool), recipe.crop) for _ in range(recipe.clips)]
    degraded, clean = (torch.cat(part) for part in zip(*pairs, strict=True))
    if task == "deblur":
        return degraded, None, clean
    sigma = torch.rand(recipe.clips) * recipe.sigma
    noise = sigma.repeat_interleave(recipe.frames).view(-1, 1, 1, 1).expand(-1, 1, recipe.crop, recipe.crop)
    return degraded + noise * torch.randn_like(degraded), noise.contiguous(), clean


def train(variant: str, folder: Path, recipe: Recipe, minutes: float, threads: int, seed: int) -> None:
    """Train until ``minutes`` have been spent on this folder, in this run and earlier ones."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    network = ShiftNet(VARIANTS[variant])
    nn.init.zeros_(network.to_rgb.weight)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, betas=(0.9, 0.99), weight_decay=0)
    step, spent = 0, 0.0
    state_file = folder / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        log.info("continuing at step %d, %.0f s spent", step, spent)
    folder.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        state = {
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": spent,
        }
        torch.save(state, folder / "state.part")
        (folder / "state.part").replace(state_file)
        task = network.variant.task
        name = f"tiny-{task}" if variant.endswith("tiny") else variant
        data = "generated clips"
        write(folder / f"{name}.safetensors", averaged, name=name, training_data=data, licence="MIT", half=True)

    task = network.variant.task
    supply = iter(DataLoader(Generated(task, recipe, seed + step), batch_size=None, num_workers=1, prefetch_factor=8))
    pool: list[Sample] = []
    started, reported, saved = time.monotonic(), time.monotonic(), time.monotonic()
    before = spent
    losses: list[float] = []
    while spent < minutes * 60:
        if len(pool) < 8 or step % 12 == 0:
            pool.append(next(supply))
            del pool[: -recipe.pool]
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 100)
            group["lr"] = warm * (1e-6 + recipe.rate * 0.5 * (1 + math.cos(math.pi * min(1, spent / (minutes * 60)))))
        degraded, noise, clean = batch(pool, task, recipe)
        cuts = range(0, len(degraded), recipe.frames)
        loss = psnr_loss(network(degraded, noise, cuts=cuts), clean, recipe.floor)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_gradient)
        optimizer.step()
        step += 1
        keep = min(recipe.average, step / (step + 10))
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        gain = -2 * (float(loss.detach()) - float(psnr_loss(degraded, clean, recipe.floor)))
        losses.append(gain)
        now = time.monotonic()
        spent = before + now - started
        if now - reported > 30:
            left = minutes * 60 - spent
            log.info("step %d  gain %.2f dB  left %.0f s", step, sum(losses) / len(losses), left)
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "spent": spent, "gain": sum(losses) / len(losses)}) + "\n")
            losses.clear()
            reported = now
        if now - saved > 120:
            save()
            saved = now
    save()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--crop", type=int, default=Recipe.crop)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe(crop=arguments.crop, rate=arguments.rate)
    train(arguments.variant, arguments.folder, recipe, arguments.minutes, arguments.threads, arguments.seed)


if __name__ == "__main__":
    main()
