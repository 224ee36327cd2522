"""A short film: before on the left, after on the right of it."""

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

WIDEST = 3804
"""Pixels; with more, many players do without the graphics hardware."""
WIDEST_GIF = 960
"""Pixels of an animation for a web page, which compresses badly."""
ENCODERS = {
    ".mp4": ["-c:v", "libx264", "-crf", "14", "-preset", "slow", "-movflags", "+faststart", "-f", "mp4"],
    ".mkv": ["-c:v", "libx264", "-crf", "14", "-preset", "slow", "-f", "matroska"],
    ".webm": ["-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3", "-f", "webm"],
    ".gif": ["-loop", "0", "-f", "gif"],
}
"""By the ending of the file. The quality is high: the codec must not take the noise away on the left."""
TAGS = "colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
YUV = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,setparams={TAGS}", "-pix_fmt", "yuv420p"]
# Dithering would look like noise.
PALETTE = ["-filter_complex", "split[a][b];[a]palettegen[colours];[b][colours]paletteuse=dither=none"]


def write(file: Path, video: Comparison, numbers: Sequence[int], seconds: float, names: Sequence[str]) -> int:
    """Write the stretches of film around some frames, each in the middle of its stretch if the film allows; returns how
    many frames that are.

    Raises VsgshiftError if ffmpeg or Pillow is missing, ffmpeg refuses or a frame cannot be restored; OSError.
    """
    stretches = [stretch(number, round(seconds * video.rate), video.length) for number in numbers]
    pairs = chain.from_iterable(map(video.pairs, stretches))
    widest = WIDEST_GIF if file.suffix.lower() == ".gif" else WIDEST
    ending = file.suffix.lower()
    options = [*(PALETTE if ending == ".gif" else YUV), *ENCODERS[ending]]
    with atomic_write(file) as partial:
        encode(partial, _pictures(pairs, names, widest // len(names) - GAP), video.rate, options)
    return sum(map(len, stretches))


def stretch(middle: int, count: int, length: int) -> range:
    """``count`` frames around one, all of them within a clip of that length."""
    count = min(max(count, 1), length)
    start = min(max(middle - count // 2, 0), length - count)
    return range(start, start + count)


def _pictures(pairs: Iterable[Pair], names: Sequence[str], widest: int) -> Iterator[Picture]:
    """Frames of the film, of one size with even sides."""
    head = box = None
    for pair in pairs:
        height, width = pair.before.shape[:2]
        if head is None or box is None:
            # The whole height; of a wide frame the part around the most telling place. It must not jump.
            column = min(width, widest)
            box = most_telling(pair.before, pair.afters[0], (height, column))
            head = _beside([np.asarray(label(name, column)) for name in names])
        picture = np.concatenate([head, _beside([box.cut(each) for each in (pair.before, *pair.afters)])])
        yield np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")


def _beside(columns: Sequence[Picture]) -> Picture:
    gap = np.full((columns[0].shape[0], GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([columns[0], *(part for column in columns[1:] for part in (gap, column))], axis=1)


def encode(file: Path, pictures: Iterable[Picture], rate: Fraction, options: Sequence[str]) -> None:
    """Encode pictures, all of one size, by ffmpeg with these options. Raises VideoError."""
    frames = iter(pictures)
    first = next(frames)
    size = f"{first.shape[1]}x{first.shape[0]}"
    command = [find_ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    command += ["-r", f"{rate.numerator}/{rate.denominator}", "-i", "-", *options, str(file)]
    try:
        feed(command, (picture.tobytes() for picture in chain([first], frames)))
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error
