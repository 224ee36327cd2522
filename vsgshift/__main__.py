"""``python -m vsgshift``: look after models."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vsgshift", description="Look after the models of vsgshift.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("models", help="list the models and whether they are installed")
    importer = commands.add_parser("import", help="check and install a published checkpoint (.pth)")
    importer.add_argument("file", type=Path)
    importer.add_argument("--name", help="the model it is; by default told by the authors' file name")
    arguments = parser.parse_args()

    from vsgshift.weights import MODELS, CheckpointError, import_checkpoint

    if arguments.command == "models":
        for model in MODELS.values():
            state = "installed" if model.installed else "not installed"
            sys.stdout.write(
                f"{model.name:14}{model.variant.name:15}{model.training_data:17}{state:15}licence: {model.licence}\n"
            )
        return 0
    try:
        target = import_checkpoint(arguments.file, arguments.name)
    except (CheckpointError, OSError) as error:
        sys.stderr.write(f"vsgshift: {error}\n")
        return 1
    sys.stdout.write(f"installed {target}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
