"""Compile every kernel for CUDA at every configuration for cards of each kind, without a card.

    python scripts/compile_kernels.py                     # compare with the committed table
    python scripts/compile_kernels.py --write             # write the table, after a change of a kernel
    python scripts/compile_kernels.py --write --missing   # what a run before left out, or what is new
    python scripts/compile_kernels.py --capability 9.0    # for one kind of card

What is launched is found out by running shift steps in half precision on torch's meta device. Fails on what does not
compile, on a launch that has room in no configuration, and on spills above those of scripts/compile_kernels.json, where
that has the kernel. A whole run takes some twenty minutes of processor time.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Compiled, not interpreted.
os.environ.pop("TRITON_INTERPRET", None)

TABLE = Path(__file__).with_suffix(".json")
SHARED_KIB = {"8.0": 163, "8.6": 99, "8.9": 99, "9.0": 227, "10.0": 227, "12.0": 99}
"""Shared memory that a program may have at most, by compute capability."""
BLOCK = 4
"""Frames per run."""


@dataclass(frozen=True)
class Launch:
    """A kernel as it is launched for some tensors, without its configuration."""

    kernel: str
    signature: tuple[tuple[str, str], ...]
    """The type of each argument."""
    constants: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        chosen = [f"{name}={value}" for name, value in self.constants if name not in ("PRECISION", "MARGIN")]
        return f"{self.kernel} {' '.join(chosen)}"


def main(given: list[str] | None = None) -> int:
    """Compile, and compare or write; the exit status is 1 where something is worse than the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", nargs="+", choices=list(SHARED_KIB), default=list(SHARED_KIB))
    parser.add_argument("--variant", nargs="+", metavar="NAME", help="networks; default all")
    parser.add_argument("--kernel", nargs="+", metavar="NAME", help="kernels; default all")
    parser.add_argument("--write", action="store_true", help="write the table, after each result")
    parser.add_argument("--missing", action="store_true", help="only what the table does not have")
    parser.add_argument("--jobs", type=int, help="compilers side by side; default as many as processors")
    arguments = parser.parse_args(given)
    table: dict[str, dict[str, Any]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    chosen = [
        (launch, config, capability)
        for launch in sorted(launches(arguments.variant), key=lambda launch: launch.name)
        if launch.kernel in (arguments.kernel or kernels())
        for config in kernels()[launch.kernel].configs
        for capability in arguments.capability
        if not arguments.missing or capability not in table.get(row(launch, config), {})
    ]
    problems = []
    compiled_now: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as workers:
        for job, used in zip(chosen, workers.map(compiled, *zip(*chosen, strict=True)) if chosen else (), strict=True):
            launch, config, capability = job
            name = row(launch, config)
            compiled_now.setdefault(name, {})[capability] = used
            line = f"{name} on {capability}: {used}"
            print(line, flush=True)
            known = table.get(name, {}).get(capability)
            if "error" in used:
                problems.append(line)
            elif not arguments.write and known is not None and used["spills"] > known["spills"]:
                problems.append(f"{line}, where the table has {known['spills']} bytes of spills")
            if arguments.write:
                table.setdefault(name, {})[capability] = used
                TABLE.write_text(text(table), encoding="utf-8")
    for capability in arguments.capability:
        problems += without_room(table if arguments.write else compiled_now, capability)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def row(launch: Launch, config: Mapping[str, int]) -> str:
    """The name of a row of the table."""
    return f"{launch.name}; {' '.join(f'{name}={value}' for name, value in config.items())}"


def text(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as it is written: a line for each kernel and configuration."""
    lines = (f"{json.dumps(name)}: {json.dumps(dict(sorted(each.items())))}" for name, each in sorted(table.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def without_room(table: Mapping[str, Mapping[str, Any]], capability: str) -> Iterator[str]:
    """Launches of which no configuration has room on a kind of card."""
    fits: dict[str, bool] = {}
    for name, each in table.items():
        if (entry := each.get(capability)) is not None:
            launch = name.partition(";")[0]
            room = "error" not in entry and entry["shared"] <= 1024 * SHARED_KIB[capability]
            fits[launch] = fits.get(launch, False) or room
    return (f"{launch} has room in no configuration on {capability}" for launch, fit in fits.items() if not fit)


def launches(variants: list[str] | None) -> set[Launch]:
    """What is launched in the start, the steady state and the end of streams of the networks."""
    import torch

    from vsgshift.engine.cuda import tuning
    from vsgshift.engine.cuda.blocks import FusedMerge, FusedResidualBlock, FusedShiftStep, PaddedFrameUNets
    from vsgshift.engine.cuda.halves import PAST
    from vsgshift.network import VARIANTS, ShiftNet
    from vsgshift.network.gated import ShiftStep
    from vsgshift.network.layers import ResidualBlock
    from vsgshift.network.shift import Direction
    from vsgshift.network.timeline import WholeClip
    from vsgshift.streaming import Pipeline

    noted: set[Launch] = set()

    def note(self: tuning.Kernel, like: Any, key: str, grid: Any, *arguments: Any, **constants: Any) -> None:
        names = self.function.arg_names
        types = {torch.float16: "fp16", torch.float32: "fp32", torch.bool: "i1", torch.uint8: "u8"}
        types |= {torch.int16: "i16", torch.int32: "i32"}
        numbers = {int: "i32", float: "fp32"}
        kinds = (f"*{types[x.dtype]}" if isinstance(x, torch.Tensor) else numbers[type(x)] for x in arguments)
        signature = tuple(zip(names, kinds, strict=False))
        # A frame of all channels before the clip's first run is no different from a whole one later.
        if constants.get("SHIFT") != PAST or constants["EDGE_C"] < constants["C"]:
            noted.add(Launch(self.name, signature, tuple(sorted(constants.items()))))

    launch = tuning.Kernel.launch
    tuning.Kernel.launch = note  # type: ignore[method-assign]
    try:
        for name in variants or VARIANTS:
            for direction in Direction:
                with torch.device("meta"):
                    step = FusedShiftStep(ShiftStep(VARIANTS[name], direction), torch.float16)
                    x = torch.empty(BLOCK, VARIANTS[name].core_width, 8, 8, dtype=torch.float16)
                pipeline = Pipeline()
                # The first run has no edge, the second one has.
                for first in (0, BLOCK):
                    pipeline.step(range(first, first + BLOCK), first + BLOCK, cuts={0})
                    step(x.contiguous(memory_format=torch.channels_last), pipeline)
            with torch.device("meta"):
                network = ShiftNet(VARIANTS[name]).half()
                if len(network.unets_before):
                    wide = PaddedFrameUNets(network.unets_before)
                    for each in ("unets_before", "unets_after"):
                        network.register_module(each, wide)
                blocks = (each for each in network.modules() if isinstance(each, ResidualBlock))
                for block in {tuple(block.attention.squeeze.weight.shape): block for block in blocks}.values():
                    x = torch.empty(BLOCK, len(block.conv1.weight), 8, 8, dtype=torch.float16)
                    FusedResidualBlock(block)(x, torch.empty(1, dtype=torch.float16))
            if reach := VARIANTS[name].merge:
                with torch.device("meta"):
                    merge, clip = FusedMerge(reach), torch.empty(2 * reach, 3, 16, 16)
                    merge(WholeClip(len(clip)).window(merge.keep(clip), reach), torch.empty(len(clip), 1, 8, 8))
    finally:
        tuning.Kernel.launch = launch  # type: ignore[method-assign]
    return noted


def compiled(launch: Launch, config: Mapping[str, int], capability: str) -> dict[str, Any]:
    """Registers and spilled bytes of a thread, and shared memory of a program; or the error."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as compile_kernel

    options = {name: config[name] for name in ("num_warps", "num_stages", "maxnreg") if name in config}
    tiles = {name: value for name, value in config.items() if name not in options}
    constants = {**dict(launch.constants), **tiles}
    function = kernels()[launch.kernel].function
    signature = {name: dict(launch.signature).get(name, "constexpr") for name in function.arg_names}
    # torch's allocations, and what the launchers cut out of them, begin at multiples of 16 bytes.
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(function.arg_names)
        if signature[name].startswith("*")
    }
    target = GPUTarget("cuda", int(capability.replace(".", "")), 32)
    try:
        source = ASTSource(function, signature, constexprs=constants, attrs=attributes)
        kernel = compile_kernel(source, target=target, options={**options, "enable_fp_fusion": True})
    except Exception as error:  # compilers fail in ways of their own
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    return {**usage(kernel.asm["cubin"]), "shared": kernel.metadata.shared}


def usage(cubin: bytes) -> dict[str, int]:
    """Registers of a thread, and bytes that it spills, by NVIDIA's tool that comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    numbers = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", said))
    return {"registers": int(numbers["REG"]), "spills": int(numbers["STACK"]) + int(numbers["LOCAL"])}


@cache
def kernels() -> dict[str, Any]:
    """All of them, by name."""
    from vsgshift.engine.cuda import align, attention, expand, gate, merge, motion, multiply, project, residual

    single = (module.KERNEL for module in (align, attention, expand, gate, merge, multiply, project))
    several = (motion.KEEP, motion.HALVE, motion.MOTION, residual.CONVOLVE, residual.SCALED_SUM)
    return {kernel.name: kernel for kernel in (*single, *several)}


if __name__ == "__main__":
    raise SystemExit(main())
