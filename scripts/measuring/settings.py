"""What a benchmark is asked to measure."""

from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vsgshift.cli.options import size

if TYPE_CHECKING:
    import torch

    from measuring.networks import Subject
    from vsgshift.benchmark.cases import Case

HEIGHTS = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "2160p": (3840, 2160)}
"""Width and height of sizes that have a name."""
SMALL = (320, 180), (640, 360)
"""Where none are asked for: so small that a CPU is done in time."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Networks, sizes and how."""

    subjects: "tuple[Subject, ...]"
    folder: Path
    """For files that are needed on the way."""
    sizes: tuple[tuple[int, int], ...] = SMALL
    """Widths and heights."""
    device_id: int | None = None
    """Number of a GPU, -1 is the CPU; None a GPU, if any."""
    fp16: bool = False
    block: int = 4
    """Frames per run of the network."""
    seconds: float = 4.0
    """To measure each figure for, at least."""
    frames: int | None = None
    """Of a clip, where the benchmark has a clip."""
    rounds: int = 3
    against: Path | None = None
    """A checkout of the authors' repository."""
    quick: bool = False
    """Small enough to try the measurement itself; the figures are worthless."""
    failures: list[str] = field(default_factory=list)
    """Filled on the way: what gave no figures, and why."""

    @property
    def device(self) -> "torch.device":
        """Raises ValueError where there is no such device."""
        from vsgshift.plugin import devices

        return devices.choose(self.device_id)

    @property
    def dtype(self) -> "torch.dtype":
        import torch

        return torch.float16 if self.fp16 else torch.float32

    def case(self, subject: "Subject", size: tuple[int, int]) -> "Case":
        """For a process of its own."""
        from vsgshift.benchmark.cases import Case

        return Case(
            model=subject.source,
            width=size[0],
            height=size[1],
            how=self.choices,
            seconds=self.seconds,
        )

    @property
    def choices(self) -> dict[str, int | bool]:
        """The filters' arguments that say how to restore."""
        known = {"device_id": self.device_id, "block": self.block, "fp16": self.fp16}
        return {name: value for name, value in known.items() if value is not None}


def label(subject: "Subject", size: tuple[int, int]) -> str:
    """The name of a figure in reports."""
    return f"{subject.name} {size[0]}x{size[1]}"


def size_named(text: str) -> tuple[int, int]:
    """Width and height of `1080p` or `640x360`. Raises ValueError for anything else."""
    if text in HEIGHTS:
        return HEIGHTS[text]
    try:
        return size(text)
    except ArgumentTypeError as error:
        raise ValueError(f"{error}, or one of {', '.join(HEIGHTS)}") from error
