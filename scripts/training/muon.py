"""Muon for convolution kernels: momentum whose matrix is made orthogonal before it is applied.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). torch.optim.Muon
takes matrices only; here a kernel (out, in, k, k) counts as the matrix (out, in * k * k), and kernels
of one shape go through the iteration together, which for small ones is most of the cost.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The source's polynomial: a x + b x^3 + c x^5 takes every singular value to about one in five rounds."""
ROUNDS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values moved to about one."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = x.mT if tall else x
    return out


def kernels(network: nn.Module, apart: Iterable[Tensor] = ()) -> set[str]:
    """Names of the parameters that Muon is for: kernels of ungrouped convolutions, but those set apart.

    First and last layers should be set apart: their channels are pixels, not features.
    """
    allowed = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1 and min(module.weight.shape[:2]) > 1
    } - {id(parameter) for parameter in apart}
    return {name for name, parameter in network.named_parameters() if id(parameter) in allowed}


class KernelMuon(Optimizer):
    """Muon with Nesterov momentum for 4-D kernels; its state is one momentum a kernel."""

    def __init__(self, params: Iterable[Any], lr: float, *, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves the kernels that have a gradient. No closure is taken."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                ahead = kernel.grad.lerp(state["momentum"], group["momentum"])
                shape = len(kernel), kernel[0].numel()
                alike.setdefault(shape, []).append((kernel, ahead.reshape(shape)))
            for (rows, columns), members in alike.items():
                length = group["lr"] * max(1.0, rows / columns) ** 0.5
                updates = orthogonal(torch.stack([ahead for _, ahead in members]))
                for (kernel, _), update in zip(members, updates, strict=True):
                    kernel.sub_(update.reshape(kernel.shape), alpha=length)
