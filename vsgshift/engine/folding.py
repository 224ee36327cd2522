"""Weights, changed so that fewer or cheaper operations give the same result."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.gated import GatedBlock, joined_kernel


def normalised_expansion(block: GatedBlock) -> tuple[Tensor, Tensor]:
    """The block's expansion with its norm's weight and bias in it.

    Returns:
        (2 C, C + S), to be applied to normalised inputs, and a bias (2 C,).
    """
    kernel = block.expand.weight.flatten(1)
    return kernel * block.norm.weight, kernel @ block.norm.bias


def scaled_projection(block: GatedBlock) -> tuple[Tensor, Tensor]:
    """The block's projection with beta in it: (C, C), and a bias (C,)."""
    beta = block.beta.flatten()
    bias = block.project.bias
    kernel = block.project.weight.flatten(1) * beta[:, None]
    return kernel, torch.zeros_like(beta) if bias is None else bias * beta


def depthwise_taps(convolution: nn.Conv2d) -> Tensor:
    """A depthwise kernel (C, 1, K, K) as (K * K, C)."""
    return convolution.weight.flatten(1).t()


def expansion_taps(block: GatedBlock) -> Tensor:
    """``z + depthwise(z)`` as one depthwise convolution: (9, 2 C)."""
    return joined_kernel(block.expand_depthwise).flatten(1).t()


def mixing_kernel(block: GatedBlock) -> Tensor:
    """``z + conv5(z) + conv3(z)`` as one convolution: (C, channels per group, 5, 5)."""
    return joined_kernel(block.mix5, block.mix3)


def tap_major(convolution: nn.Conv2d) -> Tensor:
    """A kernel (outputs, inputs, K, K) as (outputs, K * K * inputs): the order of pixels that lie channels last."""
    return convolution.weight.permute(0, 2, 3, 1).flatten(1)


PANEL, HALF_PANEL = 16, 8


def panels(kernel: Tensor) -> Tensor:
    """(outputs, inputs) in the order in which the tiles of `native/vectors.h` read it, flat.

    For each 16 outputs, and for each input, 16 weights; where no more than 8 outputs are left, 8.
    """
    parts = []
    outputs = len(kernel)
    first = 0
    while first < outputs:
        width = PANEL if outputs - first > HALF_PANEL else HALF_PANEL
        panel = kernel[first : first + width]
        parts.append(F.pad(panel, (0, 0, 0, width - len(panel))).t().reshape(-1))
        first += width
    return torch.cat(parts)
