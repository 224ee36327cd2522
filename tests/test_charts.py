"""Charts say what the reports say; the README's is drawn from the committed ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
GROWTH: dict[str, Any] = {
    "benchmark": "growth",
    "device": "a CPU",
    "result": {
        "model": "tiny-denoise",
        "length_size": "64x48",
        "length": [
            {"frames": 100, "fps": 50.0, "memory_mib": 700.0},
            {"frames": 1000, "fps": 55.5, "memory_mib": 707.0},
            {"frames": 10_000, "missing": "took too long"},
        ],
        "length_memory_largest_over_smallest": 1.01,
        "length_fps_largest_over_smallest": 1.11,
        "pixels": [
            {"size": "320x180", "megapixels": 0.0576, "fps": 10.0, "memory_mib": 750.0},
            {"size": "640x360", "megapixels": 0.2304, "fps": 2.5, "memory_mib": 900.0},
        ],
        "pixels_rate_largest_over_smallest": None,
    },
}
AGAINST: dict[str, Any] = {
    "benchmark": "against",
    "device": "a CPU",
    "result": {
        "deblur-small 256x256": {
            "frames": 12,
            "theirs_s_per_frame": 3.0,
            "ours_clip_s_per_frame": 1.5,
            "ours_steady_s_per_frame": 1.0,
            "ratio_clip": 2.0,
            "ratio_steady": 3.0,
            "theirs_memory_mib": 4000.0,
            "ours_memory_mib": 500.0,
            "max_difference": 1e-06,
        }
    },
}
ROW = {"ms": 4.0, "gflop": 2.0, "least_mb": 3.0, "floor_ms": 1.0, "floor_ratio": 0.25}
LAYERS: dict[str, Any] = {
    "tiny-deblur 640x360": {
        "rates": {"copy_gb_s": 10.0, "matmul_gflops": 90.0, "conv_gflops": 80.0},
        "whole": ROW,
        "groups": {"embed": ROW, "merge": ROW},
    }
}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """charts, measured and readme of docs/tools."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from tools import charts, measured, readme

    return SimpleNamespace(charts=charts, measured=measured, readme=readme)


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_readmes_chart_is_that_of_the_committed_reports(tools: SimpleNamespace) -> None:
    current = tools.readme.CHART.read_text(encoding="utf-8")
    assert current == tools.charts.readme(tools.readme.reports()), "run: python docs/tools/readme.py"
    ElementTree.fromstring(current)


def test_growth_is_drawn_to_scale(tools: SimpleNamespace) -> None:
    svg = tools.charts.growth_panels(GROWTH)
    assert {"50", "55.5", "700", "707", "0.1", "0.4", "180p", "360p", "1,000"} <= set(words(svg))
    assert "10,000" not in words(svg), "what gave no figures is not drawn"
    curves = [
        [tuple(map(float, point.split())) for point in element.attrib["d"][1:].split(" L")]
        for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
        if element.get("class") == "curve"
    ]
    (_, memory, seconds) = curves
    bottom = 180.0
    heights = [bottom - y for _, y in seconds]
    assert heights[1] / heights[0] == pytest.approx(4, rel=0.02), "four times the pixels, four times as high"
    assert (bottom - memory[1][1]) / (bottom - memory[0][1]) == pytest.approx(1.01, abs=0.002)


def test_comparisons_are_drawn_and_described(tools: SimpleNamespace) -> None:
    charts, measured = tools.charts, tools.measured
    assert {"3 s", "1.5 s (2.00 x)", "1 s (3.00 x)"} <= set(words(charts.against_bars(AGAINST)))
    assert "| `deblur-small 256x256` | 12 | 2.00 | 3.00 | 4000.0 | 500.0 | 1e-06 |" in measured.against(AGAINST)
    assert "Between the lengths memory differs by 1.0 %" in measured.growth(GROWTH)
    section = measured.layers(LAYERS)
    assert "the device needs 1.0 ms at least: 25 % of the time" in section
    assert "4.00 ms, at least 1.00" in section
    engines = {"tiny 1280x720": {"fps": 9.5, "spread": 0.9}, "plus 1280x720": {"missing": "out of memory"}}
    assert "| `plus 1280x720` |  |  | out of memory |" in measured.by_name(engines)
    assert "```text\nconv2d  1.0 ms\n```" in measured.kernels({"tiny 64x48": "conv2d  1.0 ms\n"})
    chart = charts.readme([AGAINST, GROWTH])
    assert any("authors' code beside ours (a CPU)" in text for text in words(chart))
    assert "<style>" in chart


ROWS = [
    {"filter": name, "sigma": sigma, "size": "640x360", "psnr": psnr, "cpu_seconds": seconds, "scale": scale}
    for name, sigma, psnr, seconds, scale in (
        ("tiny-denoise", 3.0, 45.0, 0.1, None),
        ("tiny-denoise", 10.0, 40.0, 0.1, None),
        ("dfttest2", 3.0, 43.0, 0.2, 1.4),
        ("dfttest2", 3.0, 44.0, 0.2, 2.0),
        ("dfttest2", 10.0, 39.0, 0.2, 1.4),
    )
]


def test_the_table_of_other_filters(tools: SimpleNamespace) -> None:
    lines = tools.readme.rivals(ROWS).splitlines()
    assert lines[0].split(" | ")[1:4] == ["sigma 3", "sigma 10", "a minute of 1080p"]
    assert lines[2].startswith("| **`gshift.Denoise`** | 45.0 dB | 40.0 dB | 22 min |")
    assert lines[3].startswith("| `dfttest2` | 44.0 dB | 39.0 dB | 45 min |"), "the best setting for each level"
    assert not any(line.startswith("| V-BM3D") for line in lines), "what the report does not hold is left out"


def test_the_readme_has_the_table_of_the_committed_report(tools: SimpleNamespace) -> None:
    text = tools.readme.README.read_text(encoding="utf-8")
    assert tools.readme.updated(text) == text, "run: python docs/tools/readme.py"
    assert "dB |" in text


def test_every_key_of_a_recipe_is_explained(tools: SimpleNamespace) -> None:
    import dataclasses

    from tools import recipe

    from training.recipe import Data, Fit, Generated, Recipe, Validation

    text = recipe.keys()
    for kind in (Recipe, Data, Generated, Fit, Validation):
        for field in dataclasses.fields(kind):
            if not dataclasses.is_dataclass(field.type):
                assert f"| `{field.name}` |" in text
    assert '| `source` | `Source` | `"generated"` |' in text
