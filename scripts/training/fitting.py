"""Loss, optimiser and averaged weights: what one step does to a network once clips are at hand."""

import copy
import math
import statistics
from collections import deque
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vsgshift.engine import prepared
from vsgshift.network import ShiftNet

from .muon import KernelMuon, kernels
from .recipe import Fit, Recipe, TrainingError

NORMS = 200
"""Recent gradient norms whose median the adaptive limit goes by."""
PATIENCE = 50
"""Steps in a row whose gradient may be unusable before the training is given up."""


def psnr_loss(
    restored: Tensor, clean: Tensor, *, floor: float, frames: int = 1, ends: int = 0, lattice: float = 0.0
) -> Tensor:
    """Minus half the PSNR in dB, mean over frames: 0.5 * 10 / ln 10 * ln(MSE + floor) (the authors': floor 1e-8).

    restored, clean: (clips * frames, 3, H, W) in [0, 1]; ends: frames at each end of a clip left out; lattice: how many
    times the power of a clip's `lattice_power` is added to the MSE of its frames.
    """
    error = restored.float() - clean.float()
    mse = error.square().mean((1, 2, 3)).view(-1, frames)
    if lattice:
        mse = mse + lattice * lattice_power(error.unflatten(0, (-1, frames)))[:, None]
    return (5 / math.log(10) * torch.log(mse[:, ends : frames - ends] + floor)).mean()


def lattice_power(error: Tensor) -> Tensor:
    """The mean square of what repeats every 4 pixels in errors (clips, T, 3, H, W), and stays: (clips,).

    A picture favours no place of such a lattice; the grid that a network computes on may.
    """
    height, width = (size // 4 * 4 for size in error.shape[-2:])
    positions = error[..., :height, :width].unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4)).mean((1, 3, 5))
    power: Tensor = (positions - positions.mean((-1, -2), keepdim=True)).square().mean((1, 2, 3))
    return power


def new_network(recipe: Recipe, device: torch.device) -> ShiftNet:
    """The recipe's network with the weights it starts from.

    Raises:
        TrainingError: the recipe's `initial` weights cannot be read, or are for another network.
    """
    torch.manual_seed(recipe.seed)
    network = ShiftNet(recipe.variant)
    if recipe.initial:
        from vsgshift.weights.store import find, read

        try:
            variant, state, _ = read(find(recipe.initial))
        except (ValueError, OSError) as error:
            raise TrainingError(f"initial weights: {error}") from error
        if variant != recipe.variant:
            raise TrainingError(f"initial weights {recipe.initial} are for {variant.name}, not {recipe.network}")
        network.load_state_dict(state)
    else:
        with torch.no_grad():
            network.to_rgb.weight *= recipe.fit.output_scale
            for name, parameter in network.named_parameters():
                if name.endswith(".beta"):
                    parameter.fill_(recipe.fit.gate)
    if network.merger and device.type == "cpu" and (merger := prepared(network).merger):
        # It has nothing to learn, and the compiled one is many times faster.
        network.merger = merger
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def learning_rate(fit: Fit, *, step: int, done: float) -> float:
    """The rate of a step, when a fraction `done` of the training's length has passed: warm-up, then a cosine."""
    warm = min(1.0, (step + 1) / fit.warmup) if fit.warmup else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return warm * (fit.final_rate + (fit.rate - fit.final_rate) * fall)


