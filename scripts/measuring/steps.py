"""Commands run one after the other, each with a time limit, into one report: what fails does not stop the others."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAID = 40
"""Last lines of what a command said that the report has."""


def as_json(file: Path) -> Any:
    """What a command wrote, as it is."""
    return json.loads(file.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, which may write a file."""

    name: str
    command: tuple[str, ...]
    """OUT stands for the file that it writes; without it, what it says is its result."""
    limit: float
    """Seconds."""
    read: Callable[[Path], Any] = as_json
    environment: dict[str, str] = field(default_factory=dict)
    """Beside what this process has."""


def run(
    steps: Iterable[Step],
    minutes: float,
    tell: Callable[[str], object],
    keep: Callable[[dict[str, dict[str, Any]]], object] = lambda outcomes: None,
) -> dict[str, dict[str, Any]]:
    """Run steps until all are done or the time is up.

    Args:
        minutes: for all; a step gets its own limit or what is left, whichever is less.
        tell: is told each step's name and outcome, as a line.
        keep: is given what is returned, as far as it is known, after each step.

    Returns:
        For each step by its name: `status` (passed, failed, timed out, left out), `seconds`, `command`, `result` where
        the command wrote one (a failed one may), else `said`, the end of what it said; also of one that did not pass.
    """
    end = time.monotonic() + 60 * minutes
    outcomes: dict[str, dict[str, Any]] = {}
    for step in steps:
        left = end - time.monotonic()
        outcome = _run(step, min(step.limit, left)) if left > 0 else {"status": "left out", "seconds": 0.0}
        outcomes[step.name] = outcome
        tell(f"{step.name:20} {outcome['status']:10} {outcome['seconds']:7.1f} s")
        keep(outcomes)
    return outcomes


def _run(step: Step, limit: float) -> dict[str, Any]:
    started = time.monotonic()
    outcome: dict[str, Any] = {"status": "passed", "seconds": 0.0, "command": " ".join(_shown(step.command))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "out")
        command = [str(file) if word == "OUT" else word for word in step.command]
        with Path(folder, "said").open("w+", encoding="utf-8", errors="replace") as said:
            try:
                # A session of its own, so that what the command started can be ended with it.
                process = subprocess.Popen(
                    command,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    # Unbuffered, so that what was said before a time limit is there.
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **step.environment},
                )
            except OSError as error:
                return {**outcome, "status": "failed", "said": [str(error)]}
            try:
                if process.wait(limit):
                    outcome["status"] = "failed"
            except subprocess.TimeoutExpired:
                outcome["status"] = "timed out"
            finally:
                _end(process)
            if file.is_file() and file.stat().st_size:
                try:
                    outcome["result"] = step.read(file)
                except Exception as error:
                    outcome |= {"status": "failed", "unreadable": f"{type(error).__name__}: {error}"}
            elif outcome["status"] == "passed" and "OUT" in step.command:
                outcome["status"] = "failed"
            if outcome["status"] != "passed" or "OUT" not in step.command:
                said.seek(0)
                outcome["said"] = said.read().strip().splitlines()[-SAID:]
    outcome["seconds"] = round(time.monotonic() - started, 1)
    return outcome


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End all of a command's session that is still there."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _shown(command: Iterable[str]) -> list[str]:
    """A command without what is only true of one machine: absolute paths by their last part."""
    return [Path(word).name if Path(word).is_absolute() else word for word in command]
