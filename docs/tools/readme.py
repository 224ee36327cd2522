"""Write the README's table of parameters, and its chart from the committed reports: python docs/tools/readme.py

The charts of the other pages are drawn when they are built.
"""

import json
import re
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import charts
from tools.measured import table
from vsgshift.parameters import CLIP, PARAMETERS, Parameter

ROOT = Path(__file__).parents[2]
README, CHART = ROOT / "README.md", ROOT / "docs" / "speed.svg"
BEGIN, END = "<!-- parameters: begin -->\n", "<!-- parameters: end -->\n"


def parameters() -> str:
    """The table of the parameters of Deblur and Denoise."""

    def row(each: Parameter) -> tuple[str, ...]:
        return f"`{each.name}`", each.only or "both", each.unset, each.range, each.doc

    rows = [row(CLIP), *map(row, PARAMETERS.values())]
    return table(("parameter", "function", "default", "range", "meaning"), rows)


def updated(text: str) -> str:
    """The README with the table as it should be."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}{parameters()}{END}", text, flags=re.DOTALL)


def reports() -> list[charts.Report]:
    """The committed measurements."""
    files = sorted((ROOT / "scripts" / "benchmarks").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


if __name__ == "__main__":
    CHART.write_text(charts.readme(reports()), encoding="utf-8")
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
