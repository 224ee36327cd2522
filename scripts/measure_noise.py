"""How well noise is measured: what `Denoise` reads on real clips with noise of every kind, and what that costs.

    python scripts/measure_noise.py CLIP ... --output noise.json

For each clip and case: the true deviation of the noise (as it was before coding; and of the whole error), the measured
sigma and its confidence, and the PSNR of the clip as it is, restored with the measured sigma, and with the best of
several fixed ones. What a fixed sigma gives is kept in the report and taken from there as long as the weights and the
case are the same, so that a change of the measurement is judged in seconds. Rows are sorted by what is lost.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vapoursynth as vs

from rivals import read
from training.clips.encoders import Coding, coded
from training.clips.noise import noisy
from training.clips.rng import seeded
from vsgshift import load_network, prepared, restore
from vsgshift.analysis import Level, level_to_remove
from vsgshift.plugin.measuring import SMOOTHED_OVER
from vsgshift.weights.store import find

NAME = "tiny-denoise"
SIGMAS = (0.0, 1.0, 2.5, 4.5, 7.0, 11.0, 17.0)
MARGIN = 1
"""Frames at each end that do not count."""

COLUMNS = {
    "error": "error",
    "read": "measured",
    "sigma": "best_sigma",
    "conf": "confidence",
    "as is": "unchanged",
    "psnr": "psnr",
    "best": "best",
    "lost": "lost",
}
"""Of the table, and what they are called in the report."""


@dataclass(frozen=True)
class Case:
    """One kind of noise, or none, and how it is coded, if it is."""

    kind: str
    sigma: float = 0.0
    coding: Coding | None = None

    def __str__(self) -> str:
        coding = self.coding
        name = f"{self.kind} {self.sigma:g}" if self.sigma else self.kind
        return name if coding is None else f"{name}, {coding.encoder.removeprefix('lib')} {coding.quality:g}"


def x264(crf: float) -> Coding:
    """H.264 as most films have it."""
    return Coding(encoder="libx264", quality=crf)


CASES = (
    Case("clean"),
    Case("clean", 0, x264(18)),
    Case("clean", 0, x264(28)),
    Case("white", 3),
    Case("white", 5),
    Case("white", 10),
    Case("white", 20),
    Case("white", 10, x264(18)),
    Case("raw", 9),
    *(Case("raw", 9, x264(crf)) for crf in (18, 23, 28)),
    Case("raw", 4, x264(20)),
    Case("phone", 7, Coding(encoder="libx265", quality=24, preset="superfast")),
    Case("grain", 4, x264(16)),
    Case("grain", 10),
    Case("grain", 10, x264(16)),
    Case("analogue", 9),
    Case("analogue", 9, Coding(encoder="mpeg2video", quality=4)),
    Case("fixed", 8),
    Case("fixed", 8, Coding(encoder="mjpeg", quality=4)),
)


def spoilt(clean: torch.Tensor, case: Case, name: str) -> torch.Tensor:
    """The clip (T, 3, H, W) with a case's noise, in 8 bits; the same for a clip of the same name at each call."""
    clip = clean
    if case.sigma:
        clip, _ = noisy(clean, case.kind, case.sigma / 255, seeded("measure", case.kind, str(case.sigma), name))
    if case.coding is not None:
        return coded(clip, case.coding)
    return (clip.clamp(0, 1) * 255).round() / 255


def as_node(clip: torch.Tensor, *, subsampled: bool) -> vs.VideoNode:
    """RGB (T, 3, H, W) as a clip of RGB24, or of YUV420P8 as films are stored."""
    core = vs.core
    codes = (clip * 255).round().byte().numpy()

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), codes[n, plane])
        return out

    blank = core.std.BlankClip(width=clip.shape[3], height=clip.shape[2], length=len(clip), format=vs.RGB24, keep=True)
    node = blank.std.ModifyFrame(blank, paint)
    return node.resize.Bicubic(format=vs.YUV420P8, matrix=6) if subsampled else node


def psnr(restored: torch.Tensor, clean: torch.Tensor) -> float:
    """In dB, mean over frames without those at the ends."""
    part = slice(MARGIN, len(clean) - MARGIN)
    error = (restored[part].clamp(0, 1) - clean[part]).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error.clamp(min=1e-9))).mean())


