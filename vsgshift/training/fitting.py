"""Loss, optimiser and averaged weights: what one step does to a network once clips are at hand."""

import copy
import math
import statistics
from collections import deque
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network import ShiftNet

from .recipe import Fit, Recipe, TrainingError

NORMS = 200
"""Recent gradient norms whose median the adaptive limit goes by."""
PATIENCE = 50
"""Steps in a row whose gradient may be unusable before the training is given up."""


def psnr_loss(restored: Tensor, clean: Tensor, *, floor: float, frames: int = 1, ends: int = 0) -> Tensor:
    """Minus half the PSNR in dB, mean over frames: 0.5 * 10 / ln 10 * ln(MSE + floor) (the authors': floor 1e-8).

    restored, clean: (clips * frames, 3, H, W) in [0, 1]; ends: frames at each end of a clip left out.
    """
    mse = F.mse_loss(restored.float(), clean.float(), reduction="none").mean((1, 2, 3))
    mse = mse.view(-1, frames)[:, ends : frames - ends]
    return (5 / math.log(10) * torch.log(mse + floor)).mean()


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
    elif recipe.fit.identity:
        nn.init.zeros_(network.to_rgb.weight)
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
        self.names: list[str] = []
        groups = []
        for share, wanted in ((1.0, False), (fit.climb_rate, True)):
            named = [(n, p) for n, p in network.named_parameters() if (id(p) in climbs) == wanted]
            self.names += [name for name, _ in named]
            groups.append({"params": [parameter for _, parameter in named], "share": share})
        device = next(network.parameters()).device
        self.optimizer = torch.optim.AdamW(
            groups, fit.rate, betas=fit.betas, weight_decay=fit.weight_decay, fused=device.type in ("cpu", "cuda")
        )
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
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.limit()))
        usable = math.isfinite(norm)
        if usable:
            self.norms.append(norm)
        if usable or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
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
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, tensor in values.items():
                dtype = torch.float32 if key == "step" else moment
                out[f"{key}.{self.names[index]}"] = tensor.to(dtype)
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
        whole = self.optimizer.state_dict()
        parameters = dict(self.network.named_parameters())
        whole["state"] = {
            index: {
                "step": tensors[f"step.{name}"],
                # In the parameter's own layout: the fused step walks through memory, not through indices.
                "exp_avg": torch.empty_like(parameters[name]).copy_(tensors[f"exp_avg.{name}"]).detach(),
                "exp_avg_sq": torch.empty_like(parameters[name]).copy_(tensors[f"exp_avg_sq.{name}"]).detach(),
            }
            for index, name in enumerate(self.names)
            if f"step.{name}" in tensors
        }
        self.optimizer.load_state_dict(whole)
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
