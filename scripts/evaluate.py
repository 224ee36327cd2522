"""Judge the models: PSNR and two kinds of SSIM, beside other methods and the paper's figures.

    python scripts/evaluate.py denoise VIDEO --halve --frames 24    # real footage, noise added
    python scripts/evaluate.py denoise DAVIS-test --model davis --protocol published
    python scripts/evaluate.py deblur GoPro --model gopro --protocol published
    python scripts/evaluate.py deblur                # generated blurred clips, kept from training
    python scripts/evaluate.py harm VIDEO --halve    # denoising where there is little noise, or none
    python scripts/evaluate.py footage VIDEO --halve # deblurring where it should act, and where not

A source is a video file, a folder of pictures, or a data set: GoPro and DVD as blur/CLIP/*.png with
gt/CLIP/*.png, DAVIS-test and Set8 as CLIP/*.png, DAVIS as JPEGImages/480p/CLIP/*.jpg. Without one,
generated clips that training has not seen are used.

Two protocols: `full` restores every frame by exact streaming, as the plugin does; `published` is the
authors' way, chunks, dropped frames, crops and quadrants included, and the one whose figures can be
compared with the paper's. Results go to stdout as a table, to -o as JSON, to --pictures as crops side
by side. Baselines are tuned on the very frames they are judged by. Noise is seeded: the same command
gives the same figures.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from evaluation import datasets, report
from evaluation.baselines import BASELINES
from evaluation.errors import EvaluationError
from evaluation.footage import MOVING, STILL, Footage, examine
from evaluation.frames import Clip
from evaluation.paper import DEBLURRING, DENOISING, dataset_of
from evaluation.protocols import Full, Protocol, Published
from evaluation.runs import Run, compare, harm
from evaluation.scores import Row
from vsgshift import load_network, prepared
from vsgshift.cli.options import add_device
from vsgshift.errors import VsgshiftError
from vsgshift.network.variants import Task
from vsgshift.plugin.devices import choose
from vsgshift.weights.catalogue import full_name
from vsgshift.weights.store import find

HELD_OUT_SEED = datasets.HELD_OUT_SEED
SIGMAS = (10.0, 20.0, 30.0, 40.0, 50.0)
SMALL_SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0)


def main() -> int:
    """Read the command line and evaluate; returns the exit status."""
    parser = command_line()
    arguments = parser.parse_args()
    check(parser, arguments)
    logging.basicConfig(format="evaluate.py: %(message)s")
    torch.set_flush_denormal(True)
    try:
        evaluate(arguments)
    except (EvaluationError, VsgshiftError, ValueError, OSError) as failure:
        print(f"evaluate.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluate.py: stopped", file=sys.stderr)
        return 130
    return 0


def command_line() -> argparse.ArgumentParser:
    """The parser of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("sources", type=Path, nargs="*", metavar="SOURCE", help="default: generated clips")
    shared.add_argument("--clips", type=int, default=24, metavar="N", help="generated clips; default 24")
    shared.add_argument("--halve", action="store_true", help="halve height and width first, to be rid of compression")
    shared.add_argument("--model", help="a model's name or file; default: the bundled one")
    shared.add_argument("--frames", type=int, metavar="N", help="only N frames of each clip; default: all")
    shared.add_argument("--segments", type=int, default=3, metavar="N", help="in N runs; default 3")
    add_device(shared)
    shared.add_argument("--fp16", action="store_true", help="half precision; `published` sees to that itself")
    shared.add_argument("--pictures", type=Path, metavar="FOLDER", help="write crops at 200 %% side by side")
    shared.add_argument("-o", "--output", type=Path, metavar="FILE", help="write JSON")

    judged = argparse.ArgumentParser(add_help=False)
    judged.add_argument("--protocol", choices=("full", "published"), default="full")
    judged.add_argument("--chunk", type=int, metavar="N", help="published deblurring: frames at once, default 48 or 96")
    judged.add_argument("--dataset", choices=(*DEBLURRING, *DENOISING), help="default: by its path")

    noise = argparse.ArgumentParser(add_help=False)
    noise.add_argument("--seed", type=int, default=0, help="of the noise; default 0")

    denoise = commands.add_parser("denoise", parents=[shared, judged, noise], help="remove noise that was added")
    denoise.add_argument("--sigma", type=float, nargs="+", default=SIGMAS, help="on the 8-bit scale; default 10 to 50")
    choice_of_baselines(denoise, "denoise")
    deblur = commands.add_parser("deblur", parents=[shared, judged], help="remove blur from pairs")
    deblur.add_argument("--sharp", type=Path, metavar="SHARP", help="where the source holds blurred clips alone")
    choice_of_baselines(deblur, "deblur")
    harmless = commands.add_parser("harm", parents=[shared, noise], help="denoising with little noise or none")
    harmless.add_argument("--sigma", type=float, nargs="+", default=SMALL_SIGMAS, help="default 0 to 2")
    commands.add_parser("footage", parents=[shared], help="deblurring of real footage, by how much it moves")
    return parser


