"""Data sets in the layouts that the authors' scripts expect, videos, and clips that are generated.

- GoPro, DVD: `<root>/blur/<clip>/*.png` with `<root>/gt/<clip>/*.png`, or those below `<root>/test`.
- DAVIS-test, Set8: `<root>/<clip>/*.png`; DAVIS as it is published: `<root>/JPEGImages/480p/<clip>/*.jpg`.
- A folder of pictures is one clip, a video file is one, and a folder of video files is several.
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from evaluation.errors import EvaluationError
from evaluation.frames import Clip, Frames, Images, Stack, Video
from evaluation.metrics import psnr
from training.clips import degradations, synthetic
from training.clips.rng import Rng

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
VIDEOS = {".mkv", ".mp4", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".y4m", ".wmv"}

HELD_OUT_SEED = 987_654_321
"""Of the generated clips that training must not see; its own seeds stay below this."""
VISIBLE_BLUR = 36.0
"""Generated clips nearer to their sharp ones than this, in dB, have too little blur to count."""


def clean_clips(root: Path, *, halved: bool = False) -> list[Clip]:
    """The clips of a denoising data set or a video, sorted by name; the noise is still to be added. Raises
    EvaluationError."""
    return [Clip(name=name, source=frames, target=frames) for name, frames in _clips(root, halved).items()]


def paired_clips(root: Path, sharp: Path | None = None, *, halved: bool = False) -> list[Clip]:
    """Blurred clips with their sharp ones, sorted by name.

    ``root`` has folders `blur` and `gt`; with ``sharp`` given, it has the blurred clips alone, and that the sharp ones
    of the same names (of one clip, any name). Raises EvaluationError if a folder or a clip's counterpart is missing, or
    the two differ.
    """
    if sharp is None:
        _check_exists(root)
        base = root if (root / "blur").is_dir() or not (root / "test" / "blur").is_dir() else root / "test"
        root, sharp = base / "blur", base / "gt"
        for folder in (root, sharp):
            if not folder.is_dir():
                raise EvaluationError(
                    f"{base} has no folder {folder.name}: blurred clips are expected in blur/, sharp in gt/"
                )
    blurred, sharp_clips = _clips(root, halved), _clips(sharp, halved)
    if len(blurred) == len(sharp_clips) == 1:
        sharp_clips = {name: next(iter(sharp_clips.values())) for name in blurred}
    if alone := sorted(blurred.keys() ^ sharp_clips.keys()):
        has, lacks = (root, sharp) if alone[0] in blurred else (sharp, root)
        raise EvaluationError(f"clip {alone[0]} is in {has}, but not in {lacks}")
    clips = [Clip(name=name, source=blurred[name], target=sharp_clips[name]) for name in blurred]
    for clip in clips:
        if len(clip.source) != len(clip.target):
            raise EvaluationError(
                f"clip {clip.name} has {len(clip.source)} blurred frames in {root}, "
                f"but {len(clip.target)} sharp ones in {sharp}"
            )
        if clip.source.size != clip.target.size:
            sizes = " and ".join(f"{width}x{height}" for height, width in (clip.source.size, clip.target.size))
            raise EvaluationError(f"clip {clip.name}: blurred and sharp frames differ in size, {sizes}")
    return clips


def generated_blurred_clips(count: int) -> Iterator[Clip]:
    """Generated clips of 13 frames, 160x160, with visible blur, that training has not seen; always the same.

    As in training, 7 to 23 instants are spread over the time for which the shutter is open.
    """
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    pool, rng = synthetic.Pool(generator), Rng(generator)
    made = 0
    while made < count:
        shutter = degradations.Shutter.draw(generator)
        instants = synthetic.instants(rng.choice(range(7, 24, 2)), shutter.exposure)
        scene = synthetic.take(generator, frames=13, size=(160, 160), pool=pool, speed=36.0, headroom=4.0)
        blurred, sharp = degradations.blur(scene.film(range(13), instants), exposure=1.0, gamma=shutter.gamma)
        closeness = psnr(blurred, sharp).mean()
        if closeness <= VISIBLE_BLUR:
            yield Clip(name=f"generated-{made:02}", source=Stack(blurred), target=Stack(sharp))
            made += 1


def generated_clean_clips(count: int) -> Iterator[Clip]:
    """Generated clips of 13 frames, 160x160, that training has not seen; always the same."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    pool = synthetic.Pool(generator)
    for number in range(count):
        frames = Stack(synthetic.clip(generator, frames=13, size=(160, 160), pool=pool))
        yield Clip(name=f"generated-{number:02}", source=frames, target=frames)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise EvaluationError(f"no such file or folder: {path}")


def _clips(root: Path, halved: bool) -> dict[str, Frames]:
    """What lies at a path, by name."""
    _check_exists(root)
    if root.is_file():
        return {root.stem: Video(root, halved=halved)}
    if (root / "blur").is_dir() and (root / "gt").is_dir():
        raise EvaluationError(f"{root} holds pairs for deblurring; its sharp clips are in {root / 'gt'}")
    if (root / "JPEGImages" / "480p").is_dir():
        root = root / "JPEGImages" / "480p"
    if files := of_kind(root, PICTURES):
        return {root.resolve().name: Images(files, halved=halved)}
    clips: dict[str, Frames] = {file.stem: Video(file, halved=halved) for file in of_kind(root, VIDEOS)}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if files := of_kind(folder, PICTURES):
            clips[folder.name] = Images(files, halved=halved)
    if not clips:
        raise EvaluationError(f"no frames in {root}: expected folders of pictures, pictures, or video files")
    return dict(sorted(clips.items()))


def of_kind(folder: Path, endings: set[str]) -> list[Path]:
    """Files in a folder by their endings, sorted."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in endings and file.is_file())
