"""The kernels for CUDA, compiled at every configuration for cards of each kind, without a card, and what came of it.

    python scripts/compile_kernels.py           # as CI: what the table lacks, and a thirtieth of it, another every day
    python scripts/compile_kernels.py --write   # after a change of a kernel: what the table lacks, and write it there
    python scripts/compile_kernels.py --all     # everything, some fifteen minutes of processor time

What is launched is found out by running shift steps in half precision on torch's meta device. The table beside this
file has for each launch and configuration a key, made of the source of the kernel and of all that it calls, and for
each kind of card registers, spilled bytes and shared memory. What has another key now is not in it. Fails on what does
not compile, on more shared memory than the card has, on more spills than the table has (none, if it lacks them), and,
with the Triton that the table was made with, on any number that is not the table's.
"""

import argparse
import ast
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Compiled, not interpreted.
os.environ.pop("TRITON_INTERPRET", None)

TABLE = Path(__file__).with_suffix(".json")
SHARED_KIB = {"8.0": 163, "8.6": 99, "8.9": 99, "9.0": 227, "10.0": 227, "12.0": 99}
"""Shared memory that a program may have at most, by compute capability."""
OPTIONS = ("num_warps", "num_stages", "maxnreg")
"""Of a configuration, what the compiler takes; the rest are constants of the kernel."""
USED = ("registers", "spills", "shared")
"""What the table says of a compiled kernel: registers and spilled bytes of a thread, bytes of a program."""
BLOCK = 4
"""Frames per run."""
PARTS = 30
"""What the table has is compiled in so many parts, one a day."""


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


@dataclass(frozen=True)
class Cell:
    """A launch in one configuration on cards of one kind."""

    launch: Launch
    config: tuple[tuple[str, int], ...]
    capability: str

    @property
    def row(self) -> str:
        return f"{self.launch.name}; {' '.join(f'{name}={value}' for name, value in self.config)}"

    @property
    def number(self) -> int:
        return int(sha256(repr(self).encode()).hexdigest(), 16)


class Table:
    """What came of compiling, and with which Triton: a row for each launch and configuration, with its key and, by
    compute capability, the numbers of `USED`."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))
        self.triton: str = self.rows.pop("triton")  # type: ignore[assignment]

    def write(self) -> None:
        lines = [
            f'"triton": "{self.triton}"',
            *(f'"{name}": {json.dumps(self.rows[name])}' for name in sorted(self.rows)),
        ]
        TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

    def key(self, cell: Cell) -> str:
        """Changes with everything that decides what is compiled, the card aside."""
        what = self.triton, source(kernels()[cell.launch.kernel].function), cell.launch, cell.config
        return sha256(repr(what).encode()).hexdigest()[:12]

    def has(self, cell: Cell) -> bool:
        row = self.rows.get(cell.row, {})
        return cell.capability in row and row["key"] == self.key(cell)

    def put(self, cell: Cell, used: Mapping[str, int]) -> None:
        key, row = self.key(cell), self.rows.get(cell.row, {})
        row = {**(row if row.get("key") == key else {}), "key": key, cell.capability: [used[name] for name in USED]}
        self.rows[cell.row] = {name: row[name] for name in ("key", *SHARED_KIB) if name in row}


def main(given: list[str] | None = None) -> int:
    """Compile, and compare or write; the exit status is 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="compile everything anew")
    parser.add_argument("--write", action="store_true", help="write into the table, and compile no part of what it has")
    parser.add_argument("--more-spills", action="store_true", help="more than the table has are no mistake")
    parser.add_argument("--kernel", nargs="+", choices=list(kernels()), default=list(kernels()))
    parser.add_argument("--capability", nargs="+", choices=list(SHARED_KIB), default=list(SHARED_KIB))
    parser.add_argument("--jobs", type=int, help="compilers side by side; default as many as processors")
    arguments = parser.parse_args(given)
    from triton import __version__ as version

    table = Table()
    before = copy.deepcopy(table.rows)
    if arguments.write:
        launched = {cell.row for cell in cells()}
        table.triton, table.rows = version, {name: row for name, row in table.rows.items() if name in launched}
    elif table.triton != version:
        print(f"the table was made with Triton {table.triton}, this is {version}: no more than spills is compared")
    part = -1 if arguments.write else datetime.now(UTC).toordinal() % PARTS
    chosen = [
        cell
        for cell in cells()
        if cell.launch.kernel in arguments.kernel
        and cell.capability in arguments.capability
        and (arguments.all or not table.has(cell) or cell.number % PARTS == part)
    ]
    problems = []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as workers:
        for cell, used in zip(chosen, workers.map(compiled, chosen), strict=True):
            known = before.get(cell.row, {}).get(cell.capability)
            room = SHARED_KIB[cell.capability]
            print(line := f"{cell.row} on {cell.capability}: {used}", flush=True)
            if (
                "error" in used
                or used["shared"] > 1024 * room
                or (used["spills"] > (known[1] if known else 0) and not arguments.more_spills)
                or (not arguments.write and table.triton == version and table.has(cell) and [*used.values()] != known)
            ):
                problems.append(f"{line}; the table has {known}, the card {room} KiB of shared memory")
            elif arguments.write:
                table.put(cell, used)
                table.write()
    lacking = sum(not table.has(cell) for cell in cells())
    print(f"{len(chosen)} of {len(cells())} compiled; the table lacks {lacking}" + ": --write" * bool(lacking))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


