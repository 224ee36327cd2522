"""The processes of one training: who they are, what they compute on, and what they agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from vsgshift.doctor.libraries import processor

from .recipe import TrainingError


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that `torchrun` started; alone without it."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The items of each batch that fall to this process.

        Raises:
            TrainingError: they cannot be shared out evenly.
        """
        if batch % self.count:
            raise TrainingError(f"fit.batch = {batch} cannot be shared out among {self.count} processes")
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes, so that all decide alike."""
        if self.count == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together, distributed.ReduceOp.MAX)
        return together.tolist()

    def mean(self, *values: float) -> list[float]:
        """The mean of each value over all processes."""
        if self.count == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together)
        return (together / self.count).tolist()

    def wait(self) -> None:
        """Returns when all processes have got here."""
        if self.count > 1:
            distributed.barrier()

    def hardware(self) -> str:
        """What computes, in words."""
        if self.device.type == "cuda":
            return f"{self.count} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.count} CPU process{'es' if self.count > 1 else ''} ({processor()})"


@contextmanager
def processes(device: str | None = None) -> Iterator[Processes]:
    """Joins the processes that `torchrun` started, and leaves them in the end.

    device: "cpu" or "cuda"; by default GPUs where there are any. Each process takes one GPU, or one
    CPU thread: on a CPU, several single-threaded processes are faster than one with several threads.

    Raises:
        TrainingError: there is no such device, or fewer of them than processes on this machine.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local = int(os.environ.get("LOCAL_RANK", 0))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda"):
        raise TrainingError(f"unknown device {kind!r}; there are: cpu, cuda")
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise TrainingError(f"no GPU for process {local} of this machine: it has {torch.cuda.device_count()}")
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    else:
        chosen = torch.device("cpu")
        torch.set_flush_denormal(True)
        if count > 1:
            torch.set_num_threads(1)
    if count > 1:
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Processes(rank=rank, count=count, device=chosen)
    finally:
        if count > 1:
            distributed.destroy_process_group()
