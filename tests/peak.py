"""Resident memory that filters take beyond what the process had, measured and promised, in bytes.

python tests/peak.py MODEL WIDTH HEIGHT BLOCK FILTERS
"""

import sys
from typing import Any

import vapoursynth as vs

from vsgshift.benchmark.measures import peak_resident
from vsgshift.plugin import capacity
from vsgshift.plugin.capacity import Demand

THREADS = 2
FRAMES = 24


def measured(model: str, size: tuple[int, int], block: int, filters: int) -> tuple[int, int]:
    """Bytes taken at the most, and bytes promised; size is W, H."""
    demands: list[Demand] = []
    before: list[int] = []

    def fit(demand: Demand, *args: Any, **options: Any) -> Demand:
        before.append(int(peak_resident() * 2**20))
        demands.append(demand)
        return demand

    capacity.fit = fit
    vs.core.num_threads = THREADS
    clip = vs.core.std.BlankClip(width=size[0], height=size[1], format=vs.YUV420P8, length=100, keep=0)
    options: dict[str, Any] = {"device_id": -1, "block": block, "model": model}
    nodes = [
        clip.gshift.Denoise(sigma=10, **options) if "denoise" in model else clip.gshift.Deblur(**options)
        for _ in range(filters)
    ]
    frames = vs.core.std.Interleave(nodes).frames(prefetch=THREADS, close=True)
    for _ in range(FRAMES * filters):
        next(frames)
    shared = demands[0].shared()
    return int(peak_resident() * 2**20) - before[0], sum(demand.needed() - shared for demand in demands) + shared


if __name__ == "__main__":
    model, *numbers = sys.argv[1:]
    width, height, block, filters = map(int, numbers)
    actual, promised = measured(model, (width, height), block, filters)
    sys.stdout.write(f"{actual} {promised}\n")
