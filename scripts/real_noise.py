"""`Denoise` at default options beside other filters tuned by hand, on clips with the noise of cameras, film and tapes.

    rivals/bin/pip install vapoursynth-nlm-ispc    # beside what scripts/rivals.py names
    python scripts/real_noise.py CLIP ... --rival-python rivals/bin/python --output real_noise.json
    python scripts/real_noise.py CLIP --output real_noise.json --picture crops.jpg    # by the settings in the report

Cases and noise are those of `scripts/measure_noise.py`. Ours gets the sigma that it measures. Of each rival the
strength counts that is best on the clip and the case, as if an expert had tuned it by eye. All filters get the same
frames and have one thread; frames at the ends do not count. A run that was stopped goes on from its report.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

import rivals
from evaluation import metrics
from evaluation.pictures import busiest, write_side_by_side
from measure_noise import CASES, Case, as_node, measured, spoilt
from vsgshift import load_network, prepared, restore
from vsgshift.network import ShiftNet
from vsgshift.video.programs import find_ffmpeg

Row = rivals.Row

OURS = "tiny-denoise"
MARGIN = 4
"""Frames at each end that do not count."""
RIVALS: dict[str, list[Row]] = {
    "V-BM3D, steps 8/7": [
        {"sigma": sigma, "scale": 1, "steps": (8, 7), "ranges": (7, 7)} for sigma in (2, 4, 7, 11, 17, 27)
    ],
    "dfttest2": [{"sigma": sigma, "scale": 2.0, "power": True} for sigma in (2, 4, 7, 11, 17, 27)],
    "nlmeans": [{"h": h} for h in (1.5, 3, 5, 8, 14)],
    "Degrain3 (mvtools)": [{"thsad": thsad} for thsad in (60, 120, 240, 480, 960, 1920)],
    "hqdn3d": [{"luma": strength} for strength in (1.5, 3, 6, 12, 24)],
}  # fmt: skip
"""Strengths of each filter that the best of is taken."""


def hqdn3d(noisy: np.ndarray, strength: float) -> np.ndarray:
    """Frames (T, 3, H, W), RGB, by ffmpeg in 4:4:4 of 10 bits."""
    frames, _, height, width = noisy.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-s", f"{width}x{height}"]
    graph = f"format=gbrp16le,format=yuv444p10le,hqdn3d={strength},format=gbrpf32le"
    command = [find_ffmpeg(), "-v", "error", *raw, "-i", "-", "-vf", graph, *raw, "-"]
    planes = noisy[:, [1, 2, 0]].astype("<f4").tobytes()
    done = subprocess.run(command, input=planes, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, "<f4").reshape(frames, 3, height, width)[:, [2, 0, 1]]


def scores(found: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM."""
    part = slice(MARGIN, len(clean) - MARGIN)
    pair = [torch.from_numpy(np.array(clip[part], np.float32)).clamp(0, 1) for clip in (found, clean)]
    return {"psnr": float(metrics.psnr(*pair).mean()), "ssim": float(metrics.ssim(*pair).mean())}


def rows_of(
    name: str, clean: torch.Tensor, case: Case, network: ShiftNet, python: str, done: set[str]
) -> Iterator[Row]:
    """A row for each filter and strength, on one clip and one case; but for those filters that are done."""
    noisy = spoilt(clean, case, name)
    deviation = 255 * float((noisy - clean).square().mean().sqrt())
    where: Row = {"clip": name, "case": str(case), "deviation": deviation}
    if "none" not in done:
        yield where | {"filter": "none"} | scores(noisy.numpy(), clean.numpy())
    if OURS not in done:
        yield where | ours(noisy, clean, case, network)
    for how in RIVALS["hqdn3d"] if "hqdn3d" not in done else ():
        yield where | {"filter": "hqdn3d"} | how | scores(hqdn3d(noisy.numpy(), how["luma"]), clean.numpy())
    missing = [rival for rival in RIVALS if rival not in done | {"hqdn3d"}]
    tasks = [{"filter": rival} | how for rival in missing for how in RIVALS[rival]]
    for task, (restored, _) in zip(tasks, rivals.theirs(noisy.numpy(), tasks, python), strict=True):
        yield where | task | scores(restored, clean.numpy())


def ours(noisy: torch.Tensor, clean: torch.Tensor, case: Case, network: ShiftNet) -> Row:
    """What the report says of our filter."""
    found, sigma = restored(noisy, case, network)
    return {"filter": OURS, "sigma": sigma} | scores(found.numpy(), clean.numpy())


def restored(noisy: torch.Tensor, case: Case, network: ShiftNet) -> tuple[torch.Tensor, float]:
    """The clip without the noise that is measured in it, and the median of that."""
    sigmas, _ = measured(as_node(noisy, subsampled=case.coding is not None))
    level = torch.tensor(sigmas).view(-1, 1, 1, 1).expand(-1, 1, *noisy.shape[2:]) / 255
    return restore(network, noisy, level.contiguous()), float(np.median(sigmas))


