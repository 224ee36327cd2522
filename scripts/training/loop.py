"""The training loop: from a recipe and a folder to weights, in one go or in slices."""

import dataclasses
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vsgshift.weights.store import write

from .batches import Batch, batches
from .filmed import FilmedClips
from .fitting import Fitter, learning_rate, new_network, psnr_loss
from .generated import GeneratedClips
from .processes import Processes
from .progress import Progress
from .recipe import Recipe, TrainingError
from .state import read_state, write_state
from .validation import autocast, examples, validate

log = logging.getLogger(__name__)

REPORT_SECONDS = 20.0
"""From one line of progress to the next."""
CLOSING_SECONDS = 5.0
"""Kept at the end of a slice for writing the state."""


class Training:
    """One process's part in a training.

    Attributes:
        step: steps done.
        spent: seconds spent on this training, all slices together.
    """

    def __init__(self, recipe: Recipe, folder: Path, team: Processes, *, resume: bool) -> None:
        """Sets everything up, from the state in the folder where there is one.

        Raises:
            TrainingError: there is a state but ``resume`` is false, or it is of another recipe; no
                footage; the batch does not fit the number of processes.
        """
        self.started = time.monotonic()
        self.recipe, self.folder, self.team = recipe, folder, team
        self.items = team.share(recipe.fit.batch)
        if len(self.items) % recipe.fit.at_once:
            raise TrainingError(
                f"fit.at_once = {recipe.fit.at_once} does not divide the {len(self.items)} clips of each process"
            )
        self.step, self.before, self.hardware = 0, 0.0, {team.hardware()}
        self.latest: dict[str, float] = {}
        saved = read_state(folder)
        if saved and not resume:
            raise TrainingError(
                f"{folder} holds a training at step {saved[1]['step']}; add --resume to go on, or name another folder"
            )
        supply = GeneratedClips if recipe.data.source == "generated" else FilmedClips
        clips = supply(recipe, self.items, team.device)
        self.network = new_network(recipe, team.device)
        self.fitter = Fitter(self.network, recipe.fit)
        if saved:
            tensors, facts = saved
            if different := recipe.differences(facts["recipe"]):
                raise TrainingError(f"{folder} holds a training by another recipe: {', '.join(different)} differ")
            self.fitter.load(tensors, facts["fitter"])
            self.step, self.before = facts["step"], facts["spent"]
            self.hardware |= set(facts["hardware"])
            self.latest = facts["validation"]
        self.forward: nn.Module = self.network
        if team.count > 1:
            # Kernels of one pixel have the same values in either layout; the warning about theirs is of no use.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            self.forward = DistributedDataParallel(self.network, gradient_as_bucket_view=True)
        pairs = clips(self.step)
        self.batches = batches(pairs, recipe, self.items, self.step, team.device)
        self.checks = examples(recipe, team.device) if team.first else []
        self.progress = Progress(folder, self.step) if team.first else None
        if team.first:
            log.info("%s at step %d of %s, on %s", recipe.name, self.step, self.length, team.hardware())

    @property
    def spent(self) -> float:
        """Seconds spent on this training, all slices together."""
        return self.before + time.monotonic() - self.started

    @property
    def length(self) -> str:
        """The whole schedule, in words."""
        fit = self.recipe.fit
        return f"{fit.steps}" if fit.steps else f"{fit.minutes:g} minutes"

    def done(self, spent: float) -> float:
        """The fraction of the schedule that is over."""
        fit = self.recipe.fit
        return self.step / fit.steps if fit.steps else spent / (60 * fit.minutes)

    def run(self, *, minutes: float | None = None, steps: int | None = None) -> bool:
        """Trains to the end of the schedule, or of this slice, and leaves state and weights.

        minutes, steps: length of the slice, the time for setting up included. Ctrl-C and SIGTERM end
        a slice early, after the step they come in.

        Returns whether the schedule is over.
        """
        stop_at = None if steps is None else self.step + steps
        deadline = None if minutes is None else self.started + 60 * minutes - CLOSING_SECONDS
        meter = Meter()
        saved = time.monotonic()
        with interruptible() as interrupted:
            while True:
                now = time.monotonic()
                late = deadline is not None and now >= deadline
                # Whatever depends on a clock is decided together, or processes would wait for each other.
                spent, stop, age, unsaved = self.team.largest(
                    self.spent, float(interrupted() or late), meter.age, now - saved
                )
                over = self.done(spent) >= 1
                if over or stop or self.step == stop_at:
                    break
                if meter.count and age >= REPORT_SECONDS:
                    self.report(meter)
                    meter = Meter()
                if unsaved >= 60 * self.recipe.save_minutes:
                    self.save()
                    saved = time.monotonic()
                meter.add(self.one_step(spent))
                if self.step % self.recipe.validation.every == 0 and self.done(spent) < 1:
                    self.check()
        if meter.count:
            self.report(meter)
        if over and self.latest.get("step") != self.step:
            self.check()
        self.save()
        if self.progress:
            self.progress.close()
        return over

    def one_step(self, spent: float) -> dict[str, float]:
        """One step of the optimiser; returns its loss, PSNR and so on, of this process's clips."""
        fit = self.recipe.fit
        rate = learning_rate(fit, step=self.step, done=self.done(spent))
        rounds = len(self.items) // fit.at_once
        losses, inputs = [], []
        for number in range(rounds):
            batch = next(self.batches)
            with self.apart(number < rounds - 1):
                loss = self.loss(batch)
                self.fitter.backward(loss / rounds)
            losses.append(loss.detach())
            context, clips = self.recipe.data.context, len(batch.cuts) or 1
            shown = batch.degraded.unflatten(0, (clips, -1))
            inputs.append(self.measure(shown[:, context : shown.shape[1] - context].flatten(0, 1), batch.clean))
        norm = self.fitter.step(step=self.step, rate=rate)
        self.step += 1
        loss_mean, input_mean = float(torch.stack(losses).mean()), float(torch.stack(inputs).mean())
        gain = 2 * (input_mean - loss_mean)
        return {"loss": loss_mean, "psnr": -2 * loss_mean, "gain": gain, "rate": rate, "norm": norm}

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with the network computing in the recipe's precision."""
        with autocast(self.team.device, self.recipe.fit.precision):
            restored = self.forward(batch.degraded, batch.noise, cuts=batch.cuts, context=self.recipe.data.context)
        return self.measure(restored, batch.clean)

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The recipe's loss."""
        fit = self.recipe.fit
        frames = self.recipe.data.frames
        return psnr_loss(output, target, floor=fit.floor, frames=frames, ends=fit.ends, lattice=fit.lattice)

    def apart(self, separate: bool) -> AbstractContextManager[None]:
        """While the gradient is still being added up, processes need not share it."""
        if separate and isinstance(self.forward, DistributedDataParallel):
            context: AbstractContextManager[None] = self.forward.no_sync()  # type: ignore[no-untyped-call]
            return context
        return nullcontext()

    def report(self, meter: "Meter") -> None:
        """Tells where the training stands."""
        numbers = meter.means()
        numbers["loss"], numbers["psnr"], numbers["gain"] = self.team.mean(
            numbers["loss"], numbers["psnr"], numbers["gain"]
        )
        if self.progress:
            fit = self.recipe.fit
            per_step = numbers["seconds"] * (fit.steps - self.step)
            left = per_step if fit.steps else 60 * fit.minutes - self.spent
            self.progress.training(step=self.step, left=max(0.0, left), spent=self.spent, **numbers)

    def check(self) -> None:
        """Validates the averaged weights, while the other processes wait."""
        if self.progress:
            fit = self.recipe.fit
            outcome = validate(
                self.fitter.averaged, self.checks, device=self.team.device, precision=fit.precision, hold=fit.hold
            )
            self.progress.validation(self.step, outcome)
            self.latest = {"step": self.step, "before": outcome.before, "after": outcome.after, "worst": outcome.worst}
        self.team.wait()

    def save(self) -> None:
        """Writes the state and the averaged weights."""
        if self.team.first:
            facts = {
                "step": self.step,
                "spent": self.spent,
                "hardware": sorted(self.hardware),
                "validation": self.latest,
                "fitter": self.fitter.facts(),
                "recipe": dataclasses.asdict(self.recipe),
            }
            write_state(self.folder, self.fitter.tensors(compact=self.recipe.state == "compact"), facts)
            self.export()
        self.team.wait()

    def export(self) -> None:
        """Writes the averaged weights, with what is to be known of them."""
        recipe = self.recipe
        details = {
            "steps": str(self.step),
            "training_minutes": f"{self.spent / 60:.1f}",
            "hardware": "; ".join(sorted(self.hardware)),
        }
        if self.latest:
            before, after = self.latest["before"], self.latest["after"]
            details["validation"] = f"{before:.2f} dB before, {after:.2f} dB after, at step {self.latest['step']:.0f}"
        write(
            self.folder / f"{recipe.name}.safetensors",
            self.fitter.averaged,
            name=recipe.name,
            training_data=recipe.training_data,
            licence=recipe.licence,
            half=recipe.half,
            details=details,
        )


class Meter:
    """Means of numbers over steps."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, numbers: dict[str, float]) -> None:
        """Takes in one step's numbers."""
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    @property
    def age(self) -> float:
        """Seconds since the first step taken in began."""
        return time.monotonic() - self.started

    def means(self) -> dict[str, float]:
        """The means, and the seconds that a step took."""
        return {name: value / self.count for name, value in self.sums.items()} | {"seconds": self.age / self.count}


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Notes Ctrl-C and SIGTERM instead of obeying at once; gives a function that tells whether one came."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    earlier = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
