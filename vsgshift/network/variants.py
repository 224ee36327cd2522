"""The members of the Shift-Net family, as data.

Source of the four published ones: Li et al., "A Simple Baseline for Video Restoration with Grouped
Spatial-temporal Shift", CVPR 2023 (Ours+ and Ours-s). ``tiny`` is ours: the same blocks on a
space-to-depth input, small enough for a CPU.
"""

from dataclasses import dataclass, replace
from typing import Literal

Task = Literal["deblur", "denoise"]


@dataclass(frozen=True, kw_only=True)
class AuthorsRun:
    """How the authors' program runs a network, which is how their published figures came about."""

    chunk: int = 96
    """Frames that a deblurring network restores at once, two of overlap on either side not counted."""
    half: bool = True
    """Half precision, else single."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Widths, depths and rules of one network."""

    name: str
    task: Task
    """Denoising networks take a noise map too."""
    width: int
    """Channels at the input's resolution (after space-to-depth, if there is one)."""
    core_width: int
    """Channels of the temporal core."""
    unet_step: int
    """Channels that each of the two lower levels of a frame-UNet has more than the one above."""
    unets: int
    """Frame-UNets in sequence, before the core and again after it."""
    steps: int
    """Shift steps in one shift block; they alternate past, future, past, ..."""
    encoder_cabs: tuple[int, ...]
    """Residual blocks per core level, from half resolution down."""
    encoder_blocks: tuple[int, ...]
    """Shift blocks per core level, from half resolution down; the last entry is the deepest level."""
    decoder_blocks: tuple[int, ...]
    """Shift blocks per core level on the way up, from the second deepest level to half resolution."""
    shifted_cabs: bool = False
    """Temporal shifts before two residual blocks at full and two at half resolution."""
    gate_group: int
    """Channels per group of the gated block's 5x5 and 3x3 convolutions."""
    reduction: int = 4
    """Reduction of every channel attention."""
    join: Literal["concatenate", "add"] = "concatenate"
    """How the core's upsampled output meets its full-resolution skip."""
    boundary: Literal["hold", "wrap"] = "hold"
    """What a shift gives the first and last frame of a clip: itself, or the clip's other end."""
    shuffle: int = 1
    """Space-to-depth factor at the input, depth-to-space at the output."""
    merge: int = 0
    """Frames on each side that are merged onto each frame before the network sees it (`vsgshift.network.merge`);
    with shuffle 2 only. The network then restores the merged frame."""
    authors: AuthorsRun | None = None
    """For the published networks."""

    @property
    def family(self) -> str:
        """What the networks of one size have in common, whatever their task: "tiny", "small" or "plus"."""
        return self.name.removeprefix(f"{self.task}-")

    @property
    def input_channels(self) -> int:
        """Channels of the network's input, after space-to-depth."""
        if self.merge:
            # The merged frame and the frame itself; the noise, and what is left of it in three parts.
            return 2 * 3 * self.shuffle**2 + 4
        return (4 if self.task == "denoise" else 3) * self.shuffle**2

    @property
    def levels(self) -> int:
        """Core levels below full resolution."""
        return len(self.encoder_blocks)

    @property
    def radius(self) -> int:
        """Frames on each side that a restored frame depends on: the number of shifts one way, and what is merged."""
        blocks = sum(self.encoder_blocks) + sum(self.decoder_blocks)
        return self.merge + blocks * self.steps // 2 + (2 if self.shifted_cabs else 0)

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        unet_levels = 2 if self.unets else 0
        return self.shuffle << max(self.levels, unet_levels)

    @property
    def grid(self) -> int:
        """A part of a picture is seen as in the whole if it begins at multiples of this many pixels."""
        # The merge's coarsest search has a vector for 16 pixels.
        return max(self.multiple, 16) if self.merge else self.multiple


TINY = Variant(
    name="deblur-tiny",
    task="deblur",
    width=16,
    core_width=48,
    unet_step=8,
    unets=0,
    steps=2,
    encoder_cabs=(0, 0),
    encoder_blocks=(1, 2),
    decoder_blocks=(2,),
    gate_group=1,
    shuffle=2,
)
SMALL = Variant(
    name="denoise-small",
    task="denoise",
    width=14,
    core_width=64,
    unet_step=4,
    unets=3,
    steps=4,
    encoder_cabs=(0, 0),
    encoder_blocks=(3, 6),
    decoder_blocks=(3,),
    gate_group=1,
    authors=AuthorsRun(),
)
PLUS = Variant(
    name="deblur-plus",
    task="deblur",
    width=24,
    core_width=80,
    unet_step=12,
    unets=5,
    steps=8,
    encoder_cabs=(2, 2, 2),
    encoder_blocks=(0, 0, 2),
    decoder_blocks=(2, 3),
    gate_group=8,
    authors=AuthorsRun(chunk=48),
)
# What merging brings from the neighbours, fewer shifts need to bring.
MERGING = replace(TINY, name="denoise-tiny", task="denoise", encoder_blocks=(0, 1), decoder_blocks=(1,), merge=8)

VARIANTS = {
    variant.name: variant
    for variant in (
        TINY,
        MERGING,
        replace(MERGING, name="denoise-fine", width=48),
        replace(SMALL, name="deblur-small", task="deblur", reduction=1, join="add", boundary="wrap"),
        SMALL,
        PLUS,
        replace(PLUS, name="denoise-plus", task="denoise", shifted_cabs=True, authors=AuthorsRun(half=False)),
    )
}
"""By name. All else that is said of a variant, such as its memory and its family, follows from its entry."""
PUBLISHED = tuple(variant for variant in VARIANTS.values() if variant.authors)
FAMILIES = tuple(dict.fromkeys(variant.family for variant in VARIANTS.values()))
"""From the smallest networks to the largest."""
