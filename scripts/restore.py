"""Restore a video: vspipe runs the plugin over it, ffmpeg encodes what comes out.

    python scripts/restore.py                                 # a clip of its own, with noise
    python scripts/restore.py holiday.mp4 --denoise --sigma 8
    python scripts/restore.py goal.mkv --deblur --frames 100

Leaves an mp4, a PNG that shows a frame before and after, and the VapourSynth script, to be changed
and run again. Without a video it makes a clip whose clean frames are known, degrades it, and prints
the PSNR before and after. The audio of a video is left behind.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import vapoursynth as vs

from vsgshift.errors import ProgramError, VideoError, VsgshiftError
from vsgshift.h273 import UNSPECIFIED, usual_matrix
from vsgshift.processes import run as run_program
from vsgshift.video.clip import check_file
from vsgshift.video.encoder import Encoding, Tags
from vsgshift.video.pipe import ScriptFrames
from vsgshift.video.pipe import encode as encode_frames
from vsgshift.video.programs import Programs, configure, is_configured
from vsgshift.video.script import FilterCall, conversion, script_text

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 180, 320
"""Height and width of the generated clip."""
FRAMES = 48
"""Length of the generated clip."""
SIGMA_MADE, SIGMA_FILMED = 25.0, 8.0
"""Noise put on the generated clip, and noise that a video is taken to have, on the 8-bit scale."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done, and where it goes."""

    video: Path
    task: str
    """"denoise" or "deblur"."""
    sigma: float
    """Noise level on the 8-bit scale; denoising only."""
    model: str | None
    frames: int | None
    """Frames to restore, from the first; None for all."""
    folder: Path

    @property
    def options(self) -> dict[str, float | int | str | list[int] | None]:
        """The arguments of the plugin's function."""
        known = {"sigma": self.sigma if self.task == "denoise" else None, "model": self.model}
        return {name: value for name, value in known.items() if value is not None}

    def output(self, ending: str) -> Path:
        """A file in the output folder, named for the video and the task."""
        return self.folder / f"{self.video.stem}-{self.task}{ending}"

    def restored(self, clip: vs.VideoNode) -> vs.VideoNode:
        """The clip with the plugin run over it."""
        options = {name: value for name, value in self.options.items() if value is not None}
        try:
            return getattr(vs.core.gshift, self.task.capitalize())(clip, **options)
        except vs.Error as error:
            raise VideoError(str(error)) from error


