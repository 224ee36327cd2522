"""Draw the README's chart, docs/speed.svg, from the committed reports in scripts/benchmarks.

    python scripts/docs_charts.py

The charts of the documentation are drawn when it is built.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHART = ROOT / "docs" / "speed.svg"


def drawn() -> str:
    """The chart as it should be."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from tools import charts
    finally:
        sys.path.pop(0)
    files = sorted((ROOT / "scripts" / "benchmarks").glob("*.json"))
    return charts.readme([json.loads(file.read_text(encoding="utf-8")) for file in files])


if __name__ == "__main__":
    CHART.write_text(drawn(), encoding="utf-8")
    print(CHART)
