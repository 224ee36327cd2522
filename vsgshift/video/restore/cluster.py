"""The parts of a film made by the nodes of a Ray cluster, which see the same folder.

Ray starts the work and tells of its end; the frames never pass through it. The driver alone plans, decides who makes
what, and joins.
"""

import errno
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RaySystemError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vsgshift.errors import VideoError, VsgshiftError
from vsgshift.video.programs import Programs
from vsgshift.video.restore.job import begun, make, measured_size, script_frames, try_encoder
from vsgshift.video.restore.machine import answer, examined
from vsgshift.video.restore.parts import FEWEST_FRAMES, Parts
from vsgshift.video.restore.plan import Job, Plan
from vsgshift.video.restore.sharing import FEWEST_PARTS, next_stretch

PATIENCE = 2.0
"""Seconds until nodes are looked for again that have come or gone, and for the end of what is called off."""


class NodeError(VideoError):
    """What keeps one node from making any frames of the film; others may be able to."""


class Cluster:
    """The nodes of a cluster; a context manager at whose end nothing runs there any more for us.

    Args:
        address: as Ray takes it; ``local`` for a cluster of this machine alone.
        plan: of the film.
        folder: of its parts.

    Raises:
        VideoError: there is none at that address.
    """

    def __init__(self, address: str, plan: Plan, folder: Path) -> None:
        self.job, self.frames, self.folder = plan.job, plan.frames, folder
        self.running: dict[Any, tuple[str, list[int]]] = {}
        self.unfit: dict[str, BaseException] = {}
        self.failed: Counter[int] = Counter()
        # For a cluster that is started here: it tells no one of itself, and works as willingly as a plain run.
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"} | os.environ
        ended = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise VideoError(f"no Ray cluster answers at {address}: {str(error).partition('\n')[0]}") from error
        signal.signal(signal.SIGTERM, ended)
        self.plan = ray.put(replace(plan, job=replace(plan.job, remark=Job.remark)))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for generator in self.running:
            # As by Ctrl-C, so that it ends what it has started.
            ray.cancel(generator, force=False)
        for generator in self.running:
            with suppress(StopIteration, RayError):
                while ray.wait([generator], timeout=PATIENCE)[0]:
                    ray.get(next(generator), timeout=PATIENCE)
            ray.cancel(generator, force=True)
        ray.shutdown()

    def begin(self, size: int | None) -> int:
        """Frames in a part: as given or written down, else as measured by a node, which writes down what it is."""
        while True:
            slots = self._slots()
            most = max(self.frames // (len(slots) * FEWEST_PARTS), FEWEST_FRAMES)
            try:
                return int(ray.get(self._on(slots[0], _begin).remote(self.plan, self.folder, size, most)))
            except RayError as error:
                self._judge(slots[0][0], error, [])

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
                    task = self._on(slot, _work, num_returns="streaming")
                    self.running[task.remote(self.plan, self.folder, size, share)] = (slot[0], list(share))
            for generator in ray.wait(list(self.running), timeout=PATIENCE)[0]:
                node, own = self.running[generator]
                try:
                    made = ray.get(next(generator))
                except (StopIteration, RayError) as error:
                    # What it had left goes to others, without end if nodes die.
                    del self.running[generator]
                    if isinstance(error, RayError):
                        self._judge(node, error, own)
                    continue
                own[:] = [number for number in own if number != made]
                if made in left:
                    left.discard(made)
                    yield made

    def _slots(self) -> list[tuple[str, dict[str, float]]]:
        """A node and what is taken of it, for each process that can run: one on a card, else one on a node.

        Raises:
            VsgshiftError: no node is fit.
        """
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        fit = {node: has for node, has in alive.items() if node not in self.unfit and has.get("CPU", 0) >= 1}
        if not fit:
            raise next(iter(self.unfit.values()), VideoError("the cluster has no node with a core for us"))
        cards = {node: int(has.get("GPU", 0)) for node, has in fit.items()}
        if not any(cards.values()) or all((call.options.get("device_id") or 0) < 0 for call in self.job.filters):
            return [(node, {"num_cpus": has["CPU"]}) for node, has in fit.items()]
        return [
            (node, {"num_gpus": 1, "num_cpus": max(fit[node]["CPU"] // count, 1)})
            for node, count in cards.items()
            for _ in range(count)
        ]

    def _on(self, slot: tuple[str, dict[str, float]], function: Callable[..., Any], **options: Any) -> Any:
        strategy = NodeAffinitySchedulingStrategy(slot[0], soft=False)
        return ray.remote(function).options(max_retries=0, scheduling_strategy=strategy, **slot[1], **options)

    def _judge(self, node: str, error: RayError, own: Sequence[int]) -> None:
        """Leave out a node for a fault of its own; raise one of the film, which is a part's that has failed twice."""
        if not isinstance(error, RayTaskError | RaySystemError):
            return  # it has died
        cause = getattr(error, "cause", error)
        if isinstance(cause, NodeError) or os.strerror(errno.ENOSPC) in str(cause):
            self.unfit[node] = cause
            self.job.remark(f"a node is left out: {cause}")
            return
        self.failed.update(own[:1])
        if self.failed[own[0] if own else -1] != 1:
            raise cause if isinstance(cause, VsgshiftError | OSError) else VideoError(f"a node failed: {cause}")


def _begin(plan: Plan, folder: Path, size: int | None, most: int) -> int:
    """On a node: what `Cluster.begin` says."""
    return _here(plan, folder, size, most)[1].size


def _work(plan: Plan, folder: Path, size: int, numbers: Sequence[int]) -> Iterator[int]:
    """On a node: make parts that follow each other, and give the number of each that is there."""
    plan, parts = _here(plan, folder, size, size)
    with script_frames(plan, numbers[0] * parts.size) as frames:
        yield from make(plan, parts, numbers, frames, lambda: None)


def _here(plan: Plan, folder: Path, size: int | None, most: int) -> tuple[Plan, Parts]:
    """The plan for this node, and the parts. Raises NodeError if it makes other frames, or none."""
    try:
        with examined(plan.job.filters) as examination, tempfile.TemporaryDirectory() as private:
            plan = replace(plan, programs=Programs.find(), machine=answer(examination))
            sample = Path(private, "sample")
            try_encoder(plan, sample)
            return plan, begun(plan, folder, size or measured_size(plan, 0, most), sample)
    except (VsgshiftError, OSError) as error:
        raise NodeError(f"{os.uname().nodename}: {error}") from None
