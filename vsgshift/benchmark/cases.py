"""One model at one size on one device, in a process of its own: so its memory is its own, and it can be given up.

python -m vsgshift.benchmark.cases '{"model": "tiny-deblur", "width": 320, "height": 180, ...}'
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from vsgshift.parameters import PARAMETERS
from vsgshift.processes import run

ENDLESS = 1_000_000
"""Frames; more than are ever asked for."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured."""

    model: str
    width: int
    height: int
    how: dict[str, Any] = field(default_factory=dict)
    """Arguments of the filter that say how to restore, by name; those that are left out have their defaults."""
    seconds: float = 4.0
    """To measure for, at least."""
    length: int | None = None
    """Frames of a clip that is restored whole, its start and end included; None for the middle of an endless one."""

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def block(self) -> int:
        """Frames per run of the network."""
        return int(self.how.get("block", PARAMETERS["block"].default))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured."""

    fps: float
    """Frames per second through VapourSynth, in a run through the clip."""
    frames: int
    """That were measured."""
    memory_mib: float
    """The most resident memory of the whole process, libraries included."""
    gpu_memory_mib: float | None
    """The most memory that torch held on the GPU; None on the CPU."""
    kind: str
    """cpu or cuda."""
    device: str
    """Its name."""
    threads: int
    """torch's, on the CPU."""


def measure_apart(case: Case, patience: float) -> Figures:
    """Measure a case in a process of its own, which may take that many seconds with the start of Python. Raises
    ProgramError."""
    command = [sys.executable, "-m", "vsgshift.benchmark.cases", json.dumps(asdict(case))]
    return Figures(**json.loads(run(command, timeout=patience)))


def measure(case: Case) -> Figures:
    """Measure a case in this process. Raises vapoursynth.Error where the plugin refuses."""
    import torch

    from vsgshift.benchmark.measures import blank, device_name, peak_resident, restored, steady_rate, whole_rate
    from vsgshift.plugin import devices
    from vsgshift.weights.store import find
    from vsgshift.weights.untrusted import metadata

    task = metadata(find(case.model))["task"]
    source = blank(case.width, case.height, case.length or ENDLESS)
    clip = restored(source, "deblur" if task == "deblur" else "denoise", model=case.model, **case.how)
    frames = clip.frames(close=True)
    if case.length is None:
        rate, count = steady_rate(frames, case.block, case.seconds)
    else:
        rate, count = whole_rate(frames)
    device = devices.choose(case.how.get("device_id"))
    cuda = device.type == "cuda"
    return Figures(
        fps=rate,
        frames=count,
        memory_mib=peak_resident(),
        gpu_memory_mib=torch.cuda.max_memory_reserved(device) / 2**20 if cuda else None,
        kind=device.type,
        device=device_name(device),
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measure(Case(**json.loads(sys.argv[1]))))) + "\n")
