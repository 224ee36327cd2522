"""The command line: `vsgshift`, and `python -m vsgshift`.

Each subject is a module with a function `add`, which enters its commands in the parser, and a
function for each command, which takes the parsed options and returns the exit status. What takes
long to import (torch, VapourSynth) is imported by those functions: arguments are checked before.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vsgshift.cli import benchmark, compare, demo, doctor, models, restore
from vsgshift.errors import VsgshiftError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    type Commands = _SubParsersAction[argparse.ArgumentParser]

SUBJECTS: tuple[Callable[["Commands"], None], ...] = (
    demo.add,
    restore.add,
    compare.add,
    models.add,
    doctor.add,
    benchmark.add,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, 1 after an error, 2 for wrong arguments, 130 when stopped, 141 when no one
        reads the output any more.
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
    options = parser().parse_args(arguments)
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
        # What the system refuses, as on a full disk.
        sys.stderr.write(f"vsgshift: {error.filename or 'error'}: {error.strerror or error}\n")
    return 1


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser(
        prog="vsgshift",
        description="Deblur and denoise video with Shift-Net, and look after its models.",
        epilog="Models are kept in $VSGSHIFT_MODELS, else in the user's data folder (~/.local/share/vsgshift/models).",
    )
    whole.set_defaults(when_interrupted="")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in SUBJECTS:
        add(commands)
    return whole
