"""`compare`: before and after, as a page with a slider, a picture, or a short film."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vsgshift.cli.options import (
    Commands,
    add_command,
    add_how,
    add_truth,
    add_what,
    filter_calls,
    seconds,
    stated,
    within,
)
from vsgshift.errors import CommandError

if TYPE_CHECKING:
    from vsgshift.video.compare.pairs import Moment

PICTURE, PAGES, FILMS = (".png",), (".html", ".htm"), (".mp4", ".mkv", ".webm", ".gif")
DESCRIPTION = """\
Show frames of a video before and after restoring, to choose how. The ending of the output says what is made:
a page for any browser, whole in one file (.html), with a line to drag over the frame, a part of it enlarged,
and the same part moving; a picture (.png); or a short film (.mp4, .mkv, .webm, .gif).

  vsgshift compare holiday.mp4                                    the middle, as holiday-compare.html
  vsgshift compare holiday.mp4 --sigma 4 8 16 auto --at 12 1:30   four levels, at two times
  vsgshift compare goal.mkv --deblur --at 120f -o goal.png        frame 120
  vsgshift compare goal.mkv --deblur --at 4.5 -o goal.gif --seconds 3
"""


def add(commands: Commands) -> None:
    """Enter the command."""
    comparer = add_command(
        commands,
        "compare",
        compare,
        help="show a video before and after: a page with a slider, a picture, or a short film",
        description=DESCRIPTION,
    )
    comparer.add_argument("source", type=Path, metavar="IN", help="the video file")
    comparer.add_argument(
        "--at",
        type=moment,
        nargs="+",
        action="extend",
        metavar="TIME",
        help="seconds, [h:]m:s, or a frame number as 120f; default: the middle",
    )
    comparer.add_argument(
        "-o", "--output", type=_output, metavar="FILE", help="default: IN's name with -compare.html, here; written over"
    )
    comparer.add_argument(
        "--seconds",
        type=within(0, 600),
        metavar="N",
        help="of a film, or of what moves on the page, around each time; default 4 and 1",
    )
    comparer.add_argument(
        "--place", type=point, metavar="X,Y", help="middle of the part that is enlarged on the page; default: found"
    )
    comparer.add_argument("--force", action="store_true", help="overwrite the output")
    add_what(comparer, levels=True)
    add_how(comparer)
    add_truth(comparer)


def compare(options: argparse.Namespace) -> int:
    """Restore the frames that are wanted, and show them."""
    levels = options.sigma or [None]
    if options.deblur and not options.denoise and options.sigma:
        levels = options.sigma[:1]
    versions = [filter_calls(argparse.Namespace(**{**vars(options), "sigma": level})) for level in levels]
    output = options.output or Path(f"{options.source.stem}-compare.html")
    if output.exists() and options.source.exists() and output.samefile(options.source):
        raise CommandError(f"{output} is the video itself")
    # Who chooses a level compares again and again: the page that has its own name gives way to the next.
    if output.exists() and options.output and not options.force:
        raise CommandError(f"{output} exists; --force overwrites it")
    if not output.parent.is_dir():
        raise CommandError(f"no such folder: {output.parent}")

    from vsgshift.video.compare import movie, page, sheet
    from vsgshift.video.compare.pairs import Comparison

    with Progress(options.source.name) as progress:
        truth = {"stated": stated(options), "progressive": options.progressive}
        video = Comparison(options.source, *versions, passed=progress.passed, **truth)
        numbers = [video.frame_of(moment) for moment in options.at or [None]]
        names = ["; ".join(map(str, filters)) for filters in versions]
        ending = output.suffix.lower()
        duration = (4.0 if ending in FILMS else 1.0) if options.seconds is None else options.seconds
        count = 1 if ending in PICTURE else max(round(duration * video.rate), 1)
        progress.total = len(numbers) * len(versions)
        written = f"frame {', '.join(map(str, numbers))}{'; open it in a browser' if ending in PAGES else ''}"
        try:
            if ending in FILMS:
                frames = movie.write(output, video, numbers, duration, ["Before", *names])
                written = f"{frames} frames"
            elif ending in PAGES:
                scenes = [
                    page.scene(video, number, movie.stretch(number, count, video.length), options.place)
                    for number in numbers
                ]
                progress.show(f"writing {output} ...")
                page.write(output, scenes, names, options.source.name, float(video.rate))
            else:
                pairs = [video.pair(number) for number in numbers]
                sheet.write(output, pairs, ["Before", *(f"After: {name}" for name in names)], options.source.name)
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error.strerror or error}") from error
    sys.stdout.write(f"{output}: {written}\n")
    for version in range(len(versions)):
        if words := video.noise(version):
            sys.stdout.write(f"{words}\n")
    return 0


class Progress:
    """A line on stderr, if that is a terminal, from the first second on; a context manager.

    ``total`` is how many times a stretch of the film is restored; 0 while the film is being opened.
    """

    def __init__(self, name: str) -> None:
        self.name, self.total, self.done, self.written = name, 0, 0.0, 0.0
        self.shown = sys.stderr.isatty()
        self.show(f"opening {name} ...")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def passed(self, share: float) -> None:
        """A share of a stretch was done; from any thread."""
        self.done += share
        if time.monotonic() - self.written > 0.2:
            self.written = time.monotonic()
            self.show(f"restoring {self.name}: {min(int(100 * self.done / max(self.total, 1)), 99)} %")

    def close(self) -> None:
        """Clear the line."""
        self.show("")
        self.shown = False

    def show(self, text: str) -> None:
        """Put something else into the line."""
        if self.shown:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()


def point(text: str) -> tuple[int, int]:
    """A pixel, as 640,360: across and down."""
    if not (match := re.fullmatch(r"(\d{1,5}),(\d{1,5})", text)):
        raise argparse.ArgumentTypeError(f"{text} is no place; give pixels across and down, as 640,360")
    return int(match[1]), int(match[2])


def moment(text: str) -> "Moment":
    """A time, or a frame number as 120f."""
    from vsgshift.video.compare.pairs import Moment

    if re.fullmatch(r"\d+f", text):
        return Moment(frame=int(text[:-1]))
    return Moment(seconds=seconds(text))


def _output(text: str) -> Path:
    known = (*PICTURE, *PAGES, *FILMS)
    if Path(text).suffix.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text} must end in one of {', '.join(known)}")
    return Path(text)
