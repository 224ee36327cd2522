"""Whether a filter will fit the memory of its device.

A filter that would run out of memory is refused when it is created, with the figures and with what would make it
fit, rather than at a frame hours later.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from vsgshift.network import ShiftNet
from vsgshift.streaming.footprint import FIXED, FLUSH, Footprint, footprint
from vsgshift.streaming.tiles import Tiling

SMALL_TILE = 512
"""Pixels of the tiles that are proposed."""
PLANES = 3 * 4
"""Bytes for each pixel of a frame of the graph: RGBS."""
GAPS = 1.8
"""How many times the bytes of its frames a filter takes in the host's memory, with the gaps between them; measured."""
OWN = 8 * 2**20
"""Bytes that a filter takes in the host's memory besides, whatever its size; measured."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A filter to be created: what its memory depends on."""

    network: ShiftNet
    size: tuple[int, int]
    """Height and width."""
    device: torch.device
    dtype: torch.dtype
    block: int
    tiling: Tiling | None
    threads: int
    """Of VapourSynth, each of which may have a frame of its own."""
    offload: bool = False
    fused: bool = False
    """Whether the CPU's compiled kernels run."""
    streams: int = 1
    """Positions in the clip that are restored side by side."""
    runs: int = 1
    """Of the network over the clip, side by side: one for each noise level that planes have."""

    def footprint(self) -> Footprint:
        """The memory of its stream."""
        count = sum(parameter.numel() for parameter in self.network.parameters())
        return footprint(
            self.network.variant,
            self.size,
            dtype=self.dtype,
            block=self.block,
            weights=count * self.dtype.itemsize,
            tiling=self.tiling,
            fused=self.fused,
        )

    def needed(self) -> int:
        """Bytes of the device's memory, frames included that wait there to be restored or fetched."""
        cpu = self.device.type == "cpu"
        # On a GPU those that come up and those that go down; on a CPU the most are there where a stream begins again
        # and waits for those that its first frame depends on.
        frames = self.network.radius + 4 * self.block + 2 * self.threads if cpu else 2 * self.block
        waiting = frames * PLANES * self.size[0] * self.size[1]
        if cpu:
            waiting = int(waiting * GAPS) + OWN
        streams = self.streams * self.runs
        stream = self.footprint().on_device("cpu" if cpu else "cuda", offload=self.offload, streams=streams)
        timed = self.device.type == "cuda" and self.dtype != torch.float32
        return stream + streams * waiting + (FLUSH if timed else 0)

    def shared(self) -> int:
        """Bytes of those that filters on one device share: on a CPU one runs at a time."""
        if self.device.type != "cpu":
            return 0
        return self.footprint().running("cpu") + FIXED["fused" if self.fused else "cpu"]


def fit(demand: Demand, offload: bool | None, *, free: int | None) -> Demand:
    """Return the demand, with its skips in the host's memory if they must be and the user did not say otherwise.

    ``offload`` is what the user says, or None; ``free`` are the device's free bytes, or None if the system does not
    say. Raises ValueError if it will not fit: one line, with what would.
    """
    demand = replace(demand, offload=bool(offload) and demand.device.type == "cuda")
    if free is None or demand.needed() <= free:
        return demand
    if offload is None and demand.device.type == "cuda":
        offloaded = replace(demand, offload=True)
        if offloaded.needed() <= free:
            return offloaded
        demand = offloaded
    raise ValueError(f"{figures(demand, free)}; {_advice(demand, free)}")


def figures(demand: Demand, free: int | None = None) -> str:
    """The memory it needs, and what there is, in words."""
    height, width = demand.size
    name = demand.network.name or demand.network.variant.name
    how = " with offload" if demand.offload else ""
    text = f"{name} needs about {_gib(demand.needed())} at {width}x{height}{how}"
    return text if free is None else f"{text}, {_gib(free)} are free on {_name(demand.device)}"


def _advice(demand: Demand, free: int) -> str:
    """What would make it fit: one change, else as few of them in a row as suffice."""
    changes = list(_changes(demand))
    rows = [[change] for change in changes] + [changes[:count] for count in range(2, len(changes) + 1)]
    for row in rows:
        changed = demand
        for _, change in row:
            changed = change(changed)
        if changed.needed() <= free:
            *others, last = (words for words, _ in row)
            together = f"{', '.join(others)} and {last}" if others else last
            return f"with {together} it needs {_gib(changed.needed())}"
    return "choose a smaller model, or restore at a smaller size"


def _changes(demand: Demand) -> Iterator[tuple[str, Callable[[Demand], Demand]]]:
    """What can be changed to need less memory, the least harmful first."""
    cuda = demand.device.type == "cuda"
    if demand.streams > 1:
        yield "num_streams=1", lambda it: replace(it, streams=1)
    if demand.block > 1:
        yield "block=1", lambda it: replace(it, block=1)
    if cuda and not demand.offload:
        yield "offload=True", lambda it: replace(it, offload=True)
    if cuda and demand.dtype != torch.float16:
        yield "fp16=True", lambda it: replace(it, dtype=torch.float16)
    tile = max(SMALL_TILE, 4 * demand.network.variant.multiple)
    if demand.tiling is None and max(demand.size) > tile:
        yield f"tilesize={tile}", lambda it: replace(it, tiling=Tiling(size=(tile, tile)))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "this machine"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
