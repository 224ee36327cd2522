"""`Deblur` on clips whose rate is raised by motion interpolation, then averaged: blur as their own motion makes it.

    python scripts/real_blur.py CLIP ... --output real_blur.json

Each frame is the mean, in linear light, of eight instants a frame period while the shutter is open; the sharp one is
that in the middle, a frame of the clip. Frames at the ends do not count. Parts are blocks of 16 pixels; those that the
blur changes by less than 45 dB are "still": what happens to them tells what is lost where there is nothing to gain.
"""

import argparse
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import rivals
from evaluation import metrics
from vsgshift import load_network, prepared, restore
from vsgshift.network import ShiftNet
from vsgshift.video.programs import find_ffmpeg

INSTANTS = 8
"""For each frame of the clip."""
CASES = {"none": (1, 0.0), "short": (1, 0.4), "long": (1, 0.9), "half the rate": (2, 0.9)}
"""Frames of the clip in a frame period, and for what part of that the shutter is open."""
MARGIN = 3
"""Frames at each end that do not count."""
BLOCK = 16
STILL = 45.0
"""PSNR in dB above which a block is not blurred."""
GAMMA = 2.2


def interpolated(clean: np.ndarray) -> np.ndarray:
    """A clip (T, 3, H, W) at `INSTANTS` times its rate, from its first frame on."""
    _, _, height, width = clean.shape
    size = ["-f", "rawvideo", "-pix_fmt", "gbrp", "-s", f"{width}x{height}"]
    raised = f"minterpolate=fps={10 * INSTANTS}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    graph = f"format=yuv444p,{raised},format=gbrp"
    command = [find_ffmpeg(), "-v", "error", *size, "-r", "10", "-i", "-", "-vf", graph, *size, "-"]
    planes = (clean[:, [1, 2, 0]].clip(0, 1) * 255).round().astype(np.uint8).tobytes()
    done = subprocess.run(command, input=planes, stdout=subprocess.PIPE, check=True)
    found = np.frombuffer(done.stdout, np.uint8).reshape(-1, 3, height, width)[:, [2, 0, 1]]
    return found.astype(np.float32) / 255


def blurred(instants: np.ndarray, period: int, exposure: float) -> tuple[Tensor, Tensor]:
    """A blurred clip and its sharp one."""
    reach = round((exposure * period * INSTANTS - 1) / 2) if exposure else 0
    step = period * INSTANTS
    middles = range(-(-reach // step) * step, len(instants) - reach, step)
    sharp = torch.from_numpy(instants[list(middles)])
    if not reach:
        return sharp, sharp
    light = torch.from_numpy(instants) ** GAMMA
    mean = torch.stack([light[middle - reach : middle + reach + 1].mean(0) for middle in middles]) ** (1 / GAMMA)
    return (mean * 255).round() / 255, sharp


def scores(found: Tensor, given: Tensor, sharp: Tensor) -> dict[str, float]:
    """PSNR in dB and SSIM before and after; PSNR of blocks that are blurred, and of those that are not."""
    part = slice(MARGIN, len(sharp) - MARGIN)
    found, given, sharp = (clip[part] for clip in (found.clamp(0, 1), given, sharp))
    before, after = ((clip - sharp).square().mean(1, keepdim=True) for clip in (given, found))
    still = functional.avg_pool2d(before, BLOCK) < 10 ** (-STILL / 10)
    out = {"still": float(still.float().mean())}
    for when, clip, error in (("before", given, before), ("after", found, after)):
        out[f"psnr {when}"] = float(metrics.psnr(clip, sharp).clamp(max=80).mean())
        out[f"ssim {when}"] = float(metrics.ssim(clip, sharp).mean())
        blocks = functional.avg_pool2d(error, BLOCK)
        for name, mask in (("still", still), ("moving", ~still)):
            mean = float(blocks[mask].mean()) if mask.any() else 0.0
            out[f"{name} {when}"] = float(-10 * np.log10(mean + 1e-8))
    return out


def report(paths: list[Path], networks: dict[str, ShiftNet], frames: int, size: int) -> list[rivals.Row]:
    """A row for each clip, case and network."""
    out = []
    for path in paths:
        clean = rivals.read(path, frames, size)
        height, width = (length // 16 * 16 for length in clean.shape[2:])
        instants = interpolated(clean[..., :height, :width])
        for name, (period, exposure) in CASES.items():
            given, sharp = blurred(instants, period, exposure)
            if len(sharp) <= 2 * MARGIN:
                continue
            for model, network in networks.items():
                row: rivals.Row = {"clip": path.name, "case": name, "model": model}
                row |= scores(restore(network, given), given, sharp)
                out.append(row)
                print(
                    f"{path.name:24} {name:14} {model:12} {row['psnr before']:6.2f} {row['psnr after']:6.2f}  "
                    f"moving {row['moving before']:6.2f} {row['moving after']:6.2f}  "
                    f"still ({row['still']:4.0%}) {row['still before']:6.2f} {row['still after']:6.2f}",
                    flush=True,
                )
    return out


def table(rows: list[rivals.Row]) -> str:
    """The means over the clips as Markdown: a line for each case and model."""
    lines = ["| shutter | model | PSNR | worst clip | SSIM | blurred blocks | still blocks |", "|---" * 7 + "|"]
    groups: dict[tuple[str, str], list[rivals.Row]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["model"]), []).append(row)
    for (case, model), some in sorted(groups.items(), key=lambda group: list(CASES).index(group[0][0])):
        period, exposure = CASES[case]
        if not exposure:
            psnr = np.mean([row["psnr after"] for row in some])
            lines.append(f"| no blur | {model} | to itself {psnr:.1f} | | | | |")
            continue
        gains = [row["psnr after"] - row["psnr before"] for row in some]
        cells = [f"open for {exposure * period:.1f} frames", model]
        for key, digits in (("psnr", 2), ("ssim", 4), ("moving", 2), ("still", 2)):
            # Clips without blurred blocks have no say in these.
            counted = [row for row in some if key != "moving" or row["still"] < 1]
            before, after = (np.mean([row[f"{key} {when}"] for row in counted]) for when in ("before", "after"))
            cells.append(f"{before:.{digits}f} to {after:.{digits}f}")
        cells.insert(3, f"{min(gains):+.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write a report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", nargs="+", default=["tiny-deblur"], help="names or files")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=480, help="most pixels on the long side")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks = {model: prepared(load_network(model)) for model in given.model}
    rows = report(given.clips, networks, given.frames, given.size)
    print(table(rows))
    if given.output:
        facts = {"date": datetime.now(UTC).date().isoformat(), "size": given.size}
        rivals.write(given.output, facts | {"table": table(rows), "rows": rows})


if __name__ == "__main__":
    main()
