"""Choosing a kernel's configuration on the card it runs on, and remembering the choice.

Triton's own autotuner can keep its measurements on disk, but files them under the architecture,
which cards of very different bandwidth share, and fails on a damaged file. Here the first launch of
a kernel for a size times every configuration on its real arguments; the fastest goes to a file of
the card in the user's cache folder. Where nothing may be timed (inside the capture of a CUDA graph,
under Triton's interpreter, or without memory for it) the first configuration is taken.

A configuration decides in what order a frame's sums are taken, so that two choices may differ in
the last bits; one choice always gives the same bits.
"""

import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.errors import OutOfResources, PTXASError

from vsgshift.files import atomic_write
from vsgshift.streaming.graphed import device_lock

logger = logging.getLogger(__name__)

Config = Mapping[str, int]
"""Tile sizes by the names of a kernel's parameters, and Triton's num_warps, num_stages and maxnreg."""


_tell: ContextVar[Callable[[str], object]] = ContextVar("tell", default=logger.info)
_timed = itertools.count(1)


@contextmanager
def telling(tell: Callable[[str], object]) -> Iterator[None]:
    """Report the choices that this thread must make, one line each."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def cache_folder() -> Path:
    """The folder of the choices: vsgshift/kernels in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vsgshift" / "kernels"


class Kernel:
    """A Triton function with the configurations that it may be launched in; the first is taken where nothing may be
    timed.

    ``widths`` are the constants that say how wide is what a tile covers a part of, by the names of configurations.
    """

    def __init__(self, function: Any, configs: Sequence[Config], **widths: str) -> None:
        self.function, self.widths = function, widths
        self.name: str = function.__name__.strip("_")
        self.configs = tuple(configs)
        self._chosen: dict[tuple[torch.device, str], Config] = {}

    def launch(
        self, like: Tensor, key: str, grid: Callable[[Config], tuple[int, ...]], *arguments: Any, **constants: Any
    ) -> None:
        """Run on the device of ``like``.

        Args:
            like: any tensor of the launch.
            key: what the choice depends on besides the card: `measures` of the frames, widths, data type.
            grid: the number of programs along each axis, for a configuration.
            arguments: the function's tensors and numbers.
            constants: its compile-time constants, without those of the configurations.
        """

        configs = self.fitting(constants)

        def run(config: Config) -> None:
            # Asked for, since results depend on it and the environment can turn it off.
            self.function[grid(config)](*arguments, **constants, **config, enable_fp_fusion=True)

        if like.device.type != "cuda":
            run(configs[0])
            return
        with torch.cuda.device(like.device):
            run(self.choose(like.device, key, run, configs))

    def fitting(self, constants: Mapping[str, Any]) -> tuple[Config, ...]:
        """The configurations whose tiles are no wider than what they cover; others only pad more."""
        most = {tile: triton.next_power_of_2(constants[width]) for tile, width in self.widths.items()}
        fits = (config for config in self.configs if all(config[tile] <= most[tile] for tile in most))
        return tuple(fits) or self.configs

    def choose(
        self, device: torch.device, key: str, run: Callable[[Config], None], configs: Sequence[Config] = ()
    ) -> Config:
        """The configuration for a device and key: chosen before, remembered, or timed now by ``run``; of all if no
        ``configs`` are given."""
        configs = configs or self.configs
        chosen = self._chosen.get((device, key))
        if chosen is not None:
            return chosen
        if torch.cuda.is_current_stream_capturing():
            return configs[0]
        with device_lock(device):
            card = torch.cuda.get_device_name(device)
            chosen = self._chosen[device, key] = self._remembered(card, key, run, configs)
        return chosen

    def _remembered(self, card: str, key: str, run: Callable[[Config], None], configs: Sequence[Config]) -> Config:
        """The configuration that the card's file has for a key, else the fastest, which goes there."""
        path = self._file(card)
        remembered = read(path).get(key)
        chosen = next((config for config in configs if config == remembered), None)
        if chosen is None:
            ways = f"{len(configs)} ways to run {self.name}"
            _tell.get()(f"first use on {card}, about a minute in all: compiling and timing {ways} ({next(_timed)})")
            try:
                chosen = fastest(configs, run)
            except torch.OutOfMemoryError:
                # Timing takes 256 MB to flush the card's cache. Without them it is left for another day.
                chosen = configs[0]
            else:
                write(path, {**read(path), key: dict(chosen)})
        return chosen

    def _file(self, card: str) -> Path:
        """One file for each card, kernel, version of Triton and set of configurations."""
        # The interpreter's functions have no key of their source; they are not timed, except in tests.
        source = getattr(self.function, "cache_key", "")
        what = f"{triton.__version__} {source} {self.configs}"
        return cache_folder() / re.sub(r"\W+", "-", card) / f"{self.name}-{sha256(what.encode()).hexdigest()[:16]}.json"


def measures(frames: int, height: int, width: int, channels: int) -> str:
    """Sizes for a key. Numbers of frames count by the next power of two: few of them, and what is timed is near."""
    return f"{triton.next_power_of_2(frames)}x{height}x{width}x{channels}"


def fastest(configs: Sequence[Config], run: Callable[[Config], None]) -> Config:
    """The configuration whose ``run`` takes least time; those that the card has no room for are passed over. Raises
    RuntimeError if it has room for none."""
    if len(configs) == 1:
        return configs[0]
    times: dict[int, float] = {}
    for index, config in enumerate(configs):
        with suppress(OutOfResources, PTXASError):
            times[index] = triton.testing.do_bench(lambda config=config: run(config), warmup=5, rep=25)
    if not times:
        raise RuntimeError("no configuration of a kernel fits this card; run without the fused kernels")
    return configs[min(times, key=times.__getitem__)]


def read(path: Path) -> dict[str, Config]:
    """The choices in a file; none if it is missing, damaged or not ours."""
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {key: config for key, config in stored.items() if isinstance(config, dict)}


def write(path: Path, choices: Mapping[str, Config]) -> None:
    """Replace a file of choices as a whole. If that fails, the next process measures again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(choices), encoding="utf-8")
    except OSError as error:
        logger.debug("the choice of kernel configurations was not kept in %s: %s", path, error)