def table(rows: list[Row]) -> str:
    """The gain of each filter in dB and SSIM, mean over the clips, as Markdown: a line for each case."""
    filters = [OURS, *RIVALS]
    lines = [
        "| noise | deviation, sigma read | " + " | ".join(filters) + " | least of ours |",
        "|---" * (3 + len(filters)) + "|",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        gains: dict[str, list[tuple[float, float]]] = {name: [] for name in filters}
        some = [row for row in rows if row["case"] == case]
        for clip in dict.fromkeys(row["clip"] for row in some):
            if {row["filter"] for row in some if row["clip"] == clip} < {"none", *filters}:
                continue
            (before,) = (row for row in some if (row["clip"], row["filter"]) == (clip, "none"))
            for name in filters:
                tried = [row for row in some if (row["clip"], row["filter"]) == (clip, name)]
                best = max(tried, key=lambda row: row["psnr"])
                gains[name].append((best["psnr"] - before["psnr"], best["ssim"] - before["ssim"]))
        if not gains[OURS]:
            continue
        read = [row["sigma"] for row in some if row["filter"] == OURS]
        deviations = [row["deviation"] for row in some if row["filter"] == OURS]
        cells = ["{:+.2f}, {:+.3f}".format(*np.mean(gains[name], 0)) for name in filters]
        lines.append(
            f"| {case} | {np.mean(deviations):.1f}, {np.mean(read):.1f} | "
            + " | ".join(cells)
            + f" | {min(gain for gain, _ in gains[OURS]):+.2f} |"
        )
    return "\n".join(lines)


def picture(path: Path, name: str, clean: torch.Tensor, cases: list[Case], rows: list[Row], python: str) -> None:
    """Crops of a clip's middle frame for some cases: noisy, by each filter at its best in the report, as it was."""
    network = prepared(load_network(OURS))
    middle = len(clean) // 2
    crops: dict[str, torch.Tensor] = {}
    for case in cases:
        noisy = spoilt(clean, case, name)
        tried = [row for row in rows if (row["clip"], row["case"]) == (name, str(case))]
        best = {each: max((r for r in tried if r["filter"] == each), key=lambda row: row["psnr"]) for each in RIVALS}
        shown = {f"{case}": noisy.numpy(), OURS: restored(noisy, case, network)[0].numpy()}
        tasks = [best[each] for each in RIVALS if each != "hqdn3d"]
        found = rivals.theirs(noisy.numpy(), tasks, python)
        shown |= {task["filter"]: frames for task, (frames, _) in zip(tasks, found, strict=True)}
        shown |= {"hqdn3d": hqdn3d(noisy.numpy(), best["hqdn3d"]["luma"]), "original": clean.numpy()}
        # Names must differ from row to row.
        crops |= {each + " " * len(crops): torch.from_numpy(frames[middle].copy()) for each, frames in shown.items()}
    columns = len(crops) // len(cases)
    write_side_by_side(path, crops, busiest(clean[middle], rivals.CROP), side=rivals.CROP, columns=columns)


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--rival-python", default="rivals/bin/python", help="of the environment that has the rivals")
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--size", type=int, default=256, help="pixels of the long side, at most")
    parser.add_argument("--output", type=Path, required=True, help="JSON; a run goes on from what is there")
    parser.add_argument("--again", nargs="*", default=[], help="filters to run again, though they are in the report")
    parser.add_argument(
        "--picture", type=Path, help="instead: crops of one clip, filters set as the report says is best"
    )
    parser.add_argument("--case", nargs="+", default=["raw 9, x264 23", "grain 10"], help="noise of the picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = json.loads(options.output.read_text())["rows"] if options.output.is_file() else []
    rows = [row for row in rows if row["filter"] not in options.again]
    done: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        done.setdefault((row["clip"], row["case"]), set()).add(row["filter"])
    network = prepared(load_network(OURS))
    for path in options.clips:
        clean = torch.from_numpy(rivals.read(path, options.frames, options.size)).clamp(0, 1)
        clean = clean[..., : clean.shape[2] // 8 * 8, : clean.shape[3] // 8 * 8].contiguous()
        if options.picture:
            cases = [case for case in CASES if str(case) in options.case]
            picture(options.picture, path.name, clean, cases, rows, options.rival_python)
            return
        for case in CASES:
            already = done.get((path.name, str(case)), set())
            if case.sigma and {"none", OURS, *RIVALS} - already:
                rows += rows_of(path.name, clean, case, network, options.rival_python, already)
                date = datetime.now(UTC).isoformat(timespec="seconds")
                rivals.write(options.output, {"date": date, "table": table(rows), "rows": rows})
                print(path.name, case, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
