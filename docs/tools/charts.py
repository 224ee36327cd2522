"""Charts of the committed measurements: bars, and how cost grows with the work."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log10
from typing import Any

from tools.svg import Drawing

Report = dict[str, Any]
Bar = tuple[str, float, str, str]
"""Name, length, what is written after it, and the kind: bar or other."""
WIDTH = 760
ROW = 30
PANEL = 180


def speed_bars(reports: list[Report]) -> str:
    """Frames per second through VapourSynth, of all reports of machines."""
    bars = _speeds(reports)
    drawing = Drawing(WIDTH, ROW * len(bars) + 10, "Frames per second in VapourSynth")
    draw_bars(drawing, 8, bars)
    return drawing.text()


def quality_bars(title: str, means: Mapping[tuple[str, float], float]) -> str:
    """A bar for each filter and noise level, in groups by level; they begin at zero."""
    drawing_rows: list[Bar] = []
    for sigma in sorted({sigma for _, sigma in means}):
        group = {name: value for (name, each), value in means.items() if each == sigma}
        for name, value in sorted(group.items(), key=lambda item: -item[1]):
            kind = "bar" if name.startswith("tiny") else "other"
            drawing_rows.append((f"sigma {sigma:g}, {name}", value, f"{value:.2f}", kind))
    drawing = Drawing(WIDTH, ROW * len(drawing_rows) + 10, title)
    draw_bars(drawing, 8, drawing_rows)
    return drawing.text()


def sigmas_read(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sigma that `Denoise` measures, against how far noisy clips are from the clean ones; a dot a clip and kind.

    Grey dots are of clips that were coded after the noise was added. A line shows where both are equal.
    """
    side, left, top, most = 320, 220, 24, 26
    drawing = Drawing(WIDTH, side + 80, "Sigma read against the deviation of the noise")
    drawing.axes(left, top, left + side, top + side)
    scale = side / most
    drawing.parts.append(f'<path class="axis" d="M{left} {top + side} L{left + side} {top}"/>')
    for row in rows:
        x, y = left + scale * row["deviation"], top + side - scale * row["sigma"]
        kind = "other" if "," in row["case"] else "dot"
        drawing.parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    for tick in range(0, most, 5):
        drawing.words(left + scale * tick, top + side + 16, str(tick), note=True)
        drawing.words(left - 8, top + side - scale * tick + 4, str(tick), note=True, anchor="end")
    drawing.words(left + side / 2, top + side + 36, "deviation of the noisy clip from the clean one", note=True)
    drawing.words(left - 30, top + side / 2, "sigma read", note=True, anchor="end")
    drawing.words(left + side + 12, top + 40, "grey: coded", note=True, anchor="start")
    return drawing.text()


def against_bars(report: Report) -> str:
    """Seconds for each frame: theirs, and ours under way and over the whole clip."""
    bars = _compared(report)
    drawing = Drawing(WIDTH, ROW * len(bars) + 10, "Seconds for each frame")
    draw_bars(drawing, 8, bars)
    return drawing.text()


def growth_panels(report: Report) -> str:
    """Three panels: speed and memory against length, time against pixels."""
    drawing = Drawing(WIDTH, PANEL + 60, "Cost against the length of a clip and its pixels")
    draw_growth(drawing, 0, report)
    return drawing.text()


def layer_bars(name: str, figures: Report) -> str:
    """Milliseconds of each part of the network; the grey part is what the device needs at least."""
    groups = figures["groups"]
    drawing = Drawing(WIDTH, ROW * len(groups) + 10, f"Milliseconds of each part of {name}")
    longest = max(row["ms"] for row in groups.values())
    for n, (part, row) in enumerate(groups.items()):
        top = 8 + ROW * n
        drawing.words(190, top + 16, part, anchor="end")
        drawing.box(200, top, round(380 * row["ms"] / longest, 1), 22, kind="bar")
        drawing.box(200, top + 14, round(380 * min(row["floor_ms"], row["ms"]) / longest, 1), 8, kind="other")
        label = f"{row['ms']:.2f} ms, at least {row['floor_ms']:.2f}"
        drawing.words(206 + 380 * row["ms"] / longest, top + 16, label, anchor="start")
    return drawing.text()


def readme(reports: list[Report]) -> str:
    """The README's chart, of whatever has been measured."""
    blocks: list[tuple[int, str, Callable[[Drawing, int], None]]] = []

    def add_bars(title: str, bars: Sequence[Bar]) -> None:
        if bars:
            blocks.append((ROW * len(bars), title, lambda drawing, top: draw_bars(drawing, top, bars)))

    for report in _of(reports, "against"):
        add_bars(f"Seconds for each frame, the authors' code beside ours ({report['device']})", _compared(report))
    for report in _of(reports, "growth"):
        title = f"Cost grows with pixels, not with the length ({report['result']['model']}, {report['device']})"
        blocks.append((PANEL + 50, title, partial(draw_growth, report=report)))
    for report in _of(reports, "check"):
        add_bars(f"Frames per second, half precision ({report['device']})", _engines(report))
    for report in _of(reports, "machine"):
        add_bars(f"Frames per second through VapourSynth ({report['device']})", _speeds([report]))
    height = sum(block + 50 for block, _, _ in blocks)
    drawing = Drawing(WIDTH, height, "Speed and memory, as measured", alone=True)
    top = 0
    for block, title, draw in blocks:
        drawing.words(WIDTH / 2, top + 22, title)
        draw(drawing, top + 38)
        top += block + 50
    return drawing.text()