@cache
def cells() -> list[Cell]:
    """All there are, those of a row one after the other."""
    return [
        Cell(launch, tuple(config.items()), capability)
        for launch in sorted(launches(), key=lambda launch: launch.name)
        for config in kernels()[launch.kernel].fitting(dict(launch.constants))
        for capability in SHARED_KIB
    ]


@cache
def launches() -> frozenset[Launch]:
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
        for variant in VARIANTS.values():
            for direction in Direction:
                with torch.device("meta"):
                    step = FusedShiftStep(ShiftStep(variant, direction), torch.float16)
                    x = torch.empty(BLOCK, variant.core_width, 8, 8, dtype=torch.float16)
                pipeline = Pipeline()
                # The first run has no edge, the second one has.
                for first in (0, BLOCK):
                    pipeline.step(range(first, first + BLOCK), first + BLOCK, cuts={0})
                    step(x.contiguous(memory_format=torch.channels_last), pipeline)
            with torch.device("meta"):
                # Of shift steps and frame-UNets one is as good as many.
                few = tuple(min(count, 1) for count in variant.encoder_blocks)
                network = ShiftNet(replace(variant, steps=2, unets=min(variant.unets, 1), encoder_blocks=few)).half()
                if len(network.unets_before):
                    wide = PaddedFrameUNets(network.unets_before)
                    for each in ("unets_before", "unets_after"):
                        network.register_module(each, wide)
                blocks = (each for each in network.modules() if isinstance(each, ResidualBlock))
                for block in {tuple(block.attention.squeeze.weight.shape): block for block in blocks}.values():
                    x = torch.empty(BLOCK, len(block.conv1.weight), 8, 8, dtype=torch.float16)
                    FusedResidualBlock(block)(x, torch.empty(1, dtype=torch.float16))
            if reach := variant.merge:
                with torch.device("meta"):
                    merge, clip = FusedMerge(reach), torch.empty(2 * reach, 3, 16, 16)
                    merge(WholeClip(len(clip)).window(merge.keep(clip), reach), torch.empty(len(clip), 1, 8, 8))
    finally:
        tuning.Kernel.launch = launch  # type: ignore[method-assign]
    return frozenset(noted)


@cache
def source(function: Any) -> str:
    """The code of a kernel and of the functions and constants that it uses; without comments, wherever it stands."""
    from triton.language import constexpr
    from triton.runtime.jit import JITFunction

    used = {name: function.fn.__globals__.get(name) for name in function.fn.__code__.co_names}
    parts = [ast.unparse(ast.parse(function.src))]
    parts += (f"{name} = {value.value!r}" for name, value in sorted(used.items()) if isinstance(value, constexpr))
    parts += (source(value) for _, value in sorted(used.items()) if isinstance(value, JITFunction))
    return "\n".join(parts)


def compiled(cell: Cell) -> dict[str, Any]:
    """Registers and spilled bytes of a thread, and shared memory of a program; or the error."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as compile_kernel

    config: dict[str, Any] = dict(cell.config)
    options: dict[str, Any] = {name: config.pop(name) for name in OPTIONS if name in config}
    function = kernels()[cell.launch.kernel].function
    signature = {name: dict(cell.launch.signature).get(name, "constexpr") for name in function.arg_names}
    # torch's allocations, and what the launchers cut out of them, begin at multiples of 16 bytes.
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(function.arg_names)
        if signature[name].startswith("*")
    }
    constants = {**dict(cell.launch.constants), **config}
    target = GPUTarget("cuda", int(cell.capability.replace(".", "")), 32)
    try:
        code = ASTSource(function, signature, constexprs=constants, attrs=attributes)
        kernel = compile_kernel(code, target=target, options={**options, "enable_fp_fusion": True})
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
