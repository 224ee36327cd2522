"""What a long run will take, said before it: speed, time, memory, and the noise that was measured."""

import json
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from vsgshift.analysis import Level, level_to_remove
from vsgshift.errors import ProgramError, TooSlowError
from vsgshift.processes import run
from vsgshift.video.clip import open_clip
from vsgshift.video.noise import noise_words
from vsgshift.video.restore.plan import Plan
from vsgshift.video.script import source_options
from vsgshift.video.times import clock

LONG = 60
"""Seconds of a run that is worth a word."""
SAMPLES = 9
"""Frames whose noise is measured."""
PATIENCE = 60
"""Seconds that measuring may take."""


def forecast(plan: Plan, pace: float, frames: int, memory: int) -> str:
    """A line for the user; of a short run it tells just the noise, if that is measured.

    ``pace`` are frames per second as measured, ``frames`` those still to be made, ``memory`` bytes that the work takes
    now (0 if the system does not say).
    """
    words = []
    seconds = frames / pace
    if seconds >= LONG:
        words.append(f"{frames} frames at {pace:.2g} frames/s will take {clock(seconds)}")
        if memory:
            words.append(f"{memory / 1e9:.1f} GB of memory")
    if any(call.task == "denoise" and "sigma" not in call.options for call in plan.job.filters):
        with suppress(ProgramError, TooSlowError):
            words.append(noise_words(_measured(plan), plan.source.path.name))
    return "; ".join(words)


def _measured(plan: Plan) -> list[tuple[Fraction, float]]:
    """Of some frames seconds into the film, and sigma on the 8-bit scale; by a process of its own as for `probe`."""
    source = plan.source
    given = [str(source.path), str(source.track), str(plan.index), str(plan.first), str(plan.stop)]
    given.append(json.dumps(plan.job.stated))
    answer = json.loads(run([sys.executable, "-m", __name__, *given], timeout=PATIENCE))
    return [(Fraction(at), float(sigma)) for at, sigma in answer]


def _answer(path: str, track: str, index: str, first: str, stop: str, said: str) -> list[tuple[str, float]]:
    opened = open_clip(Path(path), source_options(int(track), Path(index)), json.loads(said), progressive=True)
    clip = opened.node[int(first) : int(stop)]
    levels = clip.gshift.EstimateNoise()

    def sigma(number: int) -> float:
        props = levels.get_frame(number).props
        return level_to_remove([Level(float(props["GShiftSigma"]), float(props["GShiftSigmaConfidence"]))])

    numbers = sorted({clip.num_frames * (2 * sample + 1) // (2 * SAMPLES) for sample in range(SAMPLES)})
    return [(str(opened.times.seconds(int(first) + number)), sigma(number)) for number in numbers]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(*sys.argv[1:])))
