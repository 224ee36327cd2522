"""Training clips that need no footage: each can be named by number and made again."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .clips import degradations, graphics, synthetic
from .clips.photographs import Photographs
from .clips.rng import Rng, seed_of, seeded
from .recipe import Recipe, TrainingError

Pair = tuple[Tensor, Tensor]
"""A degraded clip and its clean one, (T, 3, H, W) in [0, 1]; for denoising both are clean."""

FIRST = 8
"""Clips that the first steps draw from."""
TRIES = 8
"""Scenes tried for one that is as blurred as wanted."""


def odd(rng: Rng, low: int, high: int) -> int:
    """An odd number from low to high, both odd."""
    return 2 * rng.integer(low // 2, high // 2) + 1


def make(
    recipe: Recipe,
    generator: torch.Generator,
    pool: synthetic.Pool,
    *,
    frames: int,
    size: int,
    sharp: bool | None = None,
) -> Pair:
    """One clip pair of (frames, 3, size, size) for the recipe's task, on the pool's device.

    sharp: whether a blurred clip shall be nearly sharp; by default as often as the recipe says.
    """
    made = recipe.generated
    shot, device = (size, size), pool.device
    rng = Rng(generator)
    speed = rng.log_uniform(*made.speeds)
    if recipe.task == "denoise":
        if made.graphics and rng.chance(made.graphics):
            clean = graphics.graphics(rng, frames=frames, size=shot).to(device)
        else:
            clean = synthetic.clip(generator, frames=frames, size=shot, device=device, pool=pool, speed=speed)
            if made.graphics and rng.chance(made.graphics):
                clean = graphics.titled(rng, clean)
        return clean, clean
    if sharp is None:
        sharp = rng.chance(made.sharp)
    for _ in range(TRIES):
        shutter = degradations.Shutter.draw(generator)
        exposure = shutter.exposure * (rng.uniform(0.0, 0.3) if sharp else 1.0)
        scene = synthetic.take(generator, frames=frames, size=shot, device=device, pool=pool, speed=speed, headroom=4.0)
        # A few instants of one frame tell enough, and cost little where the scene is not taken.
        probe = scene.film([frames // 2], synthetic.instants(5, exposure))
        seen = F.mse_loss(*degradations.blur(probe, exposure=1.0, gamma=shutter.gamma))
        if (float(seen) > 10 ** -(made.visible / 10)) != sharp:
            break
    subframes = odd(rng, *recipe.data.subframes)
    instants = scene.film(range(frames), synthetic.instants(subframes, exposure))
    return degradations.blur(instants, exposure=1.0, gamma=shutter.gamma)


class GeneratedClips:
    """Pairs for the items of each batch, a pure function of seed, item and step.

    Every item has its own succession of clips, one more every `reuse` steps, and is cut from one of
    the newest `pool` of them, so that a clip serves many times but neighbouring steps see different
    ones. Clips are made when first needed: after an interruption they come back one by one.
    """

    def __init__(self, recipe: Recipe, items: range, device: torch.device) -> None:
        self.recipe, self.items, self.device = recipe, items, device
        self.clips: dict[tuple[int, int], Pair] = {}
        self.pools: OrderedDict[tuple[int, int], synthetic.Pool] = OrderedDict()

    def __call__(self, first: int) -> Iterator[Pair]:
        """Pairs (frames, 3, H, W), larger than the crop: those of step `first`, item by item, and of all later ones."""
        step = first
        while True:
            for item in self.items:
                yield self.at(step, item)
            step += 1

    def at(self, step: int, item: int) -> Pair:
        """The pair of one item of one step."""
        made = self.recipe.generated
        newest = min(FIRST, made.pool) - 1 + step // made.reuse
        oldest = max(0, newest - made.pool + 1)
        number = Rng(seeded(self.recipe.seed, "clip of", step, item)).integer(oldest, newest)
        for key in [key for key in self.clips if key[0] == item and key[1] < oldest]:
            del self.clips[key]
        if (item, number) not in self.clips:
            self.clips[item, number] = self.clip(item, number)
        degraded, clean = self.clips[item, number]
        return degraded.float(), clean.float()

    def clip(self, item: int, number: int) -> Pair:
        """A clip by number. In half precision, which is finer than 8 bits where pictures are."""
        recipe = self.recipe
        pool = self.pool(item, number // recipe.generated.chapter)
        generator = seeded(recipe.seed, "clip", item, number)
        size = round(recipe.generated.view * recipe.data.crop)
        pair = make(recipe, generator, pool, frames=recipe.data.frames + 2 * recipe.data.context, size=size)
        degraded = pair[0].half()
        return degraded, degraded if pair[1] is pair[0] else pair[1].half()

    def pool(self, item: int, chapter: int) -> synthetic.Pool:
        """The stock of scenes of a chapter."""
        if (item, chapter) not in self.pools:
            self.pools[item, chapter] = new_pool(
                self.recipe, seed_of(self.recipe.seed, "scenes", item, chapter), self.device
            )
            kept = 3 * len(self.items)
            while len(self.pools) > kept:
                self.pools.popitem(last=False)
        self.pools.move_to_end((item, chapter))
        return self.pools[item, chapter]


def new_pool(recipe: Recipe, seed: int, device: torch.device) -> synthetic.Pool:
    """A stock of scenes as the recipe wants them, which clips leave as it is."""
    made = recipe.generated
    photographs = None
    if made.photographs:
        try:
            folder = Path(made.photographs).expanduser()
            photographs = Photographs.under(folder, share=made.photographed, without=made.without)
        except OSError as error:
            raise TrainingError(f"generated.photographs: {error}") from error
    return synthetic.Pool(
        torch.Generator().manual_seed(seed),
        scenes=made.scenes,
        tiles=2 * made.scenes,
        texels=made.texels,
        device=device,
        fixed=True,
        calm=made.calm,
        photographs=photographs,
    )
