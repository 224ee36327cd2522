"""The bundled denoiser beside V-BM3D (`bm3dcpu`) on real clips with white noise: PSNR, flicker and CPU time.

    python -m venv rivals && rivals/bin/pip install vapoursynth==79 vapoursynth-bm3dcpu numpy
    python scripts/rivals.py CLIP ... --rival-python rivals/bin/python --output rivals.json

`bm3dcpu`'s wheel is for VapourSynth 79 and earlier, so it runs in an environment of its own. Noise of a known sigma is
added to RGB, not clipped. V-BM3D works on YUV444PS with radius 4, a basic and a final step; its sigma is tuned on the
clips, over once and 1.2 times the true one. Only the frames in the middle count: all of them have all neighbours.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

RADIUS = 4
SETTINGS = {"V-BM3D, steps 8/7": ((8, 7), (7, 7)), "V-BM3D, steps 4/3": ((4, 3), (12, 6))}
"""Block steps and ranges of both steps."""
SCALES = (1.0, 1.2)
NAME = "tiny-denoise"
MARGIN = 8
"""Frames at each end that do not count."""


def vbm3d(folder: Path) -> None:
    """Run in the rivals' environment: restore folder/noisy.npy as folder/task.json says, into folder/restored.npy."""
    import vapoursynth as vs

    core = vs.core
    core.num_threads = 1
    task = json.loads((folder / "task.json").read_text())
    noisy = np.load(folder / "noisy.npy")

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        f = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(f[plane]), noisy[n, plane])
        return f

    blank = core.std.BlankClip(width=noisy.shape[3], height=noisy.shape[2], length=len(noisy), format=vs.RGBS)
    clip = core.std.ModifyFrame(blank, blank, fill).resize.Bicubic(format=vs.YUV444PS, matrix=1)
    ref: vs.VideoNode | None = None
    for step, reach in zip(task["steps"], task["ranges"], strict=True):
        how = {"sigma": [task["sigma"]] * 3, "block_step": step, "bm_range": reach, "radius": RADIUS, "chroma": True}
        ref = core.bm3dcpu.BM3Dv2(clip, **how) if ref is None else core.bm3dcpu.BM3Dv2(clip, ref=ref, **how)
    assert ref is not None
    out = ref.resize.Bicubic(format=vs.RGBS, matrix_in=1)
    start = time.process_time()
    frames = [np.stack([np.asarray(frame[plane]) for plane in range(3)]) for frame in out.frames(close=True)]
    np.save(folder / "restored.npy", np.stack(frames))
    (folder / "seconds.json").write_text(json.dumps((time.process_time() - start) / len(frames)))


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
    told = {"matrix_in": usual_matrix(clip.width, clip.height)} if matrix == UNSPECIFIED else {}
    clip = clip.resize.Bicubic(width=width, height=height, format=vs.RGBS, **told)
    return np.stack([np.stack([np.asarray(frame[plane]) for plane in range(3)]) for frame in clip.frames(close=True)])


def ours(noisy: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """Restored frames, and the CPU seconds that each took."""
    import torch

    from vsgshift import load_network, prepared, restore

    torch.set_num_threads(1)
    network = prepared(load_network(NAME))
    clip = torch.from_numpy(noisy)
    level = torch.full((len(clip), 1, *clip.shape[2:]), sigma / 255)
    start = time.process_time()
    found = restore(network, clip, level)
    return found.numpy(), (time.process_time() - start) / len(clip)


def scores(found: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """PSNR in dB, mean over frames; and flicker: how much the error changes from frame to frame, on the 8-bit scale."""
    count = len(clean)
    part = slice(MARGIN, count - MARGIN) if count > 2 * MARGIN + 1 else slice(count // 2 - 1, count // 2 + 1)
    error = found[part].astype(np.float64).clip(0, 1) - clean[part]
    psnr = float((-10 * np.log10((error**2).mean((1, 2, 3)))).mean())
    return {"psnr": psnr, "flicker": 255 * float(np.sqrt((np.diff(error, axis=0) ** 2).mean()))}


def compare(paths: list[Path], python: str, sigmas: list[float], frames: int, size: int) -> list[dict[str, object]]:
    """A row for each clip, sigma and filter."""
    rows: list[dict[str, object]] = []
    for path in paths:
        clean = read(path, frames, size)
        for sigma in sigmas:
            noise = np.random.default_rng(0).standard_normal(clean.shape)
            noisy = (clean + sigma / 255 * noise).astype(np.float32)
            where: dict[str, object] = {"clip": path.name, "size": f"{clean.shape[3]}x{clean.shape[2]}", "sigma": sigma}
            found, seconds = ours(noisy, sigma)
            rows.append(where | {"filter": NAME, "cpu_seconds": seconds} | scores(found, clean))
            for name, (steps, ranges) in SETTINGS.items():
                for scale in SCALES:
                    with TemporaryDirectory() as made:
                        folder = Path(made)
                        np.save(folder / "noisy.npy", noisy)
                        task = {"sigma": scale * sigma, "steps": steps, "ranges": ranges}
                        (folder / "task.json").write_text(json.dumps(task))
                        subprocess.run([python, __file__, "--vbm3d", made], check=True)
                        found = np.load(folder / "restored.npy")
                        seconds = json.loads((folder / "seconds.json").read_text())
                    row = where | {"filter": name, "scale": scale, "cpu_seconds": seconds} | scores(found, clean)
                    rows.append(row)
            print(*(f"{row['filter']}: {row['psnr']:.2f}" for row in rows[-5:]), path.name, sigma, flush=True)
    return rows


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rival-python", required=True, help="of the environment that has bm3dcpu")
    parser.add_argument("--sigma", nargs="+", type=float, default=[3, 5, 10, 20, 30, 50])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=640, help="pixels of the long side, at most")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = compare(options.clips, options.rival_python, options.sigma, options.frames, options.size)
    report = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--vbm3d"]:
        vbm3d(Path(sys.argv[2]))
    else:
        main()
