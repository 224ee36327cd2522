"""Reports: what was measured, when, on what and of which commit, as one JSON object."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring.measures import surroundings
from vsgshift.benchmark import reference


def report(benchmark: str, result: object, **how: object) -> dict[str, Any]:
    """A report.

    Args:
        benchmark: its kind.
        how: what a reader must know to measure the same, such as precision and weights.
    """
    return {"benchmark": benchmark, **origin(), **surroundings(), **how, "result": result}


def origin() -> dict[str, object]:
    """When and of what the figures are."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit()}


def commit() -> str:
    """The commit of the checkout that this package lies in, else of the working folder's; "unknown" outside both.

    With "-changed" where the package differs from it.
    """
    return _commit(Path(__file__).parent) or _commit(Path.cwd()) or "unknown"


def _commit(folder: Path) -> str:
    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "HEAD")
    folders = ":/vsgshift", ":/scripts/measuring", ":/scripts/evaluation"
    changed = head and git("status", "--porcelain", "--untracked-files=no", "--", *folders)
    return head + ("-changed" if changed else "")


def read_all(folder: Path) -> list[dict[str, Any]]:
    """All reports in a folder, by their names."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def text(of: object) -> str:
    """As it is written to files."""
    return json.dumps(of, indent=2) + "\n"


def write_reference(folder: Path) -> Path:
    """Write what the reports in a folder know of machines' speed into the package."""
    table = Path(reference.__file__).with_name("reference.json")
    table.write_text(text(reference.rows(read_all(folder))), encoding="utf-8")
    return table
