"""A short film: before on the left, after on the right."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from vsgshift.errors import ProgramError, VideoError
from vsgshift.files import atomic_write
from vsgshift.processes import feed
from vsgshift.video.compare.pairs import Comparison, Pair, Picture
from vsgshift.video.compare.region import most_telling
from vsgshift.video.compare.sheet import BACKGROUND, GAP, label
from vsgshift.video.programs import find_ffmpeg

WIDEST = 1896
"""Pixels of a half; with more, many players do without the graphics hardware."""
ENCODERS = {
    ".mp4": ["-c:v", "libx264", "-crf", "14", "-preset", "slow", "-movflags", "+faststart", "-f", "mp4"],
    ".mkv": ["-c:v", "libx264", "-crf", "14", "-preset", "slow", "-f", "matroska"],
    ".webm": ["-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3", "-f", "webm"],
}
"""By the ending of the file. The quality is high: the codec must not take the noise away on the left."""
TAGS = "colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"


def write(file: Path, video: Comparison, numbers: Sequence[int], seconds: float, names: tuple[str, str]) -> int:
    """Write the stretches of film around some frames; returns how many frames that are.

    Args:
        file: its ending chooses the encoder, see `ENCODERS`.
        numbers: of the frames, each in the middle of its stretch if the film allows.
        seconds: length of each stretch.
        names: what stands above the left and the right half.

    Raises:
        MissingProgramError: ffmpeg is missing.
        VideoError: Pillow is missing, ffmpeg refuses, or a frame cannot be restored.
        OSError: the file cannot be written.
    """
    stretches = [stretch(number, round(seconds * video.rate), video.length) for number in numbers]
    pairs = chain.from_iterable(map(video.pairs, stretches))
    _encode(file, _pictures(pairs, names), video.rate)
    return sum(map(len, stretches))


def stretch(middle: int, count: int, length: int) -> range:
    """``count`` frames around one, all of them within a clip of that length."""
    count = min(max(count, 1), length)
    start = min(max(middle - count // 2, 0), length - count)
    return range(start, start + count)


def _pictures(pairs: Iterable[Pair], names: tuple[str, str]) -> Iterator[Picture]:
    """Frames of the film, of one size with even sides."""
    head = box = None
    for pair in pairs:
        height, width = pair.before.shape[:2]
        if head is None or box is None:
            # The whole height; of a wide frame the part around the most telling place. It must not jump.
            half = min(width, WIDEST)
            box = most_telling(pair.before, pair.after, (height, half))
            strips = [np.asarray(label(name, half)) for name in names]
            head = _beside(strips[0], strips[1])
        picture = np.concatenate([head, _beside(box.cut(pair.before), box.cut(pair.after))])
        yield np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")


def _beside(left: Picture, right: Picture) -> Picture:
    gap = np.full((left.shape[0], GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def _encode(file: Path, pictures: Iterator[Picture], rate: Fraction) -> None:
    first = next(pictures)
    size = f"{first.shape[1]}x{first.shape[0]}"
    command = [find_ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    command += ["-r", f"{rate.numerator}/{rate.denominator}", "-i", "-"]
    command += ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,setparams={TAGS}", "-pix_fmt", "yuv420p"]
    command += ENCODERS[file.suffix.lower()]
    try:
        with atomic_write(file) as partial:
            feed([*command, str(partial)], (picture.tobytes() for picture in chain([first], pictures)))
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error
