"""What a long run will take, said before it: speed, time, memory, and the noise that was measured."""

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median

from vsgshift.errors import ProgramError, TooSlowError
from vsgshift.processes import run
from vsgshift.video.clip import open_clip
from vsgshift.video.restore.plan import Plan
from vsgshift.video.restore.progress import clock
from vsgshift.video.script import source_options

LONG = 60
"""Seconds of a run that is worth a word."""
SAMPLES = 5
"""Frames whose noise is measured."""
LITTLE = 1.0
"""A level below which nobody sees a difference."""
PATIENCE = 60
"""Seconds that measuring may take."""


def forecast(plan: Plan, pace: float, frames: int, memory: int) -> str:
    """A line for the user; empty for a short run.

    Args:
        plan: of the run.
        pace: frames per second, as measured.
        frames: that are still to be made.
        memory: bytes that the work takes now; 0 if the system does not tell.
    """
    seconds = frames / pace
    if seconds < LONG:
        return ""
    words = [f"{frames} frames at {pace:.2g} frames/s will take {clock(seconds)}"]
    if memory:
        words.append(f"{memory / 1e9:.1f} GB of memory")
    if any(call.task == "denoise" and "sigma" not in call.options for call in plan.job.filters):
        with suppress(ProgramError, TooSlowError):
            words.append(noise_words(_measured(plan), plan.source.path.name))
    return "; ".join(words)


def noise_words(sigma: float, name: str) -> str:
    """What was measured, and what to try if next to nothing will be changed."""
    if sigma >= LITTLE:
        return f"noise of sigma {sigma:.1f}"
    return (
        f"noise of sigma {sigma:.1f}, so next to nothing will change: "
        f"if there is noise to see, choose --sigma by vsgshift compare {shlex.quote(name)} --sigma 4 8 16 auto"
    )


def _measured(plan: Plan) -> float:
    """The median sigma of some frames, by a process of its own as for `probe`."""
    source = plan.source
    wanted = [str(source.path), str(source.track), str(plan.index), str(plan.first), str(plan.stop)]
    return float(json.loads(run([sys.executable, "-m", __name__, *wanted], timeout=PATIENCE)))


def _answer(path: str, track: str, index: str, first: str, stop: str) -> float:
    clip = open_clip(Path(path), source_options(int(track), Path(index))).node[int(first) : int(stop)]
    levels = clip.gshift.EstimateNoise()
    numbers = sorted({clip.num_frames * (2 * sample + 1) // (2 * SAMPLES) for sample in range(SAMPLES)})
    return median(float(levels.get_frame(number).props["GShiftSigma"]) for number in numbers)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(*sys.argv[1:])))
