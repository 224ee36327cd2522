"""Questions put to another process, which may die of them."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds; torch alone takes some to be imported, and many from a cold disk."""

# Modules are found where this process finds them. The answer goes out by a way of its own: libraries
# may write to stdout as they are imported.
_FRAME = """
import json, os, sys
sys.path[:] = json.loads(sys.argv.pop(1))
answers = os.dup(1)
os.dup2(2, 1)
def answer(**known):
    os.write(answers, json.dumps(known).encode())
"""


class NoAnswerError(Exception):
    """Why there is none, in one line."""


def ask(code: str, *arguments: str, patience: float = PATIENCE) -> dict[str, Any]:
    """Run a few lines in a Python like this one; they end with ``answer(key=value, ...)``.

    Args:
        code: may use json, os, sys and ``sys.argv[1:]``.
        patience: seconds after which it counts as hanging.

    Raises:
        NoAnswerError: it raised an exception, crashed or hung.
    """
    said = run([sys.executable, "-c", _FRAME + code, json.dumps(sys.path), *arguments], patience=patience)
    try:
        known = json.loads(said)
    except ValueError:
        raise NoAnswerError("it ended without a word") from None
    if not isinstance(known, dict):
        raise NoAnswerError("it ended without a word")
    return known


def run(
    command: Sequence[str | Path], *, patience: float = PATIENCE, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end; returns its stdout.

    Raises:
        NoAnswerError: it cannot be started, fails or hangs.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer within {patience:.0f} seconds") from None
    except OSError as error:
        raise NoAnswerError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise NoAnswerError(_reason(done.returncode, done.stderr))
    return done.stdout


def _reason(status: int, complaints: str) -> str:
    """The last line of what a program complained about, or what signal ended it."""
    if status < 0:
        try:
            return f"it crashed ({signal.Signals(-status).name})"
        except ValueError:
            return f"it crashed (signal {-status})"
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    return lines[-1] if lines else f"it failed without a word (exit status {status})"
