"""What a video file holds, as BestSource decodes it.

BestSource decodes the whole file once to know its frames, which can take minutes and cannot be
interrupted, and a broken file may bring its libraries down. So a process of its own does it.
"""

import json
import math
import signal
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsgshift.errors import ProgramError, VideoError
from vsgshift.files import partial_name
from vsgshift.processes import run
from vsgshift.video.clip import open_clip
from vsgshift.video.script import source_options
from vsgshift.video.times import Times

ERROR = "vsgshift: "
"""How a line of the child process begins that is meant for the user."""


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
    """The rate that the file claims; 0 if it claims none."""
    times: Times
    """When its frames are shown."""
    props: dict[str, Any]
    """Properties of the first frame."""
    flagged: bool
    """Whether frames are flagged as fields, which do not look like it."""
    combed: int
    """How many of the frames examined look interlaced, but are not flagged."""
    combed_at: float
    """When the first of them is shown, in seconds."""
    alpha: bool
    """Whether it is transparent in places."""
    dynamic: bool
    """Whether frames carry dynamic HDR metadata: Dolby Vision or HDR10+."""

    @property
    def frames(self) -> int:
        """The number of frames."""
        return len(self.times.ticks)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def probe(path: Path, track: int, index: Path, stated: dict[str, int], *, progressive: bool) -> Source:
    """Open a video track, by its stream's index, and decode it once, which leaves an index for the script to use.

    ``stated`` properties hold instead of the file's; ``progressive``: its frames are not interlaced. Raises VideoError.
    """
    whole = Path(f"{index}.{track}.bsindex")
    # Where others may be at the same film, an index has the name that they look for once it is whole.
    own = index if whole.exists() else partial_name(index)
    command = [sys.executable, "-m", __name__, str(path), str(track), str(own), json.dumps([stated, progressive])]
    try:
        answer = json.loads(run(command))
        if own != index:
            Path(f"{own}.{track}.bsindex").replace(whole)
    except ProgramError as error:
        reason = str(error)
        if reason.startswith(ERROR):
            raise VideoError(reason.removeprefix(ERROR)) from None
        if sys.platform != "win32" and str(signal.strsignal(signal.SIGBUS)) in reason:
            reason += "; does something else change the file, or is a disk full?"
        raise VideoError(f"{path}: BestSource {reason}") from error
    times = Times(
        ticks=tuple(answer.pop("ticks")),
        time_base=Fraction(*answer.pop("time_base")),
        placed=answer.pop("placed"),
        stamped=answer.pop("stamped"),
        jumps=tuple(map(tuple, answer.pop("jumps"))),
    )
    return Source(path=path, track=track, fps=Fraction(*answer.pop("fps")), times=times, **answer)


def _answer(path: str, track: str, index: str, said: str) -> dict[str, Any]:
    """What `probe` asks for, in plain types."""
    import vapoursynth as vs

    stated, progressive = json.loads(said)
    options = source_options(int(track), Path(index))
    clip = open_clip(Path(path), options, stated, progressive=progressive, thorough=True)
    node = clip.node
    return {
        "width": node.width,
        "height": node.height,
        "format": node.format.name,
        "family": vs.ColorFamily(node.format.color_family).name,
        "bits": node.format.bits_per_sample,
        "is_float": node.format.sample_type == vs.FLOAT,
        "fps": (node.fps.numerator, node.fps.denominator or 1),
        "ticks": clip.times.ticks,
        "time_base": clip.times.time_base.as_integer_ratio(),
        "placed": clip.times.placed,
        "stamped": clip.times.stamped,
        "jumps": clip.times.jumps,
        "props": {key: plain for key, value in clip.props.items() if (plain := _plain(value)) is not None},
        "flagged": bool(clip.fields.flagged),
        "combed": len(clip.fields.combed),
        "combed_at": float(clip.times.seconds(clip.fields.combed[0])) if clip.fields.combed else 0.0,
        "alpha": "_Alpha" in clip.props,
        "dynamic": any(key.startswith(("DolbyVision", "HDR10Plus")) for props in clip.sampled for key in props),
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
        items = [_plain(item) for item in value]
        return None if None in items else items
    return None


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(_answer(*sys.argv[1:])))
    except VideoError as failure:
        sys.stderr.write(f"{ERROR}{failure}\n")
        raise SystemExit(1) from failure
