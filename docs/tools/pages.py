"""Parts of pages that are taken from the sources: help texts, the catalogue, committed measurements."""

import argparse
import ast
import json
import os
from pathlib import Path
from statistics import mean
from typing import Any

from tools import measured, readme, recipe
from tools.charts import quality_bars, sigmas_read, speed_bars
from tools.measured import table
from tools.readme import reports

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ("evaluate", "train", "benchmark", "gpu_check")


def write(folder: Path) -> None:
    """Write all parts into `folder`."""
    folder.mkdir(exist_ok=True)
    committed = reports()
    real = json.loads(readme.REPORT.with_name("real_noise.json").read_text())
    parts = {
        "commands.md": commands(),
        "parameters.md": parameters(),
        "recipe.md": recipe.keys(),
        "models.md": models(),
        "variants.md": variants(),
        "footprints.md": footprints(),
        "performance.md": performance(committed),
        "quality.md": quality(json.loads(readme.REPORT.read_text())["rows"]),
        "real_noise.md": real["table"] + "\n",
        "real_blur.md": json.loads(readme.REPORT.with_name("real_blur.json").read_text())["table"] + "\n",
        "real_noise.svg": sigmas_read(
            [row for row in real["rows"] if "sigma" in row and row["filter"] == "tiny-denoise"]
        ),
        "speed.svg": speed_bars(committed),
    }
    parts |= {f"{script}.txt": docstring(ROOT / "scripts" / f"{script}.py") for script in SCRIPTS}
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")


def docstring(script: Path) -> str:
    """What a program says of itself."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "") + "\n"


def commands() -> str:
    """A section for each command of `vsgshift`, with its help as the terminal shows it."""
    from vsgshift.cli import parser

    os.environ["COLUMNS"] = "96"
    os.environ["NO_COLOR"] = "1"  # newer versions of Python colour the help
    whole = parser()
    sections = [f"```text\n{whole.format_help()}```\n"]
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                sections.append(f"## {name}\n\n```text\n{command.format_help()}```\n")
    return "\n".join(sections)


def parameters() -> str:
    """The table of the parameters of Deblur and Denoise."""
    from vsgshift.parameters import CLIP, PARAMETERS, Parameter

    def row(each: Parameter) -> tuple[str, ...]:
        return f"`{each.name}`", each.only or "both", each.unset, each.range, each.doc

    rows = [row(CLIP), *map(row, PARAMETERS.values())]
    return table(("parameter", "function", "default", "range", "meaning"), rows)


def models() -> str:
    """The catalogue."""
    from vsgshift.weights import MODELS

    rows = []
    for model in MODELS.values():
        origin = (
            f"[{model.published_as}]({model.page})"
            if model.published_as
            else f"bundled: [card](models/{model.name}.md)"
        )
        rows.append((f"`{model.name}`", model.task, model.variant.name, model.training_data, model.licence, origin))
    return table(("name", "task", "network", "trained on", "licence", "file"), rows)


def variants() -> str:
    """Sizes of the networks, counted on the networks themselves."""
    from vsgshift import ShiftNet
    from vsgshift.network.variants import VARIANTS

    rows = []
    for variant in VARIANTS.values():
        parameters = sum(parameter.numel() for parameter in ShiftNet(variant).parameters())
        rows.append((variant.name, variant.width, variant.core_width, f"{parameters / 1e6:.2f} M", variant.radius))
    head = ("network", "channels at full size", "channels of the core", "parameters", "frames on each side")
    return table(head, rows)


def footprints() -> str:
    """Memory of each network for 1080p in half precision, as the plugin estimates it, and where it lies."""
    import torch

    from vsgshift.network.variants import VARIANTS
    from vsgshift.streaming import Tiling
    from vsgshift.streaming.footprint import footprint

    def mib(size: float) -> str:
        return f"{size / 2**20:,.0f}"

    tiling = Tiling(size=(512, 512))
    rows = []
    for variant in VARIANTS.values():
        one, tiled = (
            footprint(variant, (1080, 1920), dtype=torch.float16, block=1, tiling=chosen) for chosen in (None, tiling)
        )
        state, held = one.waiting + one.shifts, tiled.shifts / tiled.tiles + tiled.activations
        rows.append(
            (variant.name, *map(mib, (one.waiting, one.shifts, one.activations, state + 4 * one.activations, held)))
        )
    head = (
        "network",
        "skips that wait",
        "temporal shifts",
        "activations, for each frame of `block`",
        "all, `block=4`",
        "`block=1, tilesize=512, offload=True`",
    )
    return table(head, rows)


def performance(reports: list[dict[str, Any]]) -> str:
    """A section for each committed report, with where and when it was measured."""
    order = list(SECTIONS)
    sections = []
    for report in sorted(
        reports, key=lambda report: order.index(report["benchmark"]) if report["benchmark"] in order else 99
    ):
        kind, result = report["benchmark"], report["result"]
        title, text = SECTIONS.get(kind, (kind, _plain))
        environment = f"{report['device']}; torch {report['torch']}, VapourSynth {report['vapoursynth']}"
        made = f"Measured {report['date'][:10]} on {environment}, at commit `{report['commit'][:10]}`."
        given = report if kind in WHOLE else result
        sections.append(f"## {title}\n\n{text(given)}\n{made}\n")
    return "\n".join(sections)


def quality(rows: list[dict[str, Any]]) -> str:
    """A table of all levels, and a chart for each measure."""
    best = readme.best(rows)
    names = list(dict.fromkeys(name for name, _ in best))
    text = ""
    for key, title, digits in (("psnr", "PSNR in dB, higher is better", 2), ("flicker", "Flicker, lower is better", 2)):
        means = {
            place: mean(row[key] for row in group) for place, group in best.items() if all(key in row for row in group)
        }
        sigmas = sorted({sigma for _, sigma in means})
        text += f"## {title}\n\n{measured.chart(quality_bars(title, means))}"
        lines = [
            (f"`{name}`", *(f"{means[name, sigma]:.{digits}f}" if (name, sigma) in means else "" for sigma in sigmas))
            for name in names
        ]
        text += table(("filter", *(f"sigma {sigma:g}" for sigma in sigmas)), lines) + "\n"
    return text


def _plain(result: dict[str, Any]) -> str:
    return table(("figure", "value"), result.items())


SECTIONS: dict[str, Any] = {
    "machine": ("Through VapourSynth", measured.machine),
    "against": ("Beside the authors' code", measured.against),
    "growth": ("How cost grows", measured.growth),
    "equality": ("How far half and single precision are off", measured.by_name),
    "layers": ("Where the time goes", measured.layers),
    "kernels": ("By kernel", measured.kernels),
    "engine": ("The bare stream", measured.by_name),
    "sharing": ("Sharing a film among machines", _plain),
    "check": ("On a GPU", measured.check),
}
WHOLE = ("against", "growth")
"""Sections that are given the whole report."""
