"""Restoring a video file: `restore`."""

import argparse
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from vsgshift.cli.options import (
    Commands,
    add_command,
    add_how,
    add_truth,
    add_what,
    count,
    filter_calls,
    require,
    seconds,
    stated,
)
from vsgshift.errors import VsgshiftError

if TYPE_CHECKING:
    from vsgshift.video.restore.job import Job, Result

DESCRIPTION = """\
Remove noise or motion blur from a video file. Sound, subtitles, chapters, timestamps (a variable frame
rate too), colour tags, HDR10 metadata, rotation and sample aspect ratio are carried over.

  vsgshift restore holiday.mp4 clean.mp4                    remove the noise that is measured in the film
  vsgshift restore holiday.mp4 clean.mp4 --end 10           the same, to try it on ten seconds
  vsgshift restore goal.mkv sharp.mkv --deblur              remove motion blur
  vsgshift restore goal.mkv sharp.mkv --deblur --resume     go on where that was stopped
"""
EPILOG = """\
With both --denoise and --deblur the noise is removed first, since the camera added it last. What is
finished is kept in OUT.parts until OUT is complete. Models: vsgshift models.
"""
if sys.platform == "win32":
    SESSION_ENDS = signal.SIGBREAK
else:
    SESSION_ENDS = signal.SIGHUP


def add(commands: Commands) -> None:
    """Enter the command."""
    restorer = add_command(
        commands,
        "restore",
        restore,
        help="remove noise or motion blur from a video file",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    restorer.add_argument("source", type=Path, metavar="IN", help="the video file")
    restorer.add_argument("output", type=Path, metavar="OUT", help="the file to write: .mkv, .mp4, .mov or .webm")

    add_what(restorer)
    add_how(restorer)
    stretch = restorer.add_argument_group("of which stretch")
    stretch.add_argument("--start", type=seconds, metavar="TIME", help="begin here: seconds, or [H:]M:S")
    stretch.add_argument("--end", type=seconds, metavar="TIME", help="stop here")

    add_truth(restorer)
    into = restorer.add_argument_group("how it is written")
    into.add_argument("--codec", help="ffmpeg's encoder; default: libx264, libx265 above 8 bits, libvpx-vp9 in .webm")
    into.add_argument("--crf", type=float, metavar="Q", help="quality, lower is better; default 16 with libx264")
    into.add_argument("--preset", help="of the encoder, for example slow")
    into.add_argument(
        "--ffmpeg-options", type=_words, default=(), metavar="WORDS", help="further ones, in one argument"
    )
    into.add_argument("--no-audio", action="store_true", help="leave out the sound")
    into.add_argument("--no-subtitles", action="store_true", help="leave out subtitles")

    order = restorer.add_argument_group("going about it")
    order.add_argument("--dry-run", action="store_true", help="print the script and the ffmpeg command, write nothing")
    order.add_argument("--resume", action="store_true", help="go on where an earlier run was stopped, if there was one")
    order.add_argument(
        "--part", type=count, metavar="N", help="frames that a stopped run may lose; default: what takes a minute"
    )
    shared = restorer.add_argument_group("sharing it between machines that see the same folder")
    which = shared.add_mutually_exclusive_group()
    which.add_argument(
        "--stretch", type=_stretch, metavar="K/N", help="make the Kth of N stretches, beside runs that make the others"
    )
    which.add_argument(
        "--cluster", metavar="ADDRESS", help="have it made by a Ray cluster; local: one process a card of this machine"
    )
    which.add_argument("--join", action="store_true", help="make OUT of what such runs have made")
    shared.add_argument(
        "--mixed", action="store_true", help="allow machines that differ in what frames depend on, as torch or ffmpeg"
    )
    order.add_argument("--force", action="store_true", help="overwrite OUT; without --resume, start over")


def restore(options: argparse.Namespace) -> int:
    """Restore the file, or print what would be run."""
    filters = filter_calls(options)
    if options.start is not None and options.end is not None and options.start >= options.end:
        options.usage_error("--start must lie before --end")
    require("restore", "av", "tqdm")
    if options.cluster:
        require("cluster", "ray")
    from vsgshift.video.encoder import Encoding
    from vsgshift.video.restore.job import Job, commands, is_finished
    from vsgshift.video.restore.job import restore as run
    from vsgshift.video.restore.parts import parts_folder

    job = Job(
        source=options.source.absolute(),
        # A link stays one: what it leads to is written.
        output=Path(os.path.realpath(options.output)) if options.output.is_symlink() else options.output.absolute(),
        filters=filters,
        encoding=Encoding(codec=options.codec, crf=options.crf, preset=options.preset, options=options.ffmpeg_options),
        start=options.start,
        end=options.end,
        progressive=options.progressive,
        stated=stated(options),
        audio=not options.no_audio,
        subtitles=not options.no_subtitles,
        part=options.part,
        stretch=options.stretch,
        join=options.join,
        cluster=options.cluster,
        mixed=options.mixed,
        force=options.force,
        resume=options.resume or options.stretch is not None,
        remark=_remark,
    )
    if job.resume and is_finished(job):
        sys.stdout.write(f"{job.output} is finished; nothing is left to do\n")
        return 0
    with _stopped_by_signals():
        if options.dry_run:
            sys.stdout.write(commands(job))
            return 0
        if sys.stderr.isatty():
            # Long films take minutes to read through; the bar will take this line's place.
            sys.stderr.write(f"looking at {job.source.name} ...\r")
        try:
            result = run(job)
        except (KeyboardInterrupt, VsgshiftError):
            if parts_folder(job.output).exists():
                options.when_interrupted = "; what is finished is kept; the same command with --resume goes on"
            raise
    sys.stdout.write(_summary(job, result))
    return 0


def _remark(text: str) -> None:
    sys.stderr.write(f"vsgshift: note: {text}\n")


def _summary(job: "Job", result: "Result") -> str:
    rate = f", {result.made / result.seconds:.1f} frames/s" if result.made and result.seconds else ""
    memory = f", {result.peak / 1e9:.1f} GB of memory" if result.peak else ""
    what = f"{result.frames} frames"
    if job.stretch:
        what = f"{result.made} frames of stretch {job.stretch[0]}/{job.stretch[1]}"
    return f"{job.output}: {what} in {result.seconds:.0f} s{rate}{memory}\n"


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let the end of the session, or of the machine, stop the work as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, SESSION_ENDS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stretch(text: str) -> tuple[int, int]:
    found = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text} is no stretch; give its number and how many there are, as 3/10")
    return int(found[1]), int(found[2])


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {str(error).lower()}") from error
