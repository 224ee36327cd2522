"""Weights of a gated block, folded so that fewer or cheaper operations give the same result.

Used by the CPU and by CUDA; each brings the folded weights into the layout that its kernels read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vsgshift.network.gated import GatedBlock, joined_weight


@dataclass(frozen=True, kw_only=True)
class FoldedGatedBlock:
    """What is left of a `GatedBlock` of C channels with S beside them; all float32, without gradients."""

    expand: Tensor
    """(2 C, C + S), to be applied to normalised inputs: the norm's weight is in it."""
    expand_bias: Tensor
    """(2 C,), from the norm's bias."""
    depthwise: Tensor
    """(2 C, 1, 3, 3), the skip in it."""
    mix: Tensor
    """(C, channels of a group, 5, 5): 5x5, 3x3 and the skip as one convolution."""
    gate: Tensor
    """(2 C, C)."""
    project: Tensor
    """(C, C), beta in it."""
    project_bias: Tensor
    """(C,), likewise; zero if the block has none."""


@torch.no_grad()
def gated(block: GatedBlock) -> FoldedGatedBlock:
    """Fold the weights of a block, in float32 whatever its own precision is."""
    expand = block.expand.weight.float().flatten(1)
    beta = block.beta.float().flatten()
    bias = block.project.bias
    return FoldedGatedBlock(
        expand=expand * block.norm.weight.float(),
        expand_bias=expand @ block.norm.bias.float(),
        depthwise=joined_weight(block.expand_depthwise.weight.float()),
        mix=joined_weight(block.mix5.weight.float(), block.mix3.weight.float()),
        gate=block.gate.weight.float().flatten(1),
        project=block.project.weight.float().flatten(1) * beta[:, None],
        project_bias=torch.zeros_like(beta) if bias is None else bias.float() * beta,
    )


def taps(weight: Tensor) -> Tensor:
    """A depthwise convolution's weight (C, 1, K, K) as (K * K, C), float32: the channels of a tap contiguous."""
    return weight.detach().float().flatten(1).t().contiguous()
