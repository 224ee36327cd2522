"""PSNR before and after the bundled models.

    python scripts/evaluate.py denoise VIDEO --sigma 25    # VIDEO halved in size, noise added
    python scripts/evaluate.py deblur                      # generated blurred clips, kept from training

PSNR is of RGB in [0, 1], not clamped, averaged over frames.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsgshift import load_network, restore
from vsgshift.training import degradations, synthetic

HELD_OUT_SEED = 987_654_321
"""No training draws from this seed: theirs are hashes of what is drawn."""


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Mean over frames, dB; both (T, 3, H, W)."""
    return float((-10 * torch.log10((found - wanted).square().mean((1, 2, 3)))).mean())


def halved(video: Path, frames: int) -> Tensor:
    """The first frames of a video at half size, (T, 3, H, W), RGB in [0, 1]."""
    import vapoursynth as vs

    clip = vs.core.bs.VideoSource(str(video), cachemode=0)[:frames]
    matrix = None if clip.get_frame(0).props.get("_Matrix", 2) != 2 else 6
    clip = clip.resize.Bicubic(clip.width // 2, clip.height // 2, format=vs.RGBS, matrix_in=matrix)
    return torch.stack([torch.from_numpy(np.stack([np.asarray(f[p]) for p in range(3)])) for f in clip.frames()])


def report(name: str, before: list[float], after: list[float]) -> None:
    mean_before, mean_after = sum(before) / len(before), sum(after) / len(after)
    sys.stdout.write(
        f"{name}: {mean_before:.2f} dB before, {mean_after:.2f} dB after, gain {mean_after - mean_before:+.2f} dB\n"
    )


def denoise(video: Path, sigma: float, frames: int, model: str) -> None:
    """Add noise to a video and take it away again."""
    clean = halved(video, frames)
    noisy = clean + sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noise = clean.new_full((len(clean), 1, *clean.shape[2:]), sigma / 255)
    restored = restore(load_network(model), noisy, noise)
    report(f"{video.name}, sigma {sigma:g}, {len(clean)} frames", [psnr(noisy, clean)], [psnr(restored, clean)])


def deblur(clips: int, model: str) -> None:
    """Blur generated clips that training has not seen, and restore them."""
    network = load_network(model)
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    pool = synthetic.Pool(generator)
    before: list[float] = []
    after: list[float] = []
    while len(before) < clips:
        instants = synthetic.clip(
            generator, frames=13, size=(160, 160), subframes=9, pool=pool, speed=36.0, headroom=4.0
        )
        shutter = degradations.Shutter.draw(generator)
        blurred, sharp = degradations.blur(instants, exposure=shutter.exposure, gamma=shutter.gamma)
        if psnr(blurred, sharp) > 36:
            continue
        before.append(psnr(blurred, sharp))
        after.append(psnr(restore(network, blurred), sharp))
    report(f"{clips} generated clips with visible blur", before, after)


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    noisy = tasks.add_parser("denoise")
    noisy.add_argument("video", type=Path)
    noisy.add_argument("--sigma", type=float, default=25)
    noisy.add_argument("--frames", type=int, default=60)
    noisy.add_argument("--model", default="tiny-denoise")
    blurred = tasks.add_parser("deblur")
    blurred.add_argument("--clips", type=int, default=24)
    blurred.add_argument("--model", default="tiny-deblur")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    if arguments.task == "denoise":
        denoise(arguments.video, arguments.sigma, arguments.frames, arguments.model)
    else:
        deblur(arguments.clips, arguments.model)


if __name__ == "__main__":
    main()
