"""Which blocks of a network are replaced by faster ones."""

import copy
import logging
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
from torch.nn import Module

from vsgshift.engine.compiler import missing
from vsgshift.engine.cpu.library import kernels
from vsgshift.network import ShiftNet
from vsgshift.network.gated import ShiftStep
from vsgshift.network.layers import ResidualBlock
from vsgshift.network.merge import Merge
from vsgshift.network.merged import MergedInput, MergedOutput
from vsgshift.streaming import restore

logger = logging.getLogger(__name__)

AGREEMENT = 2e-2
"""Largest relative difference, in half precision, between the changes that two sound ways of computing make."""
STEADY_FRAMES = 24
"""Length of the clip that both are compared on, beyond the radius: the graph is replayed before it ends."""


def prepared(network: ShiftNet, tell: Callable[[str], object] = logger.info) -> ShiftNet:
    """A network for inference that gives the same results faster; `network` itself is left as it is.

    On a CPU shift steps, residual blocks and the merge are run by kernels that were compiled for its instruction set;
    in a network of bfloat16 shift steps and the merge alone, still in float32. On a CUDA device of compute capability
    8.0 or more, in half precision, Triton's kernels run, once they have been seen to agree with the plain ones on that
    device. Elsewhere the result is `network`.
    A prepared network can be neither trained nor saved.

    Args:
        tell: is called with lines of progress if it takes long: on a card's first use about a minute, in which
            kernels are compiled and timed.
    """
    if runs_compiled(network):
        return _for_cpu(network)
    weight = network.embed.weight
    if weight.device.type == "cuda" and weight.dtype != torch.float32 and find_spec("triton") is not None:
        from vsgshift.engine.cuda import tuning
        from vsgshift.engine.cuda.blocks import fuse, supported

        if supported(weight.device):
            with tuning.telling(tell):
                return checked(network, fuse)
    return network


def runs_compiled(network: ShiftNet) -> bool:
    """Whether `prepared` gives a network that runs the compiled kernels for the CPU."""
    weight = network.embed.weight
    return weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16) and kernels() is not None


def _for_cpu(network: ShiftNet) -> ShiftNet:
    from vsgshift.engine.cpu.blocks import (
        FastMerge,
        FastMergedInput,
        FastMergedOutput,
        FastResidualBlock,
        FastShiftStep,
        SingleConv,
    )

    single = network.embed.weight.dtype == torch.float32

    def compiled(module: Module) -> Module | None:
        match module:
            case ShiftStep():
                return FastShiftStep(module)
            case ResidualBlock() if single:
                return FastResidualBlock(module)
            case Merge():
                return FastMerge(module.reach)
            case MergedInput():
                return FastMergedInput()
            case MergedOutput():
                return FastMergedOutput()
            case _ if module is network.embed and not single:
                return SingleConv(network.embed)
        return None

    # What copying finds here it takes, and copies nothing of what this stands for.
    known = {id(module): fast for module in network.modules() if (fast := compiled(module)) is not None}
    return copy.deepcopy(network, known).requires_grad_(False).eval()


def checked(network: ShiftNet, fuse: Callable[[ShiftNet], ShiftNet]) -> ShiftNet:
    """What `fuse` makes of a network, if that works and agrees with it; else the network, and a warning, once."""
    try:
        fused = fuse(network)
        apart = _apart(network, fused)
    except Exception as error:  # compilers and drivers fail in ways of their own
        reason = "; ".join(missing() or [str(error).partition("\n")[0]])
        _warn_once(f"the fused kernels do not work here, the plain network runs: {reason}")
        return network
    # Not a number is not within either.
    if not apart <= AGREEMENT:
        _warn_once(f"the fused kernels are off by {apart:.2g} here, the plain network runs; please report this")
        return network
    return fused


@cache
def _warn_once(text: str) -> None:
    logger.warning(text)


def _apart(network: ShiftNet, fused: ShiftNet) -> float:
    """Relative difference between what two networks change in a small clip.

    The clip is streamed, as users' clips are: start, steady state, on CUDA its graph, a cut, and finish.
    """
    weight = network.embed.weight
    generator = torch.Generator().manual_seed(0)
    length = network.radius + STEADY_FRAMES
    clip = torch.rand(length, 3, 48, 80, generator=generator).to(weight.device)
    noise = clip.new_full((length, 1, *clip.shape[2:]), 0.1) if network.variant.task == "denoise" else None
    expected, actual = (
        restore(each, clip, noise, cuts=[length - STEADY_FRAMES // 2]) - clip for each in (network, fused)
    )
    return float((actual - expected).norm() / expected.norm())
