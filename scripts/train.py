"""Train a network of the family by a recipe.

    python scripts/train.py scripts/recipes/tiny-denoise.toml --output runs/tiny-denoise
    torchrun --nproc-per-node 2 scripts/train.py scripts/recipes/tiny-denoise.toml --output runs/tiny-denoise
    python scripts/train.py scripts/recipes/gopro.toml --root GoPro/train --validation GoPro/test --output runs/gopro

With torchrun each process takes one GPU, or one thread of a CPU. The output folder holds the state
(`state.json` and the files it names), the averaged weights, `progress.jsonl`, `tensorboard/` and
pictures of validations in `samples/`. To train in slices, bring the state's files back and add
`--resume`; Ctrl-C and SIGTERM end a slice early.
"""

import argparse
import logging
import sys
from pathlib import Path

from training.loop import Training
from training.processes import processes
from training.recipe import TrainingError, load_recipe


def main() -> int:
    """Read the command line and train; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a TOML file; see scripts/recipes")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the training lives")
    parser.add_argument("--root", metavar="FOLDER", help="the footage, in place of the recipe's data.root")
    parser.add_argument("--photographs", metavar="FOLDER", help="in place of the recipe's generated.photographs")
    parser.add_argument("--validation", metavar="FOLDER", help="footage for validations, laid out like the other")
    parser.add_argument("--resume", action="store_true", help="go on with what is in the folder, if anything is")
    parser.add_argument("--minutes", type=float, metavar="M", help="end this slice after so long")
    parser.add_argument("--steps", type=int, metavar="N", help="end this slice after N steps; 0 only exports")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: GPUs where there are any")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        recipe = load_recipe(
            arguments.recipe,
            root=arguments.root,
            validation_root=arguments.validation,
            photographs=arguments.photographs,
        )
        with processes(arguments.device) as team:
            training = Training(recipe, arguments.output, team, resume=arguments.resume)
            over = training.run(minutes=arguments.minutes, steps=arguments.steps)
            if team.first:
                end = "finished" if over else "ended this slice; go on with --resume"
                logging.info("%s at step %d: %s", end, training.step, arguments.output)
    except (TrainingError, OSError) as failure:
        print(f"train.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
