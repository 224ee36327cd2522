"""Training clips cut from footage, each a pure function of seed, item and step like generated ones."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .clips import degradations
from .clips.rng import Rng, seeded
from .footage import Library
from .generated import Pair, odd
from .recipe import Recipe, TrainingError


def cut_square(shown: Tensor, sharp: Tensor | None, size: int, rng: Rng, name: str) -> tuple[Tensor, Tensor | None]:
    """The same random square of both."""
    height, width = shown.shape[-2:]
    if min(height, width) < size:
        raise TrainingError(f"{name} is {width}x{height}, smaller than the crop of {size}; lower data.crop")
    top, left = rng.integer(0, height - size), rng.integer(0, width - size)
    window = (..., slice(top, top + size), slice(left, left + size))
    return shown[window], None if sharp is None else sharp[window]


def film(recipe: Recipe, library: Library, generator: torch.Generator, *, frames: int, size: int) -> Pair:
    """One clip pair of (frames, 3, size, size) for the recipe's task, cut from anywhere in the library.

    Footage without blurred counterparts is blurred as the GoPro set was: an odd number of consecutive
    frames is averaged, and the middle one is the sharp one; that takes footage of a high frame rate.
    """
    rng = Rng(generator)
    blurs = recipe.task == "deblur" and recipe.data.source != "pairs"
    together = odd(rng, *recipe.data.subframes) if blurs else 1
    scene = library.pick(rng, frames * together)
    first = rng.integer(0, len(scene) - frames * together)
    shown, sharp = library.read(scene, first, frames * together)
    shown, sharp = cut_square(shown, sharp, size, rng, scene.name)
    if blurs:
        gamma = degradations.Shutter.draw(generator).gamma
        return degradations.blur(shown.view(frames, together, *shown.shape[1:]), exposure=1.0, gamma=gamma)
    return shown, shown if sharp is None else sharp


class Filmed(Dataset[Pair]):
    """Pairs by (step, item); each worker process opens files by itself."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._library: Library | None = None

    @property
    def library(self) -> Library:
        """The footage."""
        if self._library is None:
            self._library = Library(self.recipe.data.source, self.recipe.data.root)
        return self._library

    def __getitem__(self, key: tuple[int, int]) -> Pair:
        step, item = key
        generator = seeded(self.recipe.seed, "film", step, item)
        degraded, clean = film(
            self.recipe,
            self.library,
            generator,
            frames=self.recipe.data.frames + 2 * self.recipe.data.context,
            size=self.recipe.data.crop,
        )
        return (degraded.contiguous(),) * 2 if clean is degraded else (degraded.contiguous(), clean.contiguous())


class Order(Sampler[tuple[int, int]]):
    """The items of a process, step after step without end."""

    def __init__(self, items: range, first: int) -> None:
        self.items, self.first = items, first

    def __iter__(self) -> Iterator[tuple[int, int]]:
        step = self.first
        while True:
            for item in self.items:
                yield step, item
            step += 1


class FilmedClips:
    """Pairs for the items of each batch, read ahead by worker processes."""

    def __init__(self, recipe: Recipe, items: range, device: torch.device) -> None:
        """Raises TrainingError at once where there is no footage, or a clip of it cannot be read."""
        self.recipe, self.items, self.pins = recipe, items, device.type == "cuda"
        self.data = Filmed(recipe)
        # On another copy: what is open in this process cannot be sent to those that read ahead.
        Filmed(recipe)[0, items.start]

    def __call__(self, first: int) -> Iterator[Pair]:
        """Pairs of (frames, 3, crop, crop): those of step `first`, item by item, and of all later ones."""
        workers = self.recipe.data.workers
        loader = DataLoader(
            self.data,
            batch_size=None,
            sampler=Order(self.items, first),
            num_workers=workers,
            # Neither VapourSynth nor CUDA outlives a fork.
            multiprocessing_context="spawn" if workers else None,
            prefetch_factor=2 if workers else None,
            pin_memory=self.pins,
        )
        pairs = iter(loader)
        while True:
            try:
                degraded, clean = next(pairs)
            except TrainingError as error:
                raise TrainingError(complaint(error)) from error
            yield degraded, degraded if self.recipe.task == "denoise" else clean


def complaint(error: TrainingError) -> str:
    """What was wrong, without the account of the worker process that a loader puts around it."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{TrainingError.__module__}.TrainingError: ")
