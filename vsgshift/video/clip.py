"""Opening a file of video as a VapourSynth clip, and what is said if that fails."""

import logging
import os
import shlex
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from vsgshift.errors import VideoError
from vsgshift.h273 import PROPERTIES, UNSPECIFIED, usual_matrix
from vsgshift.video.fields import Fields, examine
from vsgshift.video.times import Times, complete

SAMPLES = 5
"""Frames, spread over the film, whose properties are read."""
NO_TIME = -(2**63)
"""FFmpeg's timestamp of a frame that has none."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video track, opened."""

    node: Any
    """VapourSynth's, of constant format and size, progressive."""
    props: dict[str, Any]
    """Properties of the first frame."""
    sampled: list[dict[str, Any]]
    """Properties of some frames that are spread over the film."""
    times: Times
    """When its frames are shown."""
    fields: Fields
    """What was seen of fields, none of which is interlaced."""


def open_clip(
    file: Path,
    options: dict[str, Any] | None = None,
    stated: dict[str, int] | None = None,
    *,
    progressive: bool = False,
    thorough: bool = False,
) -> Clip:
    """Open a file.

    Args:
        options: BestSource's; without any, the first track, turned as its rotation says, and an index in memory, so
            that nothing is left next to the user's files.
        stated: frame properties that hold instead of the file's.
        progressive: frames are not interlaced, whatever they look like.
        thorough: look for fields all over the film, not only in a few frames.

    Raises:
        VideoError: it cannot be read, its format or size varies, it is interlaced, what it says of its colours cannot
            be, or a plugin is missing.
    """
    check_file(file)
    vs = _vapoursynth()
    arguments = {"cachemode": 0} if options is None else options
    try:
        logging.getLogger("vapoursynth").addFilter(_is_news)
        opened = vs.core.bs.VideoSource(str(file.absolute()), exporttimestamps=1, **arguments)
        node = opened["clip"]
        if stated:
            node = node.std.SetFrameProps(**stated)
        numbers = sorted({node.num_frames * sample // SAMPLES for sample in range(SAMPLES)})
        sampled = [dict(node.get_frame(number).props) for number in numbers]
    except vs.Error as error:
        raise VideoError(f"{file}: no video that BestSource can read: {error}") from error
    if node.format is None or node.format.color_family == vs.UNDEFINED or not node.width:
        raise VideoError(f"{file}: its format or size changes midway; cut it there first")
    fields = Fields()
    if not progressive:
        flagged = [number for number, props in zip(numbers, sampled, strict=True) if props.get("_FieldBased", 0)]
        fields = examine(node, None if thorough else flagged)
    times = _times(opened, node, _jumps(file))
    if fields.interlaced:
        first, last = (float(times.seconds(fields.interlaced[end])) for end in (0, -1))
        where = "" if len(fields.flagged) == fields.examined else f" at {first:.1f} to {last:.1f} s"
        raise VideoError(
            f"{file} is interlaced{where}; deinterlace it first, as with: ffmpeg -i {shlex.quote(str(file))} "
            "-map 0 -map -0:d? -c copy -c:v:0 ffv1 -filter:v:0 bwdif=send_frame progressive.mkv"
        )
    clip = Clip(node=node.std.SetFieldBased(0), props=sampled[0], sampled=sampled, times=times, fields=fields)
    try:
        to_rgb(clip, clip.node, vs.RGBS).get_frame(0).close()
    except vs.Error as error:
        said = ", ".join(f"{name} {clip.props.get(prop, UNSPECIFIED)}" for name, prop in list(PROPERTIES.items())[:3])
        advice = "state the true ones with --matrix, --primaries and --transfer"
        raise VideoError(f"{file}: its colours are not known or contradict each other ({said}); {advice}") from error
    return clip


def _is_news(record: logging.LogRecord) -> bool:
    """Whether VapourSynth logs anything else than that BestSource has not declared that it returns times."""
    return "no return value(s) named timebaseden" not in record.getMessage()


def _times(opened: dict[str, Any], node: Any, is_jump: Callable[[Fraction, Fraction], bool]) -> Times:
    """When frames are shown, from what BestSource says."""
    stamps = opened.get("timestamps", [])
    stamps = [stamps] if isinstance(stamps, int) else list(stamps)
    return complete(
        [None if stamp == NO_TIME else stamp for stamp in stamps],
        Fraction(opened.get("timebasenum", 1), opened.get("timebaseden", 1)),
        Fraction(node.fps),
        is_jump,
    )


def _jumps(file: Path) -> Callable[[Fraction, Fraction], bool]:
    """Tells whether a film's clock jumps between two times in seconds, where its picture has none: in a stream of a
    broadcast it may, and does if there is no sound in between either."""

    @cache
    def heard() -> list[Fraction]:
        """When the film's sound is heard, in order; none of other kinds of file."""
        try:
            import av
            from av.format import Flags
        except ImportError:  # what the pictures of `compare` need brings no PyAV
            return []
        with av.open(str(file)) as film:
            if not (Flags.ts_discont in Flags(film.format.flags) and film.streams.audio):
                return []
            stamps = [(packet.pts, packet.time_base) for packet in film.demux(film.streams.audio)]
            return sorted(stamp * Fraction(str(base)) for stamp, base in stamps if stamp is not None)

    return lambda before, after: bool(heard()) and bisect(heard(), before + 1) == bisect(heard(), after - 1)


def check_file(path: Path) -> None:
    """Raise VideoError for a path that no reader can open: a folder, nothing, an empty file, or one that may not be
    read."""
    check_name(path)
    if path.is_dir():
        raise VideoError(f"{path} is a folder; give a video file")
    if not path.exists():
        raise VideoError(f"no such file: {path}")
    if not path.is_file():
        raise VideoError(f"{path} is not a file; give a video file")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty")


def check_name(path: Path) -> None:
    """Raise VideoError for a name that VapourSynth cannot open."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise VideoError(f"{shown}: VapourSynth opens only names in UTF-8; rename the file or its folder") from error


def to_rgb(clip: Clip, node: Any, format: int, size: tuple[int, int] | None = None) -> Any:
    """A clip in RGB, by its own matrix or the usual one of its size; ``node`` is the clip's, or was made of it."""
    import vapoursynth as vs

    matrix = None
    if node.format.color_family == vs.YUV:
        matrix = clip.props.get("_Matrix", UNSPECIFIED)
        if matrix == UNSPECIFIED:
            matrix = usual_matrix(node.width, node.height)
    width, height = size or (node.width, node.height)
    return node.resize.Bicubic(width, height, format=format, matrix_in=matrix)


def _vapoursynth() -> Any:
    """The module, with the plugins that are needed. Raises VideoError."""
    try:
        import vapoursynth as vs
    except ImportError as error:
        raise VideoError(f"VapourSynth does not work ({error}); run: vsgshift doctor") from error
    if not hasattr(vs.core, "gshift"):
        raise VideoError("VapourSynth does not find the plugin of vsgshift; run: vsgshift doctor")
    if not hasattr(vs.core, "bs"):
        raise VideoError("BestSource is missing; install it with: pip install 'vapoursynth-bestsource>=22'")
    if "exporttimestamps" not in vs.core.bs.VideoSource.signature:
        raise VideoError("BestSource is too old; run: pip install --upgrade 'vapoursynth-bestsource>=22'")
    return vs
