"""`export`: a model as an ONNX file, for other runtimes."""

import argparse
import sys
from pathlib import Path

from vsgshift.cli.options import Commands, add_command, count, size

DESCRIPTION = """\
Write a model to an ONNX file, for ONNX Runtime, OpenVINO or TensorRT. A window of frames goes in, the frames in its
middle come out; the documentation of vsgshift.export lays out the planes. The file is written once onnxruntime has
been seen to give what torch gives.
"""


def add(commands: Commands) -> None:
    """Enter the command."""
    exporter = add_command(
        commands, "export", export, help="write a model to an ONNX file, for other runtimes", description=DESCRIPTION
    )
    exporter.add_argument("model", metavar="NAME", help="a model's name, or a .safetensors or .pth file")
    exporter.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    exporter.add_argument("--frames", type=count, default=1, metavar="T", help="that come out of a window; default 1")
    exporter.add_argument(
        "--size", type=size, metavar="WxH", help="of all frames; multiples of the network's; default any"
    )
    exporter.add_argument("--fp16", action="store_true", help="compute in half precision")


def export(options: argparse.Namespace) -> int:
    """Write the file."""
    from vsgshift.export import Window
    from vsgshift.export import export as write
    from vsgshift.weights import load_network

    network = load_network(options.model)
    height_width = None if options.size is None else (options.size[1], options.size[0])
    off = write(network, options.output, frames=options.frames, size=height_width, half=options.fp16)
    window = Window(network, options.frames)
    sys.stdout.write(
        f"{options.output}: {window.inputs} frames in, {options.frames} out, {window.planes} planes; "
        f"{off:.1e} off torch in single precision\n"
    )
    return 0