def choice_of_baselines(parser: argparse.ArgumentParser, task: str) -> None:
    """The option for what to compare with."""
    names = [name for name, baseline in BASELINES.items() if baseline.task == task]
    parser.add_argument(
        "--baselines", nargs="*", choices=names, default=names, help="what to compare with; without names: nothing"
    )


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a message if options do not go together."""
    for name in ("frames", "segments", "clips", "chunk"):
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1")
    if any(not 0 <= sigma <= 255 for sigma in getattr(arguments, "sigma", ())):
        parser.error("--sigma must be from 0 to 255")
    published = getattr(arguments, "protocol", "full") == "published"
    if published and (arguments.frames or arguments.fp16):
        parser.error(
            "--frames and --fp16 go with the full protocol; the published one says itself which frames and how"
        )
    if getattr(arguments, "chunk", None) and not (published and arguments.command == "deblur"):
        parser.error("--chunk goes with deblur --protocol published")
    if arguments.command in ("harm", "footage") and not arguments.sources:
        parser.error(f"{arguments.command} needs a video or a folder of frames")
    if getattr(arguments, "sharp", None) and len(arguments.sources) != 1:
        parser.error("--sharp goes with one source, the blurred clips")


def evaluate(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    task: Task = "deblur" if arguments.command in ("deblur", "footage") else "denoise"
    model = arguments.model or full_name(None, task)
    device = choose(arguments.device_id)
    protocol: Protocol = Full(half=arguments.fp16, frames=arguments.frames, segments=arguments.segments)
    if getattr(arguments, "protocol", "full") == "published":
        protocol = Published(chunk=getattr(arguments, "chunk", None))
    network = load_network(model, device=device)
    if network.variant.task != task:
        raise EvaluationError(
            f"{model} is a network to {network.variant.task}; {arguments.command} needs one to {task}"
        )
    network.to(protocol.dtype(network.variant, device))
    clips = read_clips(arguments)
    baselines = [BASELINES[name] for name in getattr(arguments, "baselines", ())]
    for baseline in baselines:
        baseline.check()
    run = Run(
        network=prepared(network),
        protocol=protocol,
        baselines=baselines,
        pictures=arguments.pictures,
        seed=getattr(arguments, "seed", 0),
        on_row=progress,
    )
    result: dict[str, object] = {
        "command": arguments.command,
        "model": model,
        "variant": network.variant.name,
        "protocol": protocol.name,
        "precision": str(protocol.dtype(network.variant, device)).removeprefix("torch."),
        "sources": [source.name for source in arguments.sources] or ["generated"],
        "options": {
            name: getattr(arguments, name)
            for name in ("halve", "frames", "segments", "chunk", "seed")
            if getattr(arguments, name, None)
        },
        **report.environment(device, find(model)),
    }
    if arguments.command == "footage":
        result |= footage(run, clips)
    else:
        result |= compared(run, clips, arguments)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def read_clips(arguments: argparse.Namespace) -> Iterable[Clip]:
    """The clips of all sources; what is wrong with any is reported before the first is restored."""
    deblur = arguments.command == "deblur"
    if not arguments.sources:
        generated = datasets.generated_blurred_clips if deblur else datasets.generated_clean_clips
        return generated(arguments.clips)
    clips: list[Clip] = []
    for source in arguments.sources:
        if deblur:
            clips += datasets.paired_clips(source, arguments.sharp, halved=arguments.halve)
        else:
            clips += datasets.clean_clips(source, halved=arguments.halve)
    return clips


def compared(run: Run, clips: Iterable[Clip], arguments: argparse.Namespace) -> dict[str, object]:
    """Run `denoise`, `deblur` or `harm`, print the table, and return what JSON is to hold."""
    if arguments.command == "harm":
        rows = harm(run, clips, arguments.sigma)
        dataset = None
    else:
        rows = compare(run, clips, getattr(arguments, "sigma", None))
        dataset = arguments.dataset or (dataset_of(arguments.sources[0]) if arguments.sources else None)
    clear_progress()
    sys.stdout.write(report.table(rows, method=run.method, dataset=dataset))
    if run.baselines:
        sys.stdout.write("\n" + report.comparisons(rows, run.method))
    return report.as_json(rows, dataset=dataset)


def footage(run: Run, clips: Iterable[Clip]) -> dict[str, object]:
    """Run `footage`, print what happened, and return what JSON is to hold."""
    results = [examine(run, clip) for clip in clips]
    for clip in results:
        sys.stdout.write(describe(clip))
    return {"clips": [plain(asdict(clip)) for clip in results]}


def describe(clip: Footage) -> str:
    """What happened to one clip, in words and numbers."""
    cells: list[Sequence[str]] = [("frame", "motion", "PSNR to the input")]
    cells += [(str(frame.number), f"{frame.motion:.2f}", f"{frame.psnr:.2f}") for frame in clip.frames]
    lines = [f"{clip.clip}\n", report.aligned(cells)]
    for part, name in ((clip.still, f"still, under {STILL:g}"), (clip.moving, f"moving, over {MOVING:g}")):
        lines.append(
            f"tiles that are {name} levels a frame: {100 * part.share:.1f} % of all, "
            f"PSNR to the input {part.psnr:.2f} dB, contrast x{part.contrast:.3f}\n"
        )
    return "".join(lines) + "\n"


def plain(value: object) -> object:
    """Nested results with nothing in them that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return report.finite(value)


def progress(row: Row) -> None:
    """Shows the last row on a terminal while others are computed."""
    if sys.stderr.isatty():
        sigma = "" if row.sigma is None else f" sigma {row.sigma:g}"
        sys.stderr.write(f"\r\x1b[K{row.clip}{sigma} {row.method} {row.psnr:.2f} dB")
        sys.stderr.flush()


def clear_progress() -> None:
    """Clears what `progress` left."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


if __name__ == "__main__":
    raise SystemExit(main())
