"""Resident memory that a stream takes beyond what the process had, measured and estimated, in bytes.

python tests/peak.py VARIANT WIDTH HEIGHT BLOCK [TILE]
"""

import resource
import sys
from pathlib import Path

import torch

from vsgshift.benchmark.measures import peak_resident
from vsgshift.engine import prepared
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.plugin.memory import give_back_freed
from vsgshift.streaming import Stream, TiledStream, Tiling
from vsgshift.streaming.footprint import footprint


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(name: str, size: tuple[int, int], block: int, tile: int) -> tuple[int, int]:
    """Bytes taken at the most, and bytes estimated; size is H, W."""
    variant = VARIANTS[name]
    torch.set_flush_denormal(True)
    before = resident()
    network = ShiftNet(variant).eval().requires_grad_(False)
    weights = sum(parameter.nbytes for parameter in network.parameters())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network, plain = prepared(network), network
    fused = network is not plain
    del plain
    tiling = Tiling(size=(tile, tile)) if tile else None
    stream = TiledStream(network, tiling, block=block) if tiling else Stream(network, block=block)
    for _ in range(network.radius // block + 4):
        frames = torch.rand(block, 3, *size)
        stream.push(frames, torch.full((block, 1, *size), 0.1) if variant.task == "denoise" else None)
        give_back_freed()
    peak = int(peak_resident() * 2**20)
    estimate = footprint(variant, size, dtype=torch.float32, block=block, weights=weights, tiling=tiling, fused=fused)
    return peak - before, estimate.on_device("cpu")


if __name__ == "__main__":
    name, width, height, block, *tile = sys.argv[1:]
    actual, estimate = measured(name, (int(height), int(width)), int(block), int(tile[0]) if tile else 0)
    sys.stdout.write(f"{actual} {estimate}\n")
