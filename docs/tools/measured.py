"""Sections of the performance page that have a chart beside their table."""

from collections.abc import Iterable, Sequence
from typing import Any

from tools.charts import against_bars, growth_panels, layer_bars

Figures = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def chart(svg: str) -> str:
    """A drawing in a Markdown page."""
    return f"```{{raw}} html\n{svg}```\n\n"


def machine(result: Figures) -> str:
    """Everything about each network and size."""
    columns = {
        "engine_fps": "bare stream, frames/s",
        "filter_fps": "filter, frames/s",
        "vspipe_fps": "vspipe, frames/s",
        "filter_memory_mib": "memory of the filter's process, MiB",
        "first_s": "first frame, s",
        "seek_s": "after a seek, s",
        "back_s": "one step back, s",
    }
    rows = [(f"`{name}`", *(row.get(column, "") for column in columns)) for name, row in result.items()]
    return table(("model and size", *columns.values()), rows)


def layers(result: Figures) -> str:
    """Where the time goes."""
    text = ""
    for name, figures in result.items():
        rates, whole = figures["rates"], figures["whole"]
        text += (
            f"`{name}`: {whole['ms']:.1f} ms a frame. By bytes and operations the device needs "
            f"{whole['floor_ms']:.1f} ms at least: {100 * whole['floor_ratio']:.0f} % of the time. It moved "
            f"{rates['copy_gb_s']:.0f} GB/s in a copy and did "
            f"{max(rates['matmul_gflops'], rates['conv_gflops']):.0f} GFLOP/s in a large product.\n\n"
        )
        text += chart(layer_bars(name, figures))
        rows = [
            (part, f"{row['ms']:.2f}", f"{row['gflop']:.2f}", f"{row['least_mb']:.1f}", f"{row['floor_ms']:.2f}")
            for part, row in figures["groups"].items()
        ]
        text += table(("part", "ms", "GFLOP", "MB at least", "ms at least"), rows)
    return text


def growth(report: Figures) -> str:
    """How cost grows."""
    result = report["result"]
    memory = _percent(result["length_memory_largest_over_smallest"])
    pixels = _percent(result["pixels_rate_largest_over_smallest"])
    text = (
        f"Between the lengths memory differs by {memory}. Between the sizes the pixels a second differ by {pixels}.\n"
    )
    return chart(growth_panels(report)) + text


def against(report: Figures) -> str:
    """The authors' network and ours."""
    rows = []
    for name, row in report["result"].items():
        ratios = (f"{row['ratio_clip']:.2f}", f"{row['ratio_steady']:.2f}")
        memory = (row["theirs_memory_mib"], row["ours_memory_mib"])
        rows.append((f"`{name}`", row["frames"], *ratios, *memory, row["max_difference"]))
    head = (
        "network",
        "frames",
        "faster, same clip",
        "faster, longer clip",
        "their MiB",
        "our MiB",
        "largest difference",
    )
    return chart(against_bars(report)) + table(head, rows)


def by_name(result: Figures) -> str:
    """A row for each network and size, a column for each figure that any of them has."""
    columns = list(dict.fromkeys(key for row in result.values() for key in row))
    rows = [(f"`{name}`", *(row.get(column, "") for column in columns)) for name, row in result.items()]
    return table(("", *(column.replace("_", " ") for column in columns)), rows)


def kernels(result: Figures) -> str:
    """The slowest kernels of each network, as torch's profiler lists them."""
    return "\n".join(f"`{name}`:\n\n```text\n{text}```\n" for name, text in result.items())


def check(result: Figures) -> str:
    """What a check of a GPU came to."""
    rows = [(step, outcome["status"], f"{outcome['seconds']} s") for step, outcome in result.items()]
    text = table(("step", "outcome", "took"), rows)
    engines = [
        (f"`{name}`", row.get("fps", row.get("missing")), row.get("gpu_memory_mib", ""))
        for outcome in result.values()
        for name, row in outcome.get("result", {}).get("figures", {}).items()
        if isinstance(row, dict) and "spread" in row
    ]
    return text + ("\n" + table(("network and size", "frames/s", "memory on the GPU, MiB"), engines) if engines else "")


def _percent(ratio: float | None) -> str:
    return "an unknown share" if ratio is None else f"{100 * (ratio - 1):.1f} %"