def draw_bars(drawing: Drawing, top: float, bars: Sequence[Bar]) -> None:
    """Bars below each other, the longest over most of the width."""
    longest = max((length for _, length, _, _ in bars), default=1)
    for n, (name, length, label, kind) in enumerate(bars):
        y = top + ROW * n
        drawing.words(230, y + 16, name, anchor="end")
        drawing.box(240, y, round(380 * length / longest, 1), 22, kind=kind)
        drawing.words(round(246 + 380 * length / longest, 1), y + 16, label, anchor="start")


def draw_growth(drawing: Drawing, top: float, report: Report) -> None:
    """The three panels of a growth report."""
    result = report["result"]
    length = [row for row in result["length"] if "fps" in row]
    pixels = [row for row in result["pixels"] if "fps" in row]
    size = result["length_size"]
    counts = [row["frames"] for row in length]
    names = [f"{count:,}" for count in counts]
    logs = [log10(count) for count in counts]
    panel(drawing, 0, top, f"frames/s, {size}", logs, names, [row["fps"] for row in length], "frames")
    panel(drawing, 1, top, f"MiB of memory, {size}", logs, names, [row["memory_mib"] for row in length], "frames")
    megapixels = [row["megapixels"] for row in pixels]
    sizes = [row["size"].split("x")[1] + "p" for row in pixels]
    panel(
        drawing, 2, top, "seconds for a frame", megapixels, sizes, [1 / row["fps"] for row in pixels], "size", origin=0
    )


def panel(
    drawing: Drawing,
    place: int,
    top: float,
    title: str,
    across: Sequence[float],
    names: Sequence[str],
    values: Sequence[float],
    unit: str,
    origin: float | None = None,
) -> None:
    """A curve in one of three fields beside each other, from zero up.

    Args:
        across: positions, on a scale that is linear here.
        names: of the positions; one that would run into the one before is left out.
        origin: the position on the left; by default the first one.
    """
    left, right = 30 + 250 * place, 30 + 250 * place + 200
    bottom = top + PANEL
    ceiling = 1.25 * max(values, default=1)
    least = min(across, default=0) if origin is None else origin
    span = max(across, default=1) - least or 1
    points = [
        (left + 16 + (right - left - 32) * (x - least) / span, bottom - (bottom - top - 24) * y / ceiling)
        for x, y in zip(across, values, strict=True)
    ]
    drawing.words((left + right) / 2, top + 12, title)
    drawing.axes(left, top + 24, right, bottom)
    drawing.curve(points)
    written = left - 40.0
    for (x, y), name, value in zip(points, names, values, strict=True):
        if x - written < 38 and name != names[-1]:
            continue
        drawing.words(round(x, 1), bottom + 16, name, note=True)
        # Beside a curve that rises, above one that does not.
        beside = values[-1] > 1.3 * values[0] and x > points[0][0]
        place_x, anchor = (x - 8, "end") if beside else (x, "middle")
        drawing.words(round(place_x, 1), round(y - (4 if beside else 8), 1), _short(value), note=True, anchor=anchor)
        written = x
    drawing.words((left + right) / 2, bottom + 34, unit, note=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _speeds(reports: list[Report]) -> list[Bar]:
    return [
        (name, figures["filter_fps"], f"{figures['filter_fps']} frames/s", "bar")
        for report in reports
        if report["benchmark"] == "machine"
        for name, figures in report["result"].items()
        if "filter_fps" in figures
    ]


def _compared(report: Report) -> list[Bar]:
    bars: list[Bar] = []
    for name, row in report["result"].items():
        theirs, clip, steady = (row[f"{way}_s_per_frame"] for way in ("theirs", "ours_clip", "ours_steady"))
        bars.append((f"{name}, authors'", theirs, f"{theirs:.3g} s", "other"))
        bars.append(("ours, the same clip", clip, f"{clip:.3g} s ({row['ratio_clip']:.2f} x)", "bar"))
        bars.append(("ours, a longer clip", steady, f"{steady:.3g} s ({row['ratio_steady']:.2f} x)", "bar"))
    return bars


def _engines(report: Report) -> list[Bar]:
    """Of a check of a GPU: the bare stream."""
    return [
        (name, row["fps"], f"{row['fps']:.3g} frames/s", "bar")
        for step, outcome in report["result"].items()
        if step.startswith("engine")
        for name, row in outcome.get("result", {}).get("figures", {}).items()
        if "fps" in row
    ]


def _of(reports: list[Report], benchmark: str) -> list[Report]:
    return [report for report in reports if report["benchmark"] == benchmark]
