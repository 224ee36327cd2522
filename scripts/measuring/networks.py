"""Networks to measure, by name: with their weights where these are installed, else with random ones.

Speed and memory do not depend on the values of the weights, so weights that may not be redistributed are not needed
here. A report says which weights were used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from vsgshift.engine import prepared
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.variants import FAMILIES, VARIANTS
from vsgshift.weights import MODELS, load_network
from vsgshift.weights.catalogue import imported_names
from vsgshift.weights.store import find, read, write

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to measure."""

    name: str
    """In reports."""
    source: str
    """What `load_network` and the filters take: a name or a path."""
    variant: Variant
    weights: str
    """installed, or random with the seed."""


def subjects(names: Iterable[str], folder: Path) -> list[Subject]:
    """The networks of a list of names: models, variants, files of weights, families (both tasks' network of that size),
    or all.

    Random weights are written to the folder, for as long as the subjects are in use. Raises ValueError if there is no
    such model, variant or file, or it is damaged.
    """
    return [_subject(name, folder) for given in names for name in _members(given)]


def _members(name: str) -> list[str]:
    if name == "all":
        return [member for family in FAMILIES for member in _members(family)]
    if name in FAMILIES:
        bundled = {model.variant: model.name for model in MODELS.values() if not model.published_as}
        return [bundled.get(each, each.name) for each in VARIANTS.values() if each.family == name]
    return [name]


def _subject(name: str, folder: Path) -> Subject:
    model = MODELS.get(name)
    variant = model.variant if model else VARIANTS.get(name)
    if variant is None or (model and model.installed) or name in imported_names():
        variant, _, _ = read(find(name))
        return Subject(name=name, source=name, variant=variant, weights="installed")
    return Subject(
        name=name,
        source=str(save(random_network(variant), folder / f"{name}.safetensors")),
        variant=variant,
        weights=f"random, seed {SEED}",
    )


def load(subject: Subject, device: torch.device, dtype: torch.dtype) -> ShiftNet:
    """The network as the filters run it."""
    return prepared(load_network(subject.source, device=device, dtype=dtype))


def random_network(variant: Variant, seed: int = SEED) -> ShiftNet:
    """A network whose every weight plays a part in what it computes; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ShiftNet(variant)
        enliven(network)
    return network.requires_grad_(False).eval()


def enliven(network: torch.nn.Module) -> None:
    """Give random values to parameters that are zero to begin with: such a factor hides all that it multiplies."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)


def save(network: ShiftNet, path: Path) -> Path:
    """Write a network to a file that can be loaded as any model is."""
    write(path, network, name=path.stem, training_data="none: random weights", licence="MIT")
    return path
