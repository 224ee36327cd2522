"""What a video file holds, as BestSource decodes it.

BestSource decodes the whole file once to know its frames, which can take minutes and cannot be
interrupted, and a broken file may bring its libraries down. So a process of its own does it.
"""

import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from vsgshift.video.programs import last_line
from vsgshift.video.restore.errors import RestoreError

LOOKS = 5
"""Frames that are looked at for interlacing, spread over the film."""
ERROR = "vsgshift: "
"""How a line of the child process begins that is meant for the user."""
UNKNOWN_RATE = Fraction(25)
"""Frames per second of a film that tells neither timestamps nor a rate."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A video track."""

    path: Path
    track: int
    """Index of the stream in the file."""
    width: int
    height: int
    format: str
    """VapourSynth's name, as YUV420P8."""
    family: str
    """YUV, RGB or GRAY."""
    bits: int
    is_float: bool
    fps: Fraction
    """The mean rate; 0 where the file tells none."""
    time_base: Fraction
    """Seconds for a tick of the timestamps."""
    timestamps: tuple[int, ...]
    """When each frame is shown, in ticks, increasing."""
    props: dict[str, Any]
    """Properties of the first frame."""
    interlaced: bool
    dynamic: bool
    """Whether frames carry dynamic HDR metadata: Dolby Vision or HDR10+."""

    @property
    def frames(self) -> int:
        """The number of frames."""
        return len(self.timestamps)

    def first_from(self, seconds: float) -> int:
        """The number of the first frame that is shown at a time, counted from the film's start, or later."""
        start = self.timestamps[0] * self.time_base
        # Half a millisecond of room: what a player shows as 1.000 may be 1.0004.
        limit = Fraction(seconds) + start - Fraction(1, 2000)
        return next((n for n, ticks in enumerate(self.timestamps) if ticks * self.time_base >= limit), self.frames)


def source_call(path: Path, track: int, index: Path) -> str:
    """BestSource's call for a video track, as written in a script, with the index kept in files named for ``index``."""
    # The picture stays as it is stored; how it is to be turned is written in the output, as in the input.
    return f"core.bs.VideoSource({str(path)!r}, track={track}, apply_rotation=0, cachemode=4, cachepath={str(index)!r})"


def probe(path: Path, track: int, index: Path) -> Source:
    """Open a video track and decode it once, which leaves an index for the script to use.

    Raises:
        RestoreError: BestSource is missing or too old, or cannot read it.
    """
    command = [sys.executable, "-m", "vsgshift.video.restore.probe", str(path), str(track), str(index)]
    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True)
    if child.returncode:
        said = last_line(child.stderr, child.returncode)
        if child.returncode == -signal.SIGBUS:
            said += "; does something else change the file, or is a disk full?"
        raise RestoreError(said.removeprefix(ERROR) if said.startswith(ERROR) else f"{path}: BestSource {said}")
    told = json.loads(child.stdout)
    time_base, fps = Fraction(*told.pop("time_base")), Fraction(*told.pop("fps"))
    stamps = told.pop("timestamps")
    if any(after <= before for before, after in pairwise(stamps)) or not stamps:
        # Bare streams have none, and some broken files have them out of order.
        rate = fps or UNKNOWN_RATE
        time_base, stamps = 1 / rate, range(told["frames"])
    del told["frames"]
    return Source(path=path, track=track, fps=fps, time_base=time_base, timestamps=tuple(stamps), **told)


def _look(path: str, track: int, index: str) -> dict[str, Any]:
    """What `probe` wants to know, in plain types."""
    import vapoursynth as vs

    core = vs.core
    if not hasattr(core, "gshift"):
        raise RestoreError("VapourSynth does not find the plugin; install it with: pip install '.[restore]'")
    if not hasattr(core, "bs"):
        raise RestoreError("BestSource is missing; install it with: pip install 'vapoursynth-bestsource>=22'")
    if "exporttimestamps" not in core.bs.VideoSource.signature:
        raise RestoreError("BestSource is too old; run: pip install --upgrade 'vapoursynth-bestsource>=22'")
    options: dict[str, Any] = {"track": track, "apply_rotation": 0, "cachemode": 4, "cachepath": index}
    try:
        told: Any = core.bs.VideoSource(path, exporttimestamps=1, **options)
        clip = told["clip"]
        numbers = sorted({clip.num_frames * look // LOOKS for look in range(LOOKS)})
        looks = [dict(clip.get_frame(number).props) for number in numbers]
    except vs.Error as error:
        raise RestoreError(f"{path}: BestSource cannot read it: {error}") from error
    if clip.format is None or not clip.width:
        raise RestoreError(f"{path}: its picture changes size or format midway; cut it there first")
    stamps = told.get("timestamps", [])
    # FFmpeg's "no timestamp" is the smallest number there is.
    stamps = [None if stamp == -(2**63) else stamp for stamp in ([stamps] if isinstance(stamps, int) else stamps)]
    return {
        "width": clip.width,
        "height": clip.height,
        "frames": clip.num_frames,
        "format": clip.format.name,
        "family": vs.ColorFamily(clip.format.color_family).name,
        "bits": clip.format.bits_per_sample,
        "is_float": clip.format.sample_type == vs.FLOAT,
        "fps": (clip.fps.numerator, clip.fps.denominator or 1),
        "time_base": (told.get("timebasenum", 1), told.get("timebaseden", 1)),
        "timestamps": stamps if None not in stamps else [],
        "props": {key: plain for key, value in looks[0].items() if (plain := _plain(value)) is not None},
        "dynamic": any(key.startswith(("DolbyVision", "HDR10Plus")) for look in looks for key in look),
        "interlaced": any(look.get("_FieldBased", 0) for look in looks),
    }


def _plain(value: Any) -> Any:
    """A frame property in types that JSON has; None for what is neither numbers nor text."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return None if None in parts else parts
    return None


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(_look(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
    except RestoreError as failure:
        sys.stderr.write(f"{ERROR}{failure}\n")
        raise SystemExit(1) from failure
