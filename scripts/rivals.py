"""The bundled denoisers beside V-BM3D (`bm3dcpu`), `dfttest2` and mvtools on clips with white noise.

    python -m venv rivals
    rivals/bin/pip install vapoursynth==79 vapoursynth-bm3dcpu vapoursynth-dfttest2-cpu dfttest2 numpy
    rivals/bin/pip install vapoursynth-mvtools
    python scripts/rivals.py CLIP ... --rival-python rivals/bin/python --output rivals.json

`bm3dcpu`'s wheel is for VapourSynth 79 and earlier, so the rivals run in an environment of their own. Noise of a known
sigma is added to RGB, not clipped. V-BM3D works on YUV444PS with radius 4, a basic and a final step, `dfttest2` on RGBS
with tbsize 5, mvtools on YUV444P16; their strength is tuned for each level on the mean over the clips. Only the frames
in the middle count: all of them have all neighbours. Every filter has one thread; `fp16` needs a CPU with bfloat16
arithmetic. The report is written after each clip, and a run that was stopped goes on from it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

Row = dict[str, Any]

RADIUS = 4
RIVALS: dict[str, list[Row]] = {
    "V-BM3D, steps 8/7": [
        {"scale": scale, "steps": (8, 7), "ranges": (7, 7)} for scale in (1.15, 1.3)
    ],
    "V-BM3D, steps 4/3": [
        {"scale": scale, "steps": (4, 3), "ranges": (12, 6)} for scale in (1.15, 1.3)
    ],
    "dfttest2": [{"scale": scale, "power": True} for scale in (1.4, 2.0, 2.8)],
    "Degrain3 (mvtools)": [{"scale": scale, "sad": True} for scale in (100, 160, 250)],
}  # fmt: skip
"""Settings of each filter that the best of is taken: what sigma, for `dfttest2` its square, is multiplied by."""
OURS = ("tiny-denoise", "fine-denoise", "tiny-denoise, fp16", "fine-denoise, fp16")
CROP = 120
"""Pixels of a square of the pictures."""
MARGIN = 8
"""Frames at each end that do not count."""


def run_rivals(folder: Path) -> None:
    """Run in the rivals' environment: restore folder/noisy.npy as each of folder/tasks.json says."""
    import vapoursynth as vs

    core = vs.core
    core.num_threads = 1
    noisy = np.load(folder / "noisy.npy")

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        f = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(f[plane]), noisy[n, plane])
        return f

    def restored(clip: vs.VideoNode, task: Row) -> vs.VideoNode:
        if "power" in task:
            import dfttest2  # type: ignore[import-not-found]

            return dfttest2.DFTTest(clip, sigma=task["scale"] * task["sigma"] ** 2, tbsize=5)
        if "thsad" in task or "sad" in task:
            most = task.get("thsad") or task["scale"] * task["sigma"]
            clip = clip.resize.Bicubic(format=vs.YUV444P16, matrix=1)
            whole = clip.mv.Super(pel=2, sharp=1)
            vectors = [
                whole.mv.Analyse(isb=backwards, delta=delta, blksize=8, overlap=4, search=3, truemotion=True)
                for delta in (1, 2, 3)
                for backwards in (True, False)
            ]
            clip = clip.mv.Degrain3(whole, *vectors, thsad=most, thsadc=most, thscd1=4000)
            return clip.resize.Bicubic(format=vs.RGBS, matrix_in=1)
        if "h" in task:
            clip = clip.resize.Bicubic(format=vs.YUV444P16, matrix=1)
            clip = clip.nlm_ispc.NLMeans(d=2, a=2, s=2, h=task["h"], channels="YUV")
            return clip.resize.Bicubic(format=vs.RGBS, matrix_in=1)
        clip = clip.resize.Bicubic(format=vs.YUV444PS, matrix=1)
        ref: vs.VideoNode | None = None
        for step, reach in zip(task["steps"], task["ranges"], strict=True):
            how = {"sigma": [task["scale"] * task["sigma"]] * 3, "block_step": step, "bm_range": reach}
            how |= {"radius": RADIUS, "chroma": True} | ({} if ref is None else {"ref": ref})
            ref = core.bm3dcpu.BM3Dv2(clip, **how)
        assert ref is not None
        return ref.resize.Bicubic(format=vs.RGBS, matrix_in=1)

    blank = core.std.BlankClip(width=noisy.shape[3], height=noisy.shape[2], length=len(noisy), format=vs.RGBS)
    # Made once, so that it does not count as the filter's time.
    source = core.std.ModifyFrame(blank, blank, fill)
    # One by one: the generator `frames` of VapourSynth 79 can spin for ever with one thread.
    frames = [source.get_frame(n).copy() for n in range(len(source))]
    clip = core.std.ModifyFrame(blank, blank, lambda n, f: frames[n])
    seconds = []
    for number, task in enumerate(json.loads((folder / "tasks.json").read_text())):
        start = time.process_time()
        out = restored(clip, task)
        found = []
        for n in range(len(out)):
            with out.get_frame(n) as frame:
                found.append(np.stack([np.asarray(frame[plane]) for plane in range(3)]))
        seconds.append((time.process_time() - start) / len(found))
        np.save(folder / f"{number}.npy", np.stack(found))
    (folder / "seconds.json").write_text(json.dumps(seconds))


