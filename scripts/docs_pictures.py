"""Make the pictures of the tutorial and of the README: from a generated clip, or from a video.

    python scripts/docs_pictures.py                                  # rewrites those of the tutorial
    python scripts/docs_pictures.py holiday.mp4 --output pictures    # the same of a video, to look at
    python scripts/docs_pictures.py flower.mp4 --readme              # rewrites docs/pictures/readme.jpg

A video is taken to be clean: noise, and the blur of averaging five frames in a row, are put on it, so that
the result can be seen beside what it should be. Pictures of footage stay out of the repository, but for the
README's: flower.mp4 is CC0, see vsgshift/demo/SOURCE.md.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.pictures import busiest, write_side_by_side
from vsgshift import load_network, prepared, restore
from vsgshift.errors import VsgshiftError
from vsgshift.video.clip import open_clip, to_rgb

DOCS = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SIZE = 180, 320
"""Height and width of the generated clip, and most of a video that is used."""
FRAMES = 12
"""More than the bundled models reach to both sides of the frame in the middle."""
SIGMA = 25.0
README_SIZE = 360, 640
"""Most of the video that the README's picture is of."""
README_SIDE = 160
"""Pixels of a square in it."""
README_SIGMA = 15.0
TRIED = 8.0, 25.0, 50.0
"""Too low, right and too high, on the 8-bit scale."""
SUBFRAMES = 5
"""Frames of a video that one blurred frame is the mean of."""


def main() -> int:
    """Make the three pictures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, help="default: a generated clip")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="first frame of the video to use")
    parser.add_argument("--output", type=Path, default=DOCS, metavar="FOLDER")
    parser.add_argument("--readme", action="store_true", help="make the README's picture of the video")
    arguments = parser.parse_args()
    try:
        if arguments.readme:
            if arguments.video is None:
                raise EvaluationError("--readme needs the video")
            print(of_both(*filmed(arguments.video, arguments.start, README_SIZE), arguments.output))
            return 0
        if arguments.video is None:
            clean, (blurred, sharp) = generated()
        elif arguments.output == DOCS:
            raise EvaluationError("pictures of footage stay out of the repository: name a folder with --output")
        else:
            clean, (blurred, sharp) = filmed(arguments.video, arguments.start)
        for file in (*of_noise(clean, arguments.output), of_blur(blurred, sharp, arguments.output)):
            print(file)
    except (EvaluationError, VsgshiftError, OSError) as failure:
        print(f"docs_pictures.py: {failure}", file=sys.stderr)
        return 1
    return 0


def generated() -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A clean clip (T, 3, H, W), and another one (blurred, sharp); always the same."""
    from training.clips import degradations, synthetic

    generator = torch.Generator().manual_seed(4)
    clean = synthetic.clip(generator, frames=FRAMES, size=SIZE)
    instants = synthetic.clip(generator, frames=FRAMES, size=SIZE, subframes=9, speed=12.0)
    return clean, degradations.blur(instants, exposure=0.8)


def filmed(video: Path, start: int, size: tuple[int, int] = SIZE) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The same of the middle of a video, of a height and width at most."""
    import numpy as np
    import vapoursynth as vs

    from training.clips.degradations import blur

    opened = open_clip(video)
    source, count = opened.node, FRAMES * SUBFRAMES
    if start < 0 or source.num_frames < start + count:
        raise EvaluationError(f"{video} has {source.num_frames} frames; {count} are needed from frame {start} on")
    frames = to_rgb(opened, source[start : start + count], vs.RGBS).frames(close=True)
    clip = torch.stack(
        [torch.from_numpy(np.stack([np.asarray(frame[plane]) for plane in range(3)])) for frame in frames]
    )
    top, left = ((length - min(length, side)) // 2 for length, side in zip(clip.shape[-2:], size, strict=True))
    clip = clip[..., top : top + size[0], left : left + size[1]]
    return clip[:FRAMES], blur(clip.view(FRAMES, SUBFRAMES, *clip.shape[1:]), exposure=1.0)


def of_noise(clean: Tensor, folder: Path) -> list[Path]:
    """What sigma and strength do."""
    from training.clips.degradations import add_noise

    middle = len(clean) // 2
    noisy = add_noise(clean, SIGMA / 255, torch.Generator().manual_seed(1))
    network = prepared(load_network("tiny-denoise"))
    levels = torch.ones_like(noisy[:, :1])
    restored = {sigma: restore(network, noisy, levels * sigma / 255)[middle] for sigma in TRIED}
    corner = busiest(clean[middle])
    source, right = noisy[middle], restored[SIGMA]
    tried = {f"sigma={sigma:g}": frame for sigma, frame in restored.items()}
    shares = {"strength=0": source, "strength=0.5": (source + right) / 2, "strength=1": right}
    files = [folder / "sigma.jpg", folder / "strength.jpg"]
    write_side_by_side(files[0], {"noisy": source, **tried, "clean": clean[middle]}, corner, columns=5)
    write_side_by_side(files[1], {**shares, "clean": clean[middle]}, corner)
    return files


def of_blur(blurred: Tensor, sharp: Tensor, folder: Path) -> Path:
    """What deblurring does, where there is most to see."""
    middle = len(blurred) // 2
    restored = restore(prepared(load_network("tiny-deblur")), blurred)[middle]
    file = folder / "deblur.jpg"
    frames = {"blurred": blurred[middle], "restored": restored, "sharp": sharp[middle]}
    write_side_by_side(file, frames, busiest(sharp[middle]))
    return file


def of_both(clean: Tensor, pair: tuple[Tensor, Tensor], folder: Path) -> Path:
    """Noise and motion blur of one film, each before and after, beside the original."""
    from training.clips.degradations import add_noise

    blurred, sharp = pair
    middle = len(clean) // 2
    noisy = add_noise(clean, README_SIGMA / 255, torch.Generator().manual_seed(1))
    denoised = restore(prepared(load_network("tiny-denoise")), noisy, README_SIGMA / 255)
    deblurred = restore(prepared(load_network("tiny-deblur")), blurred)
    shown = {
        f"noise, sigma {README_SIGMA:g}": noisy,
        "Denoise": denoised,
        "original": clean,
        "motion blur, 5 frames": blurred,
        "Deblur": deblurred,
        "original ": sharp,
    }
    frames = {name: clip[middle] for name, clip in shown.items()}
    file = folder / "readme.jpg"
    write_side_by_side(file, frames, busiest(sharp[middle], README_SIDE), side=README_SIDE, columns=3)
    return file


if __name__ == "__main__":
    raise SystemExit(main())