class Fitter:
    """Optimiser, loss scaling, gradient limit and averaged weights of one network."""

    def __init__(self, network: ShiftNet, fit: Fit) -> None:
        self.network, self.fit = network, fit
        self.averaged = copy.deepcopy(network).requires_grad_(False).eval()
        climbs = {id(parameter) for parameter in network.core.climbs.parameters()}
        apart = (network.embed.weight, network.to_rgb.weight)
        muon = kernels(network, apart) if fit.optimizer == "muon" else set()
        named = dict(network.named_parameters())
        self.names: list[list[str]] = []
        self.optimizers: list[torch.optim.Optimizer] = []
        for chosen in (named.keys() - muon, muon):
            names, groups = [], []
            for share, climbing in ((1.0, False), (fit.climb_rate, True)):
                members = [name for name in named if name in chosen and (id(named[name]) in climbs) == climbing]
                names += members
                groups.append({"params": [named[name] for name in members], "share": share})
            if not names:
                continue
            self.names.append(names)
            if chosen is muon:
                self.optimizers.append(KernelMuon(groups, fit.kernel_rate))
            else:
                # The fused step exists for these two kinds of device, and is the fastest on both.
                fused = network.embed.weight.device.type in ("cpu", "cuda")
                self.optimizers.append(
                    torch.optim.AdamW(groups, betas=fit.betas, weight_decay=fit.weight_decay, fused=fused)
                )
        device = network.embed.weight.device
        self.scaler = torch.amp.GradScaler(device.type, enabled=fit.precision == "fp16")
        self.norms: deque[float] = deque(maxlen=NORMS)
        self.unusable = 0

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def limit(self) -> float:
        """The norm that the next gradient is cut down to."""
        if self.fit.adaptive_clip and len(self.norms) > 20:
            return min(self.fit.clip, self.fit.adaptive_clip * statistics.median(self.norms))
        return self.fit.clip

    def step(self, *, step: int, rate: float) -> float:
        """Moves the weights by the gradient that has been added up, and forgets it; returns its norm.

        A gradient that is not finite moves nothing: common with loss scaling, rare otherwise.

        Raises:
            TrainingError: there have been PATIENCE of those in a row.
        """
        for optimizer in self.optimizers:
            muon = isinstance(optimizer, KernelMuon)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"] * (self.fit.kernel_rate / self.fit.rate if muon else 1.0)
            self.scaler.unscale_(optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.limit()))
        usable = math.isfinite(norm)
        if usable:
            self.norms.append(norm)
        if usable or self.scaler.is_enabled():
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
        self.network.zero_grad()
        self.unusable = 0 if usable else self.unusable + 1
        if self.unusable >= PATIENCE:
            raise TrainingError(f"no usable gradient in {PATIENCE} steps: the training has diverged; lower fit.rate")
        keep = min(self.fit.average, (step + 1) / (step + 11))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - keep)
        return norm

    def tensors(self, *, compact: bool = False) -> dict[str, Tensor]:
        """Weights, averaged weights and moments by name; compact as in `Recipe.state`."""
        moment, mean = (torch.bfloat16, torch.float16) if compact else (torch.float32, torch.float32)
        out = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        out |= {f"averaged.{name}": tensor.to(mean) for name, tensor in self.averaged.state_dict().items()}
        for optimizer, names in zip(self.optimizers, self.names, strict=True):
            for index, values in optimizer.state_dict()["state"].items():
                for key, tensor in values.items():
                    out[f"{key}.{names[index]}"] = tensor.to(torch.float32 if key == "step" else moment)
        return out

    def facts(self) -> dict[str, object]:
        """The rest of the state, as JSON has it."""
        return {"norms": list(self.norms), "unusable": self.unusable, "scaler": self.scaler.state_dict()}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, object]) -> None:
        """Takes on a state.

        Raises:
            TrainingError: it is of another network.
        """
        try:
            self.network.load_state_dict(_under("network.", tensors))
            self.averaged.load_state_dict(_under("averaged.", tensors))
        except RuntimeError as error:
            raise TrainingError(f"the state does not fit the network: {str(error).splitlines()[-1].strip()}") from error
        parameters = dict(self.network.named_parameters())
        for optimizer, names in zip(self.optimizers, self.names, strict=True):
            whole = optimizer.state_dict()
            keys = ("momentum",) if isinstance(optimizer, KernelMuon) else ("step", "exp_avg", "exp_avg_sq")
            whole["state"] = {
                index: {key: _laid_out(tensors[f"{key}.{name}"], parameters[name]) for key in keys}
                for index, name in enumerate(names)
                if f"{keys[0]}.{name}" in tensors
            }
            optimizer.load_state_dict(whole)
        norms, unusable, scaler = facts["norms"], facts["unusable"], facts["scaler"]
        assert isinstance(norms, Iterable)
        assert isinstance(unusable, int)
        assert isinstance(scaler, dict)
        self.norms = deque(norms, maxlen=NORMS)
        self.unusable = unusable
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A moment in its parameter's own layout: a fused step walks through memory, not through indices."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)
