"""How much memory a stream needs on its device, known before it is made.

All tensors of a stream grow with the pixels of the picture, so numbers per pixel say it all, and they
follow from the variant: which skips wait, how long, what each shift keeps, and what lies in memory at
the moment of a run that takes the most. Tests hold them against every tensor that a run makes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from vsgshift.network.variants import Variant
from vsgshift.streaming.tiles import Tiling

SPARE = {"cpu": 1.95, "cuda": 1.25, "fused": 2.15}
"""How many times its activations a run takes on a kind of device, or with the CPU's compiled kernels: the libraries'
own buffers, and gaps between what was freed and taken. Measured on the CPU, as resident memory (tests/peak.py); on CUDA
a guess."""
FIXED = {"cpu": 24 * 2**20, "cuda": 24 * 2**20, "fused": 12 * 2**20}
"""Bytes that the first run takes for itself, of whatever size."""
FLUSH = 256 * 2**20
"""Bytes of a CUDA device with which its cache is flushed while kernels for half precision are timed."""
SINGLE = torch.float32.itemsize
KEPT = 7.3
"""Bytes for each pixel of a frame that the CPU's compiled kernels keep for merging: luma and samples."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes that a stream needs.

    Attributes:
        weights: of the network.
        waiting: skips that wait for the main path; in the host's memory if they are offloaded.
        window: frames that are to be merged with others: those that wait for it, and as many before them.
        shifts: what the temporal shifts keep; with offloading, those of one tile at a time.
        activations: the rest, at the peak of a run.
        tiles: number of them.
        fused: whether `activations` are those of the compiled kernels for the CPU.
    """

    weights: int
    waiting: int
    window: int
    shifts: int
    activations: int
    tiles: int = 1
    fused: bool = False

    def on_device(self, kind: str, *, offload: bool = False, streams: int = 1) -> int:
        """Bytes of memory of a device, "cpu" or "cuda", including what libraries need.

        streams: how many share this network; on a CPU one of them runs at a time.
        """
        state = streams * (self.shifts // self.tiles if offload else self.shifts + self.waiting + self.window)
        runs = self.running(kind) * (1 if kind == "cpu" else streams)
        # The kernels have the weights in an order of their own, made from the plain network's.
        return self.weights * (2 if self.fused else 1) + state + runs + FIXED["fused" if self.fused else kind]

    def running(self, kind: str) -> int:
        """Bytes that a run takes on a device, and gives back."""
        return int(self.activations * SPARE["fused" if self.fused else kind])


def footprint(
    variant: Variant,
    size: tuple[int, int],
    *,
    dtype: torch.dtype,
    block: int,
    weights: int = 0,
    tiling: Tiling | None = None,
    fused: bool = False,
) -> Footprint:
    """What a `Stream`, or with ``tiling`` a `TiledStream`, needs for frames of a height and width, ``block`` of them a
    run.

    The dtype is the network's, frames are float32; ``weights`` are bytes; ``fused``: the compiled kernels for the CPU
    run.
    """
    rows, columns = (tiling or Tiling(size=(0, 0))).lines(*size, variant)
    tiles = len(rows.starts) * len(columns.starts)
    tile = rows.size * columns.size
    all_tiles = tiles * tile
    # Frames, noise maps and results of a block, three planes each, are kept in addition to the tiles.
    blended = 9 * block * rows.length * columns.length if tiles > 1 else 0
    given = variant.input_channels * variant.shuffle**-2
    # The compiled shift steps compute in single precision, whatever the network does.
    shifted = SINGLE if fused else dtype.itemsize
    activations = max(
        (_activations(variant, fused) * shifted + given * SINGLE) * block,
        _merging(variant, fused, block) * SINGLE,
    )
    return Footprint(
        weights=weights,
        waiting=int(all_tiles * (_waiting(variant, block) * dtype.itemsize + _frames_waiting(variant) * SINGLE)),
        window=int(all_tiles * variant.merge * (2 * KEPT + 12 if fused else 2 * 3 * SINGLE)),
        shifts=int(all_tiles * sum(_shifts(variant)) * shifted),
        activations=int(tile * activations + blended * SINGLE),
        tiles=tiles,
        fused=fused,
    )


def _waiting(variant: Variant, block: int) -> float:
    """Numbers for each pixel of the picture that wait between two runs.

    Frames of a skip wait in blocks; of a block that is partly used, the rest is copied out.
    """
    full = variant.shuffle**-2 * variant.width
    late = variant.radius - variant.merge
    total = 2 * full * late
    lates = [blocks * variant.steps // 2 for blocks in (*variant.encoder_blocks, *variant.decoder_blocks)]
    for level in range(variant.levels - 1):
        # A skip leaves after its level's encoder and is met before its level's decoder.
        lag = sum(lates[level + 1 : len(lates) - 1 - level])
        total += lag * variant.core_width * _share(variant, level)
    return total


def _frames_waiting(variant: Variant) -> float:
    """The same of frames, which are single precision whatever the network is."""
    late = variant.radius - variant.merge
    if not variant.merge:
        return 3 * late
    # The noise of frames, at half resolution; once they are merged frames, and what merging added to them.
    return 0.25 * variant.radius + 6 * late


def _shifts(variant: Variant) -> Iterator[float]:
    """Numbers for each pixel of the picture that each pair of shifts, past and future, keeps."""
    # Half of a frame for the shift from the past, a whole one for that from the future.
    pair = 1.5
    if variant.shifted_cabs:
        yield pair * variant.width * variant.shuffle**-2
        yield pair * variant.core_width * _share(variant, 0)
    climbing = zip(reversed(range(variant.levels - 1)), variant.decoder_blocks, strict=True)
    for level, blocks in (*enumerate(variant.encoder_blocks), *climbing):
        yield pair * (blocks * variant.steps // 2) * variant.core_width * _share(variant, level)


def _activations(variant: Variant, fused: bool) -> float:
    """Numbers for each pixel of the picture and frame of a run, at its peak, beyond those between runs and the input.

    The peak is in a gated block that joins what a shift at half resolution brought, on the way up: there are
    the most channels at the highest resolution of the core.
    """
    full = variant.width * variant.shuffle**-2
    core = variant.core_width * _share(variant, 0)
    # The two skips at full resolution, just put aside; what the core was given.
    around = 2 * full + full
    # What came from the level below; then what the shift blocks, the step and the gated block were given.
    given = core / 4 + 3 * core
    # The channels that arrived, aligned; joined to the others, and normalised; expanded, and depthwise. Fused, only
    # the aligned ones, those between two passes, and the result.
    core_block = (0.5 + 1 + 1 if fused else 0.5 + 2 * 1.5 + 2 * 2) * core
    # Wide networks take more where the first half of a skip is summed up: what is joined, four of it, and two sums.
    return max(around + given + core_block, 6 * full if fused else 0)


def _merging(variant: Variant, fused: bool, block: int) -> float:
    """Numbers for each pixel that merging takes at its peak, apart from what is kept; of the compiled kernels, few."""
    if fused or not variant.merge:
        return 0
    # Samples and pyramids of all frames in the window, and one frame's blocks with all that is made of them.
    return (2 * variant.merge + block) * (3 + 1.3125) + 176.5


def _share(variant: Variant, level: int) -> float:
    """Pixels of a core level for each pixel of the picture."""
    return (variant.shuffle << (level + 1)) ** -2
