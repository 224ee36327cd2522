"""The parts of a film made by the nodes of a Ray cluster, which see the same folder.

Ray starts the work and tells of its end; the frames never pass through it. The driver alone plans, decides who makes
what, and joins.
"""

import errno
import os
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RaySystemError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vsgshift.errors import VideoError, VsgshiftError
from vsgshift.video.restore.job import NodeError, work
from vsgshift.video.restore.parts import FEWEST_FRAMES
from vsgshift.video.restore.plan import Job, Plan
from vsgshift.video.restore.sharing import FEWEST_PARTS, next_stretch

PATIENCE = 2.0
"""Seconds until nodes are looked for again that have come or gone, and for the end of what is called off."""


class Cluster:
    """The nodes of a cluster, at an address as Ray takes it; after `close` nothing runs there any more for us. Raises
    VideoError if there is none."""

    def __init__(self, address: str, plan: Plan, folder: Path) -> None:
        self.job, self.frames = plan.job, plan.frames
        self.running: dict[Any, tuple[str, list[int]]] = {}
        self.unfit: dict[str, BaseException] = {}
        self.failed: dict[int, str] = {}
        # For a cluster that is started here: it tells no one of itself, and works as willingly as a plain run.
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"} | os.environ
        ended = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # of many kinds, a bare one among them
            raise VideoError(f"no Ray cluster answers at {address}: {str(error).partition('\n')[0]}") from error
        signal.signal(signal.SIGTERM, ended)
        self.given = ray.put(replace(plan, job=replace(plan.job, remark=Job.remark))), folder

    def close(self) -> None:
        """Call off what still runs: as by Ctrl-C, so that it ends what it has started, then by force."""
        if ends := [generator.completed() for generator in self.running]:
            for force in (False, True):
                for generator in self.running:
                    ray.cancel(generator, force=force)
                ray.wait(ends, num_returns=len(ends), timeout=PATIENCE)
        ray.shutdown()

    def measured(self) -> int:
        """Frames in a part, as measured by a node, which writes down what it is."""
        while True:
            slots = self._slots()
            most = max(self.frames // (len(slots) * FEWEST_PARTS), FEWEST_FRAMES)
            if size := self._next(self._start(slots[0], most, [])):
                return size

    def make(self, size: int, missing: Collection[int]) -> Iterator[int]:
        """Have parts made; gives the number of each that is there. Raises VsgshiftError for a fault of the film."""
        left = set(missing)
        while left:
            slots = self._slots()
            busy = Counter(node for node, _ in self.running.values())
            for slot in slots:
                if busy[slot[0]]:
                    busy[slot[0]] -= 1
                elif share := next_stretch(left, [own for _, own in self.running.values()], len(slots)):
                    self._start(slot, size, share)
            for generator in ray.wait(list(self.running), timeout=PATIENCE)[0]:
                own = self.running[generator][1]
                if (made := self._next(generator)) is not None:
                    own[:] = [number for number in own if number != made]
                    if note := self.failed.pop(made, None):
                        self.job.remark(note)
                    if made in left:
                        left.discard(made)
                        yield made

    def _slots(self) -> list[tuple[str, dict[str, float]]]:
        """A node and what is taken of it, for each process that can run: one on a card if there are any, else one on a
        node. Raises VsgshiftError if no node is fit."""
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        fit = {node: has for node, has in alive.items() if node not in self.unfit and has.get("CPU", 0) >= 1}
        if not fit:
            raise next(reversed(self.unfit.values()), VideoError("the cluster has no node with a core for us"))
        on_cpu = all((call.options.get("device_id") or 0) < 0 for call in self.job.filters)
        cards = {node: int(has.get("GPU", 0)) for node, has in fit.items() if not on_cpu and has.get("GPU", 0) >= 1}
        slots = []
        for node in cards or fit:
            cores, count = fit[node]["CPU"], cards.get(node, 1)
            # Ray knows parts of one core, and whole ones.
            slots += [(node, {"num_gpus": int(node in cards), "num_cpus": cores // count or cores / count})] * count
        return slots

    def _start(self, slot: tuple[str, dict[str, float]], size: int, numbers: Sequence[int]) -> Any:
        on = NodeAffinitySchedulingStrategy(slot[0], soft=False)
        task = ray.remote(work).options(max_retries=0, num_returns="streaming", scheduling_strategy=on, **slot[1])
        generator = task.remote(*self.given, size, numbers)
        self.running[generator] = slot[0], list(numbers)
        return generator

    def _next(self, generator: Any) -> int | None:
        """What a node gives next; None if it ends. Raises VsgshiftError for a fault of the film: what fails twice."""
        node, own = self.running[generator]
        try:
            return int(ray.get(next(generator)))
        except StopIteration:
            del self.running[generator]
        except RayError as error:
            del self.running[generator]
            name = next((each["NodeManagerHostname"] for each in ray.nodes() if each["NodeID"] == node), "a node")
            if not isinstance(error, RayTaskError | RaySystemError):
                self.job.remark(f"{name} has lost a worker, or is gone; others make what it had to make")
                return None
            cause = getattr(error, "cause", error)
            self.unfit[node] = cause = getattr(cause, "client_exc", cause)
            note, part = f"{name} is left out: {cause}", own[0] if own else -1
            if isinstance(cause, NodeError | ImportError) or os.strerror(errno.ENOSPC) in str(cause):
                self.job.remark(note)
            elif self.failed.setdefault(part, note) is not note:
                raise cause if isinstance(cause, VsgshiftError | OSError) else VideoError(str(cause)) from error
        return None
