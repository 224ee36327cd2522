"""`demo`: noise is added to a short clip and removed again, with the PSNR before and after."""

import argparse
import sys
from pathlib import Path

from vsgshift.cli.options import Commands, add_command, add_how, chosen_how, require, within

DESCRIPTION = """\
Add noise to a short clip that comes with the package, and restore it through vspipe and ffmpeg. Prints the
PSNR before and after, and leaves both films and a picture of before and after.
"""


def add(commands: Commands) -> None:
    """Enter the command."""
    shower = add_command(
        commands,
        "demo",
        demo,
        help="restore a short clip that comes with the package, and measure the gain",
        description=DESCRIPTION,
    )
    shower.add_argument("-o", "--output", type=Path, default=Path("out"), metavar="FOLDER", help="default: out")
    shower.add_argument(
        "--sigma", type=within(1, 100), default=25.0, metavar="S", help="of the noise, on the 8-bit scale; default 25"
    )
    add_how(shower)


def demo(options: argparse.Namespace) -> int:
    """Run the demonstration."""
    require("demo", "av", "PIL", "tqdm")
    from vsgshift.demo import run

    result = run(options.output, options.sigma, chosen_how(options))
    sys.stdout.write(f"PSNR: {result.before:.2f} dB before, {result.after:.2f} dB after\n")
    sys.stdout.writelines(f"{file}\n" for file in result.files)
    return 0
