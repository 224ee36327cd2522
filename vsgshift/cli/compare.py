"""`compare`: before and after, as a picture, a page with a slider, or a short film."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vsgshift.cli.errors import CommandError
from vsgshift.cli.options import add_how, add_what, chosen_filters, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from vsgshift.cli import Commands
    from vsgshift.video.compare.pairs import Moment

PICTURE, PAGES, FILMS = (".png",), (".html", ".htm"), (".mp4", ".mkv", ".webm")
DESCRIPTION = """\
Show a frame of a video before and after restoring, side by side, with the place that tells most enlarged.
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
    comparer.set_defaults(run=compare, usage_error=comparer.error)
    comparer.add_argument("source", type=Path, metavar="IN", help="the video file")
    comparer.add_argument(
        "--at",
        type=_moment,
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
    chosen = chosen_filters(options)
    output = options.output or Path(f"{options.source.stem}-compare.png")
    if output.exists() and (not options.force or output.samefile(options.source)):
        what = "is the video itself" if options.force else "exists; --force overwrites it"
        raise CommandError(f"{output} {what}")
    if not output.parent.is_dir():
        raise CommandError(f"no such folder: {output.parent}")

    from vsgshift.video.compare import movie, page, sheet
    from vsgshift.video.compare.pairs import Filter, Video

    filters = [Filter(task=task, options=arguments) for task, arguments in chosen]
    video = Video(options.source, filters)
    numbers = [video.frame_of(moment) for moment in options.at or [None]]
    names = "Before", "After: " + "; ".join(map(str, filters))
    ending = output.suffix.lower()
    if ending in FILMS:
        frames = movie.write(output, video, numbers, options.seconds, names)
        sys.stdout.write(f"{output}: {frames} frames\n")
        return 0
    pairs = [pair for number in numbers for pair in video.pairs(range(number, number + 1))]
    if ending in PAGES:
        page.write(output, pairs, names[1], options.source.name)
    else:
        sheet.write(output, pairs, names, options.source.name)
    sys.stdout.write(f"{output}: frame {', '.join(str(pair.number) for pair in pairs)}\n")
    return 0


def _moment(text: str) -> "Moment":
    from vsgshift.video.compare.pairs import Moment

    return _or_refused(Moment.parse, text)


def _output(text: str) -> Path:
    known = (*PICTURE, *PAGES, *FILMS)
    if Path(text).suffix.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text} must end in one of {', '.join(known)}")
    return Path(text)


def _or_refused[T](parse: "Callable[[str], T]", text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