def main() -> int:
    """Read the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", help="default: a generated clip")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), metavar="FOLDER", help="default: out")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--denoise", action="store_true", help="remove noise (this is the default)")
    task.add_argument("--deblur", action="store_true", help="remove motion blur")
    parser.add_argument(
        "--sigma",
        type=float,
        help=f"noise level, 0 to 255; default {SIGMA_MADE:g} on the generated clip, {SIGMA_FILMED:g} on a video",
    )
    parser.add_argument("--model", help="a model's name or file; default: the bundled one")
    parser.add_argument("--frames", type=int, metavar="N", help="restore only the first N frames")
    arguments = parser.parse_args()
    if arguments.deblur and arguments.sigma is not None:
        parser.error("--sigma is a noise level; it does not go with --deblur")
    if arguments.sigma is not None and not 0 <= arguments.sigma <= 255:
        parser.error(f"--sigma {arguments.sigma:g} is out of range, 0 to 255")
    if arguments.frames is not None and arguments.frames < 1:
        parser.error("--frames must be at least 1")
    try:
        run(arguments)
    except (VsgshiftError, OSError) as failure:
        print(f"restore.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("restore.py: stopped", file=sys.stderr)
        return 130
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    video: Path | None = arguments.video
    if video is not None:
        check_file(video)
    tools = Programs.find()
    check_plugins()
    folder: Path = arguments.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(f"cannot write to {folder}: {error.strerror}") from error

    task = "deblur" if arguments.deblur else "denoise"
    sigma = arguments.sigma
    if sigma is None:
        sigma = SIGMA_MADE if video is None else SIGMA_FILMED
    clean = None
    if video is None:
        print("no video given: generating a clip")
        video, clean = generate(tools, folder, task, sigma, arguments.frames or FRAMES)
    job = Job(
        video=video.absolute(), task=task, sigma=sigma, model=arguments.model, frames=arguments.frames, folder=folder
    )
    source = read(job.video, job.frames)
    restored = job.restored(source)

    script, movie, picture = job.output(".vpy"), job.output(".mp4"), job.output(".png")
    script.write_text(script_of(job, source), encoding="utf-8")
    encode(tools, script, movie, source)
    if clean is not None:
        reference = rgb(read(clean, job.frames), vs.RGBS)
        before = psnr(rgb(source, vs.RGBS), reference)
        after = psnr(rgb(restored, vs.RGBS), reference)
        print(f"PSNR: {before:.2f} dB before, {after:.2f} dB after")
    number = source.num_frames // 2
    write_png(tools, side_by_side(source[number], restored[number]), picture)
    for file in (movie, picture, script):
        print(file)


def check_plugins() -> None:
    """Say what to install where a plugin is missing."""
    if not hasattr(vs.core, "gshift"):
        raise VideoError("VapourSynth does not find the plugin; install it with: pip install '.[demo]'")
    if not hasattr(vs.core, "bs"):
        raise VideoError("BestSource is missing; install it with: pip install vapoursynth-bestsource")


def feed(tools: Programs, pixels: bytes, size: tuple[int, int], *options: str) -> None:
    """Run ffmpeg on RGB24 pixels of frames of (height, width), with the options for its output."""
    height, width = size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    try:
        run_program([tools.ffmpeg, "-y", "-loglevel", "error", *given, *options], data=pixels)
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error


def generate(tools: Programs, folder: Path, task: str, sigma: float, frames: int) -> tuple[Path, Path]:
    """Make a clip, always the same one, and degrade it; returns the files, degraded and clean."""
    import torch

    from training.clips import degradations, synthetic

    generator = torch.Generator().manual_seed(4)
    if task == "denoise":
        clean = synthetic.clip(generator, frames=frames, size=SIZE)
        degraded = degradations.add_noise(clean, sigma / 255, generator)
    else:
        instants = synthetic.clip(generator, frames=frames, size=SIZE, subframes=9, speed=24.0)
        degraded, clean = degradations.blur(instants, exposure=0.8)
    files = folder / f"generated-{'noisy' if task == 'denoise' else 'blurred'}.mkv", folder / "generated-clean.mkv"
    for file, clip in zip(files, (degraded, clean), strict=True):
        # FFV1 in RGB loses nothing but what 8 bits cannot hold.
        feed(tools, codes(clip), SIZE, "-c:v", "ffv1", "-pix_fmt", "gbrp", str(file))
    return files


def codes(clip: "Tensor") -> bytes:
    """A clip (T, 3, H, W) in [0, 1] as the bytes of RGB24 frames."""
    return bytes((clip.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


def read(video: Path, frames: int | None) -> vs.VideoNode:
    """The first frames of a video, all of them for None."""
    try:
        clip = vs.core.bs.VideoSource(str(video))
    except vs.Error as error:
        raise VideoError(f"{video}: no video that BestSource can read") from error
    return clip[:frames]


def script_of(job: Job, clip: vs.VideoNode) -> str:
    """The VapourSynth script that does the job."""
    kind = clip.format
    family, is_float = vs.ColorFamily(kind.color_family).name, kind.sample_type == vs.FLOAT
    return script_text(
        header=[
            "Written by scripts/restore.py; run it with",
            f"  vspipe -c y4m {job.output('.vpy').name} - | ffmpeg -i - {job.output('.mp4').name}",
        ],
        file=job.video,
        options={},
        before=[] if job.frames is None else [f"clip = clip[:{job.frames}]"],
        filters=[FilterCall(task=job.task, options=job.options)],
        after=conversion(family, is_float, (clip.width, clip.height)),
    )


def encode(tools: Programs, script: Path, movie: Path, clip: vs.VideoNode) -> None:
    """vspipe script.vpy - | ffmpeg ... movie.mp4, with the exit status of both checked."""
    tags = Tags(clip.get_frame(0).props, is_rgb=clip.format.color_family == vs.RGB)
    encoding = Encoding(codec="libx264", crf=16, options=("-movflags", "+faststart"))
    if not is_configured(tools.vspipe):
        configure()
    with ScriptFrames(tools.vspipe, script) as frames:
        done = 0

        def show() -> None:
            nonlocal done
            done += 1
            if sys.stderr.isatty():
                sys.stderr.write(f"Frame: {done}/{clip.num_frames}\r")

        encode_frames(frames, clip.num_frames, encoding.command(tools.ffmpeg, tags, movie, "mp4"), show)
        frames.finish()


def rgb(clip: vs.VideoNode, preset: vs.PresetVideoFormat) -> vs.VideoNode:
    """The clip in RGB, by the matrix it tells or, as the plugin guesses, the usual one of its size."""
    if clip.format.color_family != vs.YUV:
        return clip.resize.Bicubic(format=preset)
    usual = usual_matrix(clip.width, clip.height)
    told = clip.get_frame(0).props.get("_Matrix", UNSPECIFIED)
    return clip.resize.Bicubic(format=preset, matrix_in=usual if told == UNSPECIFIED else told)


def psnr(clip: vs.VideoNode, clean: vs.VideoNode) -> float:
    """PSNR in dB of all frames together, both clips RGBS."""
    error = vs.core.std.Expr([clip, clean], "x y - dup *")
    for plane in range(3):
        error = error.std.PlaneStats(plane=plane, prop=f"Plane{plane}")
    total = 0.0
    for frame in error.frames(close=True):
        total += sum(float(frame.props[f"Plane{plane}Average"]) for plane in range(3))
    mean = total / (3 * error.num_frames)
    return math.inf if mean == 0 else -10 * math.log10(mean)


def side_by_side(before: vs.VideoNode, after: vs.VideoNode) -> vs.VideoNode:
    """Whole frames above, their middles twice as large below; before on the left, after on the right."""
    wholes = [rgb(clip, vs.RGB24) for clip in (before, after)]
    middles = []
    for clip in wholes:
        width, height = max(1, clip.width // 2), max(1, clip.height // 2)
        middle = clip.std.CropAbs(width, height, (clip.width - width) // 2, (clip.height - height) // 2)
        middles.append(middle.resize.Point(clip.width, clip.height))
    rows = [vs.core.std.StackHorizontal(row) for row in (wholes, middles)]
    return vs.core.std.StackVertical(rows)


def write_png(tools: Programs, clip: vs.VideoNode, file: Path) -> None:
    """Write the first frame of an RGB24 clip."""
    frame = clip.get_frame(0)
    pixels = np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1)
    feed(tools, pixels.tobytes(), (frame.height, frame.width), "-frames:v", "1", "-update", "1", str(file))


if __name__ == "__main__":
    raise SystemExit(main())
