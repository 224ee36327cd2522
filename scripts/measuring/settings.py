"""What a benchmark is asked to measure."""

import traceback
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsgshift.cli.options import size

if TYPE_CHECKING:
    import torch

    from measuring.networks import Subject
    from vsgshift.benchmark.cases import Case

HEIGHTS = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "2160p": (3840, 2160)}
"""Width and height of sizes that have a name."""
SMALL = (320, 180), (640, 360)
"""By default: so small that a CPU is done in time."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Networks, sizes and how."""

    subjects: "tuple[Subject, ...]"
    folder: Path
    """For temporary files."""
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
    """Of a clip, if the benchmark has a clip."""
    rounds: int = 3
    against: Path | None = None
    """A checkout of the authors' repository."""
    quick: bool = False
    """Small enough to try the measurement itself; the figures are worthless."""
    result: dict[str, Any] = field(default_factory=dict)
    """Filled on the way: figures by name."""
    failures: list[str] = field(default_factory=list)
    """Filled on the way: what gave no figures, and why."""
    traceback: list[str] = field(default_factory=list)
    """That of the first failure that is an exception, in lines."""
    changed: Callable[[], object] = lambda: None
    """Called after each change of these."""

    def add(self, name: str, figures: Any) -> None:
        """Take figures into the result."""
        self.result[name] = figures
        self.changed()

    def fail(self, name: str, error: Exception) -> str:
        """Take an exception among the failures; the reason, in one line."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self.failures.append(f"{name}: {reason}")
        if not self.traceback:
            self.traceback.extend("".join(traceback.format_exception(error)).splitlines())
        self.changed()
        return reason

    def attempt[*Given](self, name: str, measure: "Callable[[Settings, *Given], Any]", *given: *Given) -> Any:
        """What a measurement gives, or as `missing` why it gives nothing: the others are measured all the same."""
        try:
            return measure(self, *given)
        except Exception as error:
            return {"missing": self.fail(name, error)}

    def each(self, measure: "Callable[[Settings, Subject, tuple[int, int]], Any]") -> dict[str, Any]:
        """Measure every network at every size, width and height; the figures by their labels."""
        for subject in self.subjects:
            for each in self.sizes:
                name = label(subject, each)
                self.add(name, self.attempt(name, measure, subject, each))
        return self.result

    @property
    def device(self) -> "torch.device":
        """Raises ValueError if there is no such device."""
        from vsgshift.plugin import devices

        return devices.choose(self.device_id)

    @property
    def dtype(self) -> "torch.dtype":
        import torch

        return torch.float16 if self.fp16 else torch.float32

    def case(self, subject: "Subject", size: tuple[int, int]) -> "Case":
        """For a process of its own."""
        from vsgshift.benchmark.cases import Case

        return Case(model=subject.source, width=size[0], height=size[1], how=self.choices, seconds=self.seconds)

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