def curve(noisy: torch.Tensor, clean: torch.Tensor, network: Any) -> list[float]:
    """PSNR for each of the fixed sigmas."""
    ratios = []
    for sigma in SIGMAS:
        level = torch.full((len(noisy), 1, *noisy.shape[2:]), sigma / 255)
        ratios.append(psnr(restore(network, noisy, level) if sigma else noisy, clean))
    return ratios


def measured(node: vs.VideoNode) -> tuple[list[float], list[float]]:
    """Sigma of each frame as `Denoise` takes it, but from all levels around, not each fifth; its confidence."""
    levels = [
        Level(float(frame.props["GShiftSigma"]), float(frame.props["GShiftSigmaConfidence"]))
        for frame in vs.core.gshift.EstimateNoise(node).frames(close=False)
    ]
    around = (levels[max(n - SMOOTHED_OVER, 0) : n + SMOOTHED_OVER + 1] for n in range(len(levels)))
    return [level_to_remove(some) for some in around], [level.confidence for level in levels]


def row(
    path: Path, case: Case, clean: torch.Tensor, network: Any, weights: str, known: dict[Any, Any]
) -> dict[str, Any]:
    """What the report says of a clip and a case."""
    clip = spoilt(clean, case, path.name)
    sigmas, confidences = measured(as_node(clip, subsampled=case.coding is not None))
    key = (path.name, tuple(clean.shape), str(case), weights)
    ratios = known[key]["curve"] if key in known else curve(clip, clean, network)
    sigma = float(np.median(sigmas))
    at = float(np.interp(sigma, SIGMAS, ratios))
    best = int(np.argmax(ratios))
    return {
        "clip": path.name,
        "shape": list(clean.shape),
        "case": str(case),
        "weights": weights,
        "curve": ratios,
        "error": 255 * float((clip - clean).square().mean().sqrt()),
        "measured": sigma,
        "spread": float(np.ptp(sigmas)),
        "confidence": float(np.median(confidences)),
        "best_sigma": SIGMAS[best],
        "unchanged": ratios[0],
        "psnr": at,
        "best": ratios[best],
        "lost": ratios[best] - at,
    }


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default=NAME, help="name or file")
    parser.add_argument("--cases", default="", help="only those whose names contain this")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=256, help="pixels of the long side, at most")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    before = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    known = {(r["clip"], tuple(r["shape"]), r["case"], r["weights"]): r for r in before}
    weights = hashlib.sha256(find(options.model).read_bytes()).hexdigest()[:12]
    network = prepared(load_network(options.model))
    rows: list[dict[str, Any]] = []
    for path in options.clips:
        clean = torch.from_numpy(read(path, options.frames, options.size))
        clean = clean[..., : clean.shape[2] // 8 * 8, : clean.shape[3] // 8 * 8].clamp(0, 1)
        for case in CASES:
            if options.cases in str(case):
                rows.append(row(path, case, clean, network, weights, known))
    kept = [
        r
        for key, r in known.items()
        if key not in {(r["clip"], tuple(r["shape"]), r["case"], r["weights"]) for r in rows}
    ]
    options.output.write_text(json.dumps({"sigmas": SIGMAS, "rows": rows + kept}, indent=1) + "\n")
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each row, the worst last; then the mean of each case."""
    head = f"{'clip':28}{'case':24}" + "".join(f"{name:>7}" for name in COLUMNS)
    print(head)
    for r in sorted(rows, key=lambda r: r["lost"]):
        print(line(r["clip"][:27], r["case"], r))
    print()
    print(head)
    for case in dict.fromkeys(r["case"] for r in rows):
        some = [r for r in rows if r["case"] == case]
        mean = {k: float(np.mean([r[k] for r in some])) for k, v in some[0].items() if isinstance(v, float)}
        print(line(f"mean of {len(some)}, worst {max(r['lost'] for r in some):.2f}", case, mean))


def line(clip: str, case: str, r: dict[str, Any]) -> str:
    """One line of the table."""
    return f"{clip:28}{case:24}" + "".join(f"{r[key]:7.2f}" for key in COLUMNS.values())


if __name__ == "__main__":
    main()
