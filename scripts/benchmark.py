"""Measure this machine: frames per second, memory, where the time goes, and beside other programs.

    python scripts/benchmark.py machine           # bare stream, filter, vspipe, latency, memory
    python scripts/benchmark.py machine --model plus --size 720p 1080p 2160p --fp16
    python scripts/benchmark.py layers            # each part of the network beside what the device can do at best
    python scripts/benchmark.py kernels           # by kernel, whatever they are
    python scripts/benchmark.py growth            # against the length of a clip, and against its pixels
    python scripts/benchmark.py --against DIR     # in turns with the authors' networks in a checkout of theirs
    python scripts/benchmark.py equality          # output on the device against double precision on the CPU
    python scripts/benchmark.py sharing           # what a stretch, a join and a Ray cluster cost beside a plain run
    python scripts/benchmark.py smoke             # whether the filter works on the device, in seconds

    python scripts/benchmark.py engine            # the bare stream alone
    python scripts/benchmark.py reference         # the table of `vsgshift benchmark`, from the committed reports
    python scripts/benchmark.py references        # what equality compares with, after a change of a network

All but the last two print one JSON object with device, versions, commit and date; `-o FILE` also writes it, again with
each figure. Networks whose weights are not installed are measured with random weights, and the report says so; speed
does not depend on them.
The last two write into the package, and beside the programs.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from vsgshift.cli.options import add_device
from vsgshift.openmp import wait_passively

REPORTS = Path(__file__).parent / "benchmarks"


def parser() -> argparse.ArgumentParser:
    """The program's arguments."""
    from measuring.modes import MODES

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("benchmark", nargs="?", choices=[*MODES, "reference", "references"], metavar="benchmark")
    arguments.add_argument("-o", "--output", type=Path, help="write the JSON here as well")
    arguments.add_argument(
        "--model",
        nargs="+",
        metavar="NAME",
        help="models, variants (deblur-plus), files of weights, tiny, small, plus, or all",
    )
    arguments.add_argument(
        "--size", nargs="+", metavar="SIZE", help="360p, 720p, 1080p, 1440p, 2160p, or width and height as 640x360"
    )
    add_device(arguments)
    arguments.add_argument("--fp16", action="store_true", help="half precision")
    arguments.add_argument("--block", type=int, default=4, metavar="N", help="frames per run of the network; default 4")
    arguments.add_argument("--seconds", type=float, default=4.0, metavar="N", help="to measure each figure for")
    arguments.add_argument("--frames", type=int, metavar="N", help="of the clip, if the benchmark has a clip")
    arguments.add_argument("--rounds", type=int, default=3, metavar="N", help="of which the median counts")
    arguments.add_argument(
        "--against", type=Path, metavar="DIR", help="a checkout of the authors' repository; its code is run"
    )
    arguments.add_argument("--quick", action="store_true", help="try the measurement itself; worthless figures")
    return arguments


def main(given: list[str] | None = None) -> int:
    """Run one benchmark; the exit status is 1 if something gave no figures."""
    wait_passively()  # as in VapourSynth

    import torch

    from measuring import reports
    from measuring.authors import AuthorsError
    from measuring.equality import write_references
    from measuring.modes import MODES
    from measuring.networks import subjects
    from measuring.settings import Settings, size_named
    from vsgshift.benchmark.measures import device_name
    from vsgshift.errors import VsgshiftError
    from vsgshift.files import atomic_write

    arguments = parser().parse_args(given)
    name = arguments.benchmark or ("against" if arguments.against else None)
    if name is None:
        parser().error("name a benchmark, or a checkout with --against")
    if name == "reference":
        print(reports.write_reference(REPORTS))
        return 0
    if name == "references":
        print(write_references())
        return 0
    mode = MODES[name]
    own = ("benchmark", "output", "model", "size")
    how = {key: value for key, value in vars(arguments).items() if key not in own}
    torch.set_flush_denormal(True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(
                subjects=tuple(subjects(arguments.model or mode.models, Path(folder))),
                folder=Path(folder),
                sizes=tuple(map(size_named, arguments.size)) if arguments.size else mode.sizes,
                **how,
            )

            def report(result: object) -> str:
                failed = {"failures": settings.failures, "traceback": settings.traceback}
                return reports.text(
                    reports.report(
                        name,
                        result,
                        device=device_name(settings.device),
                        precision="float16" if settings.fp16 else "float32",
                        block=settings.block,
                        threads=torch.get_num_threads(),
                        weights={subject.name: subject.weights for subject in settings.subjects},
                        **(failed if settings.failures else {}),
                    )
                )

            def write(result: object) -> None:
                if arguments.output:
                    arguments.output.parent.mkdir(parents=True, exist_ok=True)
                    with atomic_write(arguments.output) as partial:
                        partial.write_text(report(result), encoding="utf-8")

            # As they come, so that what is cut off leaves what it has.
            settings = replace(settings, changed=lambda: write(settings.result))
            try:
                result = mode.run(settings)
            except AuthorsError:
                raise
            except Exception as error:
                settings.fail(name, error)
                result = settings.result
            write(result)
            sys.stdout.write(report(result))
    except (AuthorsError, VsgshiftError, OSError, ValueError) as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 1
    for failure in settings.failures:
        print(f"benchmark.py: {failure}", file=sys.stderr)
    return 1 if settings.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
