"""Seeds, and scalar random draws from one seeded generator."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A seed of 63 bits that depends on every part of the key, and on nothing else."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def seeded(*key: int | str) -> torch.Generator:
    """A CPU generator seeded with `seed_of` the key."""
    return torch.Generator().manual_seed(seed_of(*key))


class Rng:
    """Draws Python numbers, and CPU arrays, from a CPU generator.

    Everything random about a clip comes from here, on the CPU, so that a seed means the same clip
    (up to rounding) on whatever device it is rendered.
    """

    def __init__(self, generator: torch.Generator) -> None:
        if generator.device.type != "cpu":
            raise ValueError(f"the generator must live on the CPU, not on {generator.device}")
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from the uniform distribution on [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        """A number whose logarithm is uniform between those of low and high, both positive."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self, sigma: float = 1.0) -> float:
        """A number from the centred normal distribution."""
        return sigma * float(torch.randn((), generator=self.generator))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def choice[T](self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the options; equally likely unless weights are given."""
        if weights is None:
            return options[self.integer(0, len(options) - 1)]
        mark = self.uniform(0.0, math.fsum(weights))
        for option, weight in zip(options, weights, strict=True):
            mark -= weight
            if mark < 0:
                return option
        return options[-1]

    def rand(self, *shape: int) -> Tensor:
        """Float32 uniforms in [0, 1) on the CPU."""
        return torch.rand(shape, generator=self.generator)

    def randn(self, *shape: int) -> Tensor:
        """Float32 standard normals on the CPU."""
        return torch.randn(shape, generator=self.generator)
