"""Write the table of parameters into the README, from `vsgshift.parameters`: python docs/tools/readme.py"""

import re
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.measured import table
from vsgshift.parameters import CLIP, PARAMETERS, Parameter

README = Path(__file__).parents[2] / "README.md"
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


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
