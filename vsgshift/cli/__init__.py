"""The command line: `vsgshift`, and `python -m vsgshift`.

Each subject is a module with a function `add`, which enters its commands in the parser, and a function for each
command, which takes the parsed options and returns the exit status. What takes long to import (torch, VapourSynth) is
imported by those functions: arguments are checked before.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from vsgshift.cli import benchmark, compare, demo, doctor, export, models, restore
from vsgshift.cli.options import Commands
from vsgshift.errors import VsgshiftError

DESCRIPTION = """\
Remove noise and motion blur from video with Shift-Net.

  vsgshift demo                             see it work; needs no file
  vsgshift compare holiday.mp4              a page of the film before and after, to choose a level
  vsgshift restore holiday.mp4 clean.mp4    the whole film
  vsgshift doctor                           what is wrong with the installation, and what to do
"""
SUBJECTS: tuple[Callable[[Commands], None], ...] = (
    demo.add,
    restore.add,
    compare.add,
    models.add,
    export.add,
    doctor.add,
    benchmark.add,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    That is 0, 1 after an error, 2 for wrong arguments, 130 when stopped, 141 when no one reads the output any more.
    """
    try:
        try:
            return _run(arguments)
        finally:
            # Here, not when Python ends: whoever read the output may be gone, as in `vsgshift models | head -1`.
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written at the end must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        parser().print_help()
        return 0
    options = _parsed(words)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        sys.stderr.write(f"vsgshift: interrupted{options.when_interrupted}\n")
        return 130
    except VsgshiftError as error:
        sys.stderr.write(f"vsgshift: {error}\n")
    except OSError as error:
        # Errors of the system, such as a full disk.
        sys.stderr.write(f"vsgshift: {error.filename or 'error'}: {error.strerror or error}\n")
    return 1


def _parsed(words: list[str]) -> argparse.Namespace:
    """The options; ends the program over wrong ones, with what may have been meant."""
    whole = parser()
    commands = _commands(whole)
    if not words[0].startswith("-") and words[0] not in commands:
        advice = _meant(words[0], commands) or f"; there are: {', '.join(commands)}"
        if Path(words[0]).is_file():
            advice = f"; to restore that file: vsgshift restore {words[0]} OUT"
        whole.error(f"there is no command {words[0]!r}{advice}")
    options, unknown = whole.parse_known_args(words)
    if unknown:
        command = commands[options.command]
        flag = unknown[0].partition("=")[0]
        known = [name for action in command._actions for name in action.option_strings]
        what = f"there is no option {flag}" if flag.startswith("-") else f"{flag!r} is one argument too many"
        command.error(f"{what}{_meant(flag, known)}")
    return options


def _meant(word: str, known: Iterable[str]) -> str:
    """A question for whoever wrote a word that is nearly one of those known; else nothing."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _commands(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands' parsers, by name."""
    actions = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(actions).choices)


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser(
        prog="vsgshift",
        description=DESCRIPTION,
        epilog="`vsgshift COMMAND --help` has more on each. Models are kept in $VSGSHIFT_MODELS, else in the user's\n"
        "data folder (~/.local/share/vsgshift/models, on Windows %LOCALAPPDATA%\\vsgshift\\models).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.set_defaults(when_interrupted="")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in SUBJECTS:
        add(commands)
    return whole
