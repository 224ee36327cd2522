"""Questions put to a Python of its own, which may die of them."""

import json
import sys
from typing import Any

from vsgshift.errors import ProgramError
from vsgshift.processes import run

TIMEOUT = 120.0
"""Seconds; torch alone takes some to be imported, and many from a cold disk."""

# Modules are found where this process finds them. The answer has a way out of its own: libraries
# may write to stdout as they are imported.
_PREAMBLE = """
import json, os, sys
sys.path[:] = json.loads(sys.argv.pop(1))
answers = os.dup(1)
os.dup2(2, 1)
def answer(**known):
    os.write(answers, json.dumps(known).encode())
"""


def ask(code: str, *arguments: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Run a few lines in a Python like this one, which may use json, os, sys and ``sys.argv[1:]``; they end with
    ``answer(key=value, ...)``. Raises ProgramError if they raise an exception, crash or hang."""
    output = run([sys.executable, "-c", _PREAMBLE + code, json.dumps(sys.path), *arguments], timeout=timeout)
    return parse(output)


def parse(output: bytes | str) -> dict[str, Any]:
    """The answer in what a program wrote. Raises ProgramError if there is none."""
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ProgramError("ended without an answer")
    return answer
