"""The plugin as an encoder sees it: frames of Y4M read from the pipe of a running vspipe."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vsgshift.benchmark.cases import ENDLESS, Case
from vsgshift.benchmark.measures import SIGMA, steady_rate
from vsgshift.errors import ProgramError, TooSlowError
from vsgshift.network.variants import Task
from vsgshift.video.programs import find_vspipe

SCRIPT = """
import vapoursynth as vs

clip = vs.core.std.BlankClip(width={width}, height={height}, format=vs.YUV420P8, length={length}, keep=True)
vs.core.gshift.{function}(clip, {options}).set_output()
"""


@dataclass(frozen=True, kw_only=True)
class PipeFigures:
    """What came out of the pipe: YUV420P8, so conversion both ways is part of it."""

    fps: float
    """Frames per second once all is warm."""
    frames: int
    """That were measured."""
    first_s: float
    """Seconds from the start of the program to its first frame."""
    memory_mib: float
    """The most resident memory of the program."""


def measure_vspipe(case: Case, task: Task, patience: float = 600.0) -> PipeFigures:
    """Run vspipe over an endless clip for as long as is needed, then end it.

    Args:
        case: what to measure; `model` may be a file.
        patience: seconds that it may take.

    Raises:
        TooSlowError: no figures within the time.
        ProgramError: vspipe ended; with the last line it said.
        MissingProgramError: there is no vspipe.
    """
    width, height = (side + side % 2 for side in (case.width, case.height))  # YUV420 has no odd sizes
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "benchmark.vpy")
        script.write_text(
            SCRIPT.format(
                width=width, height=height, length=ENDLESS, function=task.capitalize(), options=_options(case, task)
            )
        )
        with Path(folder, "said").open("w+b") as said:
            started = time.perf_counter()
            vspipe = subprocess.Popen(
                [find_vspipe(), "-c", "y4m", str(script), "-"], stdout=subprocess.PIPE, stderr=said
            )
            limit = threading.Timer(patience, vspipe.kill)
            limit.start()
            try:
                frames = _frames(vspipe, width * height * 3 // 2, started + patience, said)
                next(frames)
                first = time.perf_counter() - started
                rate, count = steady_rate(frames, case.block, case.seconds)
            finally:
                limit.cancel()
                memory = _ended(vspipe)
    return PipeFigures(fps=rate, frames=count, first_s=first, memory_mib=memory)


def _options(case: Case, task: Task) -> str:
    known = {**case.how, "model": case.model}
    if task == "denoise":
        known["sigma"] = SIGMA
    return ", ".join(f"{name}={value!r}" for name, value in known.items())


def _frames(vspipe: "subprocess.Popen[bytes]", size: int, end: float, said: IO[bytes]) -> Iterator[int]:
    """A number for each frame that has been read whole."""
    pipe = vspipe.stdout
    assert pipe
    header = pipe.readline()
    while True:
        if not header or not pipe.readline() or len(pipe.read(size)) < size:
            vspipe.wait()
            if time.perf_counter() >= end:
                raise TooSlowError("vspipe took longer than it might")
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or ["vspipe ended without a word"]
            raise ProgramError(lines[-1])
        yield size


def _ended(vspipe: "subprocess.Popen[bytes]") -> float:
    """End the program; the most resident memory that it had, MiB."""
    assert vspipe.stdout
    if vspipe.returncode is None:
        vspipe.kill()
    vspipe.stdout.close()
    if vspipe.returncode is None:
        # Popen's own wait would throw the figures away.
        _, status, usage = os.wait4(vspipe.pid, 0)
        vspipe.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss / 2**10
    return 0.0