def read(path: Path, frames: int, size: int) -> np.ndarray:
    """Frames from the middle of a clip, (T, 3, H, W), RGB in [0, 1]; at most ``size`` pixels on the long side."""
    import vapoursynth as vs

    from vsgshift.h273 import UNSPECIFIED, usual_matrix
    from vsgshift.video.clip import open_clip

    opened = open_clip(path)
    clip = opened.node
    clip = clip[max(0, (len(clip) - frames) // 2) :][:frames]
    scale = min(1.0, size / max(clip.width, clip.height))
    width, height = (int(length * scale) // 2 * 2 for length in (clip.width, clip.height))
    matrix = opened.props.get("_Matrix", UNSPECIFIED)
    known = {"matrix_in": usual_matrix(clip.width, clip.height)} if matrix == UNSPECIFIED else {}
    clip = clip.resize.Bicubic(width=width, height=height, format=vs.RGBS, **known)
    return np.stack([np.stack([np.asarray(frame[plane]) for plane in range(3)]) for frame in clip.frames(close=True)])


def moved(path: Path, frames: int, size: int) -> np.ndarray:
    """A photograph as a clip: a camera that pans, turns and comes nearer; as `read` gives it."""
    import torch
    from PIL import Image

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    # Twice what the view shows, so that sampling it at fractions of a pixel does not soften it.
    scale = max(1.0, 2.4 * size / max(picture.size))
    pixels = np.asarray(picture.resize([round(length * scale) for length in picture.size], Image.Resampling.LANCZOS))
    whole = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    width, height = size, size * 9 // 16
    draw = np.random.default_rng(sum(path.name.encode()))
    pan, turn, zoom = draw.uniform(-3, 3, 2), draw.uniform(-0.004, 0.004), draw.uniform(-0.003, 0.003)
    y, x = torch.meshgrid(torch.arange(2 * height) - height + 0.5, torch.arange(2 * width) - width + 0.5, indexing="ij")
    out = []
    for number in range(frames):
        time_from_middle = number - frames / 2
        angle, factor = turn * time_from_middle, 1 + zoom * time_from_middle
        across = factor * (np.cos(angle) * x - np.sin(angle) * y) + 2 * pan[0] * time_from_middle
        down = factor * (np.sin(angle) * x + np.cos(angle) * y) + 2 * pan[1] * time_from_middle
        grid = torch.stack((2 * across / whole.shape[3], 2 * down / whole.shape[2]), -1)[None].float()
        seen = torch.nn.functional.grid_sample(
            whole, grid, mode="bicubic", padding_mode="reflection", align_corners=False
        )
        out.append(torch.nn.functional.avg_pool2d(seen, 2)[0].clamp(0, 1).numpy())
    return np.stack(out)


def ours(name: str, noisy: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """Restored frames, and the CPU seconds that each took."""
    import torch

    from vsgshift import load_network, prepared, restore

    torch.set_num_threads(1)
    model, _, half = name.partition(", ")
    network = prepared(load_network(model, dtype=torch.bfloat16 if half else torch.float32))
    clip = torch.from_numpy(noisy)
    level = torch.full((len(clip), 1, *clip.shape[2:]), sigma / 255)
    start = time.process_time()
    found = restore(network, clip, level)
    return found.numpy(), (time.process_time() - start) / len(clip)


def vmaf(found: np.ndarray, clean: np.ndarray) -> float:
    """VMAF of a restored clip, by ffmpeg; both rounded to 8 bits."""
    from vsgshift.video.programs import find_ffmpeg

    with TemporaryDirectory() as made:
        folder = Path(made)
        inputs: list[str] = []
        for name, clip in (("found", found), ("clean", clean)):
            pixels = (clip * 255).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
            (folder / name).write_bytes(np.ascontiguousarray(pixels).tobytes())
            inputs += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{clip.shape[3]}x{clip.shape[2]}", "-i", name]
        graph = "[0]format=yuv444p[a];[1]format=yuv444p[b];[a][b]libvmaf=log_fmt=json:log_path=log"
        command = [find_ffmpeg(), "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"]
        subprocess.run(command, check=True, cwd=folder)
        return float(json.loads((folder / "log").read_text())["pooled_metrics"]["vmaf"]["mean"])


def scores(found: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Mean PSNR (dB), SSIM and flicker (how much the error changes from frame to frame, 8-bit scale), and VMAF."""
    import torch

    from evaluation import metrics

    part = slice(MARGIN, len(clean) - MARGIN)
    pair = [torch.from_numpy(np.ascontiguousarray(clip[part])) for clip in (found, clean)]
    measures = {"psnr": metrics.psnr, "ssim": metrics.ssim, "flicker": metrics.flicker}
    return {name: float(measure(*pair).mean()) for name, measure in measures.items()} | {
        "vmaf": vmaf(found[part], clean[part])
    }


def rows_of(name: str, clean: np.ndarray, sigma: float, python: str, done: set[str]) -> Iterator[Row]:
    """A row for each filter and setting, on one clip with one sigma; but for those filters that are done."""
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    noisy = (clean + sigma / 255 * noise).astype(np.float32)
    where: Row = {"clip": name, "size": f"{clean.shape[3]}x{clean.shape[2]}", "sigma": sigma}
    if "none" not in done:
        yield where | {"filter": "none"} | scores(noisy, clean)
    for model in OURS:
        if model not in done:
            found, seconds = ours(model, noisy, sigma)
            yield where | {"filter": model, "cpu_seconds": seconds} | scores(found, clean)
    tasks = [
        {"filter": rival, "sigma": sigma} | how
        for rival, settings in RIVALS.items()
        if rival not in done
        for how in settings
    ]
    for task, (found, seconds) in zip(tasks, theirs(noisy, tasks, python), strict=True):
        row = where | {"filter": task["filter"], "scale": task["scale"], "cpu_seconds": seconds}
        yield row | scores(found, clean)


def theirs(noisy: np.ndarray, tasks: list[Row], python: str) -> Iterator[tuple[np.ndarray, float]]:
    """Frames that rivals have restored, and the CPU seconds that each took: of each task in turn."""
    if not tasks:
        return
    with TemporaryDirectory() as made:
        folder = Path(made)
        np.save(folder / "noisy.npy", noisy)
        (folder / "tasks.json").write_text(json.dumps(tasks))
        subprocess.run([python, __file__, "--run-rivals", made], check=True)
        for number, seconds in enumerate(json.loads((folder / "seconds.json").read_text())):
            yield np.load(folder / f"{number}.npy"), seconds


def write(path: Path, report: dict[str, Any]) -> None:
    """Write a report, with a line for each row."""
    rows = (
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        for row in report["rows"]
    )
    head = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in report.items() if name != "rows")
    path.write_text(f'{{{head}"rows": [\n{",\n".join(json.dumps(row) for row in rows)}\n]}}\n')


def best(rows: list[Row]) -> list[Row]:
    """For each filter and sigma, the rows of the scale that is best in the mean over the clips."""
    groups: dict[tuple[str, float], dict[float | None, list[Row]]] = {}
    for row in rows:
        groups.setdefault((row["filter"], row["sigma"]), {}).setdefault(row.get("scale"), []).append(row)
    return [
        row
        for scales in groups.values()
        for row in max(scales.values(), key=lambda group: sum(row["psnr"] for row in group) / len(group))
    ]


def picture(path: Path, clip: np.ndarray, sigma: float, rows: list[Row], python: str) -> None:
    """Crops of a clip's middle frame: noisy, by each filter at the report's best setting, and as it was."""
    import torch

    from evaluation.pictures import busiest, write_side_by_side

    noisy = (clip + sigma / 255 * np.random.default_rng(0).standard_normal(clip.shape)).astype(np.float32)
    scales = {row["filter"]: row.get("scale") for row in best(rows) if row["sigma"] == sigma}
    tasks = [
        {"filter": rival, "sigma": sigma} | next(how for how in settings if how["scale"] == scales[rival])
        for rival, settings in RIVALS.items()
    ]
    shown = {f"noise, sigma {sigma:g}": noisy} | {
        name: ours(name, noisy, sigma)[0] for name in OURS if "fp16" not in name
    }
    shown |= {task["filter"]: found for task, (found, _) in zip(tasks, theirs(noisy, tasks, python), strict=True)}
    shown["original"] = clip
    frames = {name: torch.from_numpy(frames[len(clip) // 2].copy()) for name, frames in shown.items()}
    write_side_by_side(path, frames, busiest(frames["original"], CROP), side=CROP, columns=(len(frames) + 1) // 2)


def table(rows: list[Row]) -> str:
    """The means over the clips as Markdown: a line for each filter, and how many clips are below each rival's."""
    chosen = best(rows)
    sigmas = sorted({row["sigma"] for row in rows})
    filters = list(dict.fromkeys(row["filter"] for row in rows))
    lines = ["| filter | measure | " + " | ".join(f"sigma {sigma:g}" for sigma in sigmas) + " |"]
    lines.append("|---" * (2 + len(sigmas)) + "|")

    def values(name: str, sigma: float, key: str) -> dict[str, float]:
        return {row["clip"]: row[key] for row in chosen if (row["filter"], row["sigma"]) == (name, sigma)}

    for key, digits in (("psnr", 2), ("ssim", 4), ("vmaf", 1), ("flicker", 2), ("cpu_seconds", 3)):
        for name in filters:
            if name == "none" and key == "cpu_seconds":
                continue
            means = [list(values(name, sigma, key).values()) for sigma in sigmas]
            lines.append(f"| {name} | {key} | " + " | ".join(f"{np.mean(x):.{digits}f}" for x in means) + " |")
    for rival in RIVALS:
        for name in OURS:
            gains = []
            for sigma in sigmas:
                theirs = values(rival, sigma, "psnr")
                differences = [value - theirs[clip] for clip, value in values(name, sigma, "psnr").items()]
                gains.append(f"{np.mean(differences):+.2f} ({min(differences):+.2f})")
            lines.append(f"| {name} over {rival} | psnr, mean (worst clip) | " + " | ".join(gains) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="videos, or photographs, which are then moved by code")
    parser.add_argument("--rival-python", default="rivals/bin/python", help="of the environment that has the rivals")
    parser.add_argument("--sigma", nargs="+", type=float, default=[3, 5, 10, 20, 30, 50])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=640, help="pixels of the long side, at most")
    parser.add_argument("--output", type=Path, required=True, help="JSON; a run goes on from what is there")
    parser.add_argument("--again", nargs="*", default=[], help="filters to run again, though they are in the report")
    parser.add_argument(
        "--picture", type=Path, help="instead: crops of one clip with one sigma, filters set as the report says is best"
    )
    options = parser.parse_args()
    report: dict[str, Any] = {"rows": []}
    if options.output.is_file():
        report = json.loads(options.output.read_text())
    if options.picture:
        (path,), (sigma,) = options.clips, options.sigma
        clip = read(path, options.frames, options.size)
        picture(options.picture, clip, sigma, report["rows"], options.rival_python)
        return
    report["rows"] = [row for row in report["rows"] if row["filter"] not in options.again]
    done: dict[tuple[str, float], set[str]] = {}
    for row in report["rows"]:
        done.setdefault((row["clip"], row["sigma"]), set()).add(row["filter"])
    everything = {"none", *OURS, *RIVALS}
    for path in options.clips:
        missing = [sigma for sigma in options.sigma if everything - done.get((path.name, sigma), set())]
        if not missing:
            continue
        still = path.suffix.lower() in (".jpg", ".jpeg", ".png")
        clean = (moved if still else read)(path, options.frames, options.size)
        if len(clean) <= 2 * MARGIN + 1:
            print(path.name, "is too short: left out", flush=True)
            continue
        for sigma in missing:
            already = done.get((path.name, sigma), set())
            report["rows"] += rows_of(path.name, clean, sigma, options.rival_python, already)
            report["date"] = datetime.now(UTC).isoformat(timespec="seconds")
            write(options.output, report)
            print(path.name, f"sigma {sigma:g}", flush=True)
    print(table(report["rows"]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run-rivals"]:
        run_rivals(Path(sys.argv[2]))
    else:
        main()
