"""`compare`: before and after, as a picture, a page with a slider, or a short film."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vsgshift.cli.options import add_how, add_what, filter_calls, seconds, within
from vsgshift.errors import CommandError

if TYPE_CHECKING:
    from vsgshift.cli import Commands
    from vsgshift.video.compare.pairs import Moment

PICTURE, PAGES, FILMS = (".png",), (".html", ".htm"), (".mp4", ".mkv", ".webm")
DESCRIPTION = """\
Show a frame of a video before and after restoring, side by side, with the most telling region enlarged.
The ending of the output chooses what is made: a picture (.png), a page with a line to drag for any
browser, whole in one file (.html), or a short film (.mp4, .mkv, .webm).

  vsgshift compare holiday.mp4                                    the middle, as holiday-compare.png
  vsgshift compare holiday.mp4 --sigma 8 --at 12 1:30 -o two.html
  vsgshift compare goal.mkv --deblur --at 120f -o goal.png        frame 120
  vsgshift compare goal.mkv --deblur --at 4.5 -o goal.mp4 --seconds 3
"""


def add(commands: "Commands") -> None:
    """Enter the command."""
    comparer = commands.add_parser(
        "compare",
        help="show a video before and after: a picture, a page with a slider, or a short film",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    comparer.set_defaults(run=compare)
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
        "-o", "--output", type=_output, metavar="FILE", help="default: IN's name with -compare.png, in this folder"
    )
    comparer.add_argument(
        "--seconds", type=within(0, 600), default=4.0, metavar="N", help="of a film, around each time; default 4"
    )
    comparer.add_argument("--force", action="store_true", help="overwrite the output")
    add_what(comparer)
    add_how(comparer)


def compare(options: argparse.Namespace) -> int:
    """Restore the frames that are wanted, and show them."""
    filters = filter_calls(options)
    output = options.output or Path(f"{options.source.stem}-compare.png")
    if output.exists() and (not options.force or output.samefile(options.source)):
        what = "is the video itself" if options.force else "exists; --force overwrites it"
        raise CommandError(f"{output} {what}")
    if not output.parent.is_dir():
        raise CommandError(f"no such folder: {output.parent}")

    from vsgshift.video.compare import movie, page, sheet
    from vsgshift.video.compare.pairs import Comparison

    video = Comparison(options.source, filters)
    numbers = [video.frame_of(moment) for moment in options.at or [None]]
    names = "Before", "After: " + "; ".join(map(str, filters))
    ending = output.suffix.lower()
    try:
        if ending in FILMS:
            frames = movie.write(output, video, numbers, options.seconds, names)
            sys.stdout.write(f"{output}: {frames} frames\n")
            return 0
        pairs = [pair for number in numbers for pair in video.pairs(range(number, number + 1))]
        if ending in PAGES:
            page.write(output, pairs, names[1], options.source.name)
        else:
            sheet.write(output, pairs, names, options.source.name)
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror or error}") from error
    sys.stdout.write(f"{output}: frame {', '.join(str(pair.number) for pair in pairs)}\n")
    return 0


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
