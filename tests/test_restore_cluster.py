"""A film made by a Ray cluster, whose nodes are killed, cut off, slow or full, is that of one run."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from films import FFMPEG, NEEDS_PROGRAMS, film

from vsgshift.errors import VideoError
from vsgshift.video.restore.job import Job, restore
from vsgshift.video.restore.sharing import next_stretch
from vsgshift.video.script import FilterCall

CHECKS = {"initial_delay_ms": 0, "period_ms": 2000, "failure_threshold": 3}
"""How soon a node that does not answer counts as gone."""
OPTIONS = ["--sigma", "8", "--device", "cpu", "--part", "4"]


def test_parts_are_given_away_in_few_stretches_and_the_last_ones_twice() -> None:
    running: list[list[int]] = []
    left = set(range(12))
    for expected in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]):
        running.append(next_stretch(left, running, 3))
        assert running[-1] == expected
    # One is done, and helps another; what it takes is no longer the other's.
    left -= set(running.pop(0))
    running.append(next_stretch(left, running, 3))
    assert running == [[4, 5], [8, 9, 10, 11], [6, 7]]
    running.append(next_stretch(left, running, 3))
    assert running == [[4, 5], [8, 9], [6, 7], [10, 11]]
    # One is gone: what it had is the first to be given away.
    running.pop(1)
    assert next_stretch(left, running, 3) == [8, 9]
    assert [next_stretch({7}, [[7]], 3), next_stretch({7}, [[7], [7]], 3), next_stretch(set(), [], 3)] == [[7], [], []]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of twelve parts, beside the one that a plain run makes of it."""
    file = tmp_path_factory.mktemp("films") / "film.mkv"
    film(file, "-vf", "noise=alls=20:allf=t", "-pix_fmt", "yuv420p", "-c:v", "ffv1", frames=48, size="48x32")
    restore(job_of(file, file.with_name("whole.mkv")))
    return file


def job_of(source: Path, output: Path, **more: Any) -> Job:
    denoise = FilterCall(task="denoise", options={"sigma": 8.0, "device_id": -1, "scenechange": 2})
    return Job(source=source, output=output, filters=(denoise,), part=4, **more)


@contextmanager
def cluster_of(*nodes: dict[str, Any]) -> Iterator[Any]:
    """A cluster of a head without cores, and of nodes with one each, which take arguments of Ray's."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_raylet_start_wait_time_s", "300")
        patched.setenv("RAY_worker_niceness", "0")
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        quick = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 2000,
            "health_check_failure_threshold": 3,
        }
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quick})
        try:
            cluster.nodes = [cluster.add_node(num_cpus=1, wait=False, **each) for each in nodes]
            cluster.wait_for_nodes(timeout=300)
            yield cluster
        finally:
            cluster.shutdown()


@contextmanager
def once(happens: Callable[[], bool], do: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as something is the case, meanwhile; it must come to be."""
    over, done = threading.Event(), threading.Event()

    def wait() -> None:
        while not over.is_set():
            if happens():
                do()
                done.set()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set()


def processes(*words: str) -> list[int]:
    """Numbers of the running processes whose command line has all the words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = file.read_bytes().decode(errors="replace")
            if all(word in line for word in words):
                found.append(int(file.parent.name))
    return found


def in_the_middle(output: Path) -> Callable[[], bool]:
    """Whether a part is there, and another one is being made."""
    folder = output.with_name(f"{output.name}.parts")
    return lambda: any(folder.glob("?????.mkv")) and any(folder.glob("?????.mkv.*.partial"))


def assert_same(output: Path, source: Path) -> None:
    assert output.read_bytes() == source.with_name("whole.mkv").read_bytes()
    assert not list(output.parent.glob("*.parts"))


pytestmark = NEEDS_PROGRAMS


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_worker_and_then_a_node_are_killed(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    with cluster_of({}, {}, {}) as cluster:

        def kill() -> None:
            os.kill(processes("ray::_work")[0], signal.SIGKILL)
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)

        with once(in_the_middle(output), kill):
            result = restore(job_of(source, output, cluster=cluster.address))
    assert result.made == 48
    assert_same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_the_driver_is_killed_and_resumed_and_stopped_by_ctrl_c(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    with cluster_of({}, {}) as cluster:
        command = [sys.executable, "-m", "vsgshift", "restore", str(source), str(output), *OPTIONS]
        command += ["--resume", "--cluster", cluster.address]
        for number in (signal.SIGKILL, signal.SIGINT):
            driver = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            with once(in_the_middle(output), lambda own=driver, by=number: own.send_signal(by)):  # type: ignore[misc]
                assert driver.wait() in (-signal.SIGKILL, 130)
            for _ in range(600):
                if not (still := processes(str(tmp_path), "vspipe") + processes("ray::_work")):
                    break
                time.sleep(0.1)
            assert not still
            # So that there is something to be in the middle of once more.
            for file in list((tmp_path / "out.mkv.parts").glob("*.partial")):
                file.unlink()
        result = restore(job_of(source, output, cluster=cluster.address, resume=True))
    assert 0 < result.made < 48
    assert_same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_node_whose_disk_is_full_is_left_out(source: Path, tmp_path: Path) -> None:
    full = tmp_path / "ffmpeg"
    # As an ffmpeg says it.
    full.write_text(
        f'#!/bin/sh\ncase "$*" in *.parts/*) echo "No space left on device" >&2; exit 1;; esac\nexec "{FFMPEG}" "$@"\n'
    )
    full.chmod(0o755)
    remarks: list[str] = []
    with cluster_of({"env_vars": {"PATH": f"{tmp_path}:{os.environ['PATH']}"}}, {}) as cluster:
        restore(job_of(source, tmp_path / "out.mkv", cluster=cluster.address, remark=remarks.append))
    assert remarks == ["a node is left out: ffmpeg: No space left on device"]
    assert_same(tmp_path / "out.mkv", source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_slow_node_is_not_waited_for_and_one_that_is_cut_off_for_a_while(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    never = tmp_path / "ffmpeg"
    never.write_text(f'#!/bin/sh\ncase "$*" in *.parts/*) sleep 100000;; esac\nexec "{FFMPEG}" "$@"\n')
    never.chmod(0o755)
    with cluster_of({"env_vars": {"PATH": f"{tmp_path}:{os.environ['PATH']}"}}, {}, {}) as cluster:
        raylet = cluster.nodes[1].all_processes["raylet"][0].process

        def cut() -> None:
            os.kill(raylet.pid, signal.SIGSTOP)
            threading.Timer(12, lambda: os.kill(raylet.pid, signal.SIGCONT)).start()

        with once(in_the_middle(output), cut):
            restore(job_of(source, output, cluster=cluster.address))
    assert_same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_fault_of_the_film_is_told_once_and_ends_the_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *.parts/00002*) echo "no such frame" >&2; exit 1;; esac\nexec "{FFMPEG}" "$@"\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        cluster_of({}) as cluster,
        pytest.raises(VideoError, match=r"^ffmpeg: no such frame; what is finished is kept: --resume goes on$"),
    ):
        restore(job_of(source, tmp_path / "out.mkv", cluster=cluster.address))
