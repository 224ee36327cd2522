"""Write the README's table of other filters, and its chart, from the committed reports: python docs/tools/readme.py

The charts of the other pages are drawn when they are built.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import charts
from tools.measured import table

ROOT = Path(__file__).parents[2]
README, CHART = ROOT / "README.md", ROOT / "docs" / "speed.svg"
REPORT = ROOT / "scripts" / "benchmarks" / "quality" / "rivals.json"
BEGIN, END = "<!-- rivals: begin -->\n", "<!-- rivals: end -->\n"
SIGMAS = (3, 10, 30)
"""Levels that the table has, as far as the report has them."""
FILM = 1920 * 1080 * 60 * 25
"""Pixels of a minute of 1080p at 25 frames/s."""
FACTS = {
    "tiny-denoise": ("**`gshift.Denoise`**", "YUV, RGB, GRAY; 8-16 bit, half, float", "yes", "MIT, weights too"),
    "fine-denoise": ('**`gshift.Denoise`, `model="fine"`**', "the same", "yes", "MIT, weights too"),
    "fine-denoise, fp16": ("the same with `fp16=True` (AMX)", "the same", "yes", "MIT, weights too"),
    "V-BM3D, steps 8/7": ("V-BM3D (`bm3dcpu`), fast", "float", "yes", "GPL-2"),
    "V-BM3D, steps 4/3": ("V-BM3D (`bm3dcpu`), slow", "float", "yes", "GPL-2"),
    "dfttest2": ("`dfttest2`", "integer, float", "yes", "GPL-3"),
    "Degrain3 (mvtools)": ("Degrain3 (mvtools), as in SMDegrain", "integer", "yes", "GPL-2"),
}
"""What no report says: the name shown, formats in and out, whether any order of requests gives the same, licence."""
UNMEASURED = (
    ("vs-rvrt (GPU)", "RGB24, RGBS", "no: chunks of 64 frames", "weights CC BY-NC"),
    ("vs-basicvsrpp (GPU)", "RGBH, RGBS", "no: chunks of 15 frames", "downloaded"),
)


def best(rows: list[dict[str, Any]]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """The rows of each filter and sigma, with the setting that has the highest mean PSNR."""
    settings: dict[tuple[str, float], dict[Any, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        settings[row["filter"], row["sigma"]][row.get("scale")].append(row)
    return {
        place: max(each.values(), key=lambda group: mean(row["psnr"] for row in group))
        for place, each in settings.items()
    }


def rivals(rows: list[dict[str, Any]]) -> str:
    """The table: quality, cost, formats, order and licence of each filter, at the best setting for each level.

    Args:
        rows: of the report.
    """
    chosen = best(rows)
    names = dict.fromkeys(name for name, _ in chosen)
    sigmas = [sigma for sigma in SIGMAS if any(sigma == each for _, each in chosen)]

    def psnr(name: str, sigma: float) -> str:
        return f"{mean(row['psnr'] for row in chosen[name, sigma]):.1f} dB" if (name, sigma) in chosen else ""

    def minutes(name: str) -> str:
        groups = [group for (each, _), group in chosen.items() if each == name]
        return f"{mean(FILM * row['cpu_seconds'] / _pixels(row) / 60 for group in groups for row in group):.0f} min"

    lines = [
        (FACTS[name][0], *(psnr(name, sigma) for sigma in sigmas), minutes(name), *FACTS[name][1:])
        for name in FACTS
        if name in names
    ]
    lines += [(name, *("" for _ in sigmas), "", *facts) for name, *facts in UNMEASURED]
    head = ("", *(f"sigma {sigma}" for sigma in sigmas), "a minute of 1080p", "formats", "any order", "licence")
    return table(head, lines)


def _pixels(row: dict[str, Any]) -> int:
    across, down = map(int, row["size"].split("x"))
    return across * down


def updated(text: str) -> str:
    """The README with the table as it should be."""
    written = rivals(json.loads(REPORT.read_text(encoding="utf-8"))["rows"])
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}{written}{END}", text, flags=re.DOTALL)


def reports() -> list[charts.Report]:
    """The committed measurements."""
    files = sorted((ROOT / "scripts" / "benchmarks").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


if __name__ == "__main__":
    CHART.write_text(charts.readme(reports()), encoding="utf-8")
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
