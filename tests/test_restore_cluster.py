"""A film made by a Ray cluster, whose nodes are killed, cut off, slow or full, is that of one run.

Each test tells what happens and when, and the hash of both files: `pytest -rP` shows it, docs/many-machines.md has it.
"""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
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

OPTIONS = ["--sigma", "8", "--device", "cpu", "--part", "4"]
HEAD, CUT_OFF = "10.77.0.1", "10.77.0.2"
"""Addresses on a network of our own, which can be cut."""


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
    filters = (FilterCall(task="denoise", options={"sigma": 8.0, "device_id": -1, "scenechange": 2}),)
    return Job(source=source, output=output, **{"filters": filters, "part": 4, **more})


class Transcript:
    """What has been told, on the way and at the end."""

    def __init__(self) -> None:
        self.began, self.notes = time.monotonic(), list[str]()

    def __call__(self, text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self.began:4.0f} s  {text.replace(platform.node(), 'node')}\n")

    def note(self, text: str) -> None:
        """A remark to the user."""
        self.notes.append(text)
        self(f"vsgshift: note: {text}")

    def same(self, output: Path, source: Path) -> None:
        """The output must be the file of a plain run, and nothing else be left."""
        made, whole = (
            hashlib.sha256(file.read_bytes()).hexdigest() for file in (output, source.with_name("whole.mkv"))
        )
        self(f"sha256 {made}, of one run's file {whole}")
        assert made == whole
        assert not list(output.parent.glob("*.parts"))


@pytest.fixture
def told() -> Transcript:
    return Transcript()


@contextmanager
def cluster_of(*nodes: dict[str, Any], **head: Any) -> Iterator[Any]:
    """A cluster of a head without cores, and of nodes with one each, which take arguments of Ray's."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_raylet_start_wait_time_s", "300")
        patched.setenv("RAY_worker_niceness", "0")
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # How soon a node that does not answer counts as gone.
        checks = {"initial_delay_ms": 0, "period_ms": 2000, "timeout_ms": 2000, "failure_threshold": 3}
        quick = {f"health_check_{name}": value for name, value in checks.items()}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quick, **head})
        try:
            cluster.nodes = [cluster.add_node(num_cpus=1, wait=False, **each) for each in nodes]
            cluster.wait_for_nodes(timeout=300)
            yield cluster
        finally:
            cluster.shutdown()


@contextmanager
def node_of(cluster: Any, *before: str, **options: Any) -> Iterator[Callable[[], None]]:
    """What starts one more node with a core, by a command that words may come ``before``; at the end it is gone."""
    command = [*before, sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--block"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in {"num_cpus": 1, **options}.items()]
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield lambda: started.append(subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL))
    finally:
        for each in started:
            os.killpg(each.pid, signal.SIGTERM)
            each.wait()


@contextmanager
def meanwhile(output: Path, told: Transcript, do: Callable[[], object], finished: str = "?????.mkv") -> Iterator[None]:
    """Do something as soon as a part is there and another one is being made, which must come to be; tell which parts
    were begun twice."""
    folder = output.with_name(f"{output.name}.parts")
    over, done, begun = threading.Event(), threading.Event(), defaultdict[str, set[str]](set)

    def look() -> None:
        while not over.wait(0.02):
            for file in folder.glob("?????.mkv.*.partial"):
                begun[file.name[:5]].add(re.sub(r"-\w+\.partial$", "", file.name))
            if not done.is_set() and begun and any(folder.glob(finished)):
                do()
                done.set()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set()
    told(f"done; parts that were begun twice: {', '.join(sorted(n for n in begun if len(begun[n]) > 1)) or 'none'}")


def processes(*words: str) -> list[int]:
    """Numbers of the running processes whose command line has all the words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = file.read_bytes().decode(errors="replace")
            if all(word in line for word in words):
                found.append(int(file.parent.name))
    return found


def gone(*words: str) -> None:
    """Wait for the end of the processes whose command line has all the words."""
    for _ in range(600):
        if not (still := processes(*words)):
            return
        time.sleep(0.1)
    raise AssertionError(still)


def instead_of_ffmpeg(folder: Path, line: str) -> dict[str, Any]:
    """Arguments for a node whose ffmpeg does something else when it is to encode a part: a line of bash, in which $part
    is the part's file and $ffmpeg the real one."""
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(
        f"#!/bin/bash\nffmpeg='{FFMPEG}'; part=${{@: -1}}\n"
        f'case "$part" in *.parts/*) {line};; esac\nexec "$ffmpeg" "$@"\n'
    )
    program.chmod(0o755)
    return {"env_vars": {"PATH": f"{folder}:{os.environ['PATH']}"}}


pytestmark = NEEDS_PROGRAMS


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_worker_and_then_a_node_are_killed(source: Path, tmp_path: Path, told: Transcript) -> None:
    output = tmp_path / "out.mkv"
    with cluster_of({}, {}, {}) as cluster:

        def kill() -> None:
            os.kill(processes("ray::work")[0], signal.SIGKILL)
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)
            told("a worker is killed, and a node with all its processes")

        told("three nodes begin")
        with meanwhile(output, told, kill):
            result = restore(job_of(source, output, cluster=cluster.address, remark=told.note))
    assert result.made == 48
    assert told.notes
    told.same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_the_driver_is_killed_and_resumed_and_stopped_by_ctrl_c(source: Path, tmp_path: Path, told: Transcript) -> None:
    output = tmp_path / "out.mkv"
    with cluster_of({}, {}) as cluster:
        command = [sys.executable, "-m", "vsgshift", "restore", str(source), str(output), *OPTIONS]
        command += ["--resume", "--cluster", cluster.address]
        for number in (signal.SIGKILL, signal.SIGINT):
            told("the driver begins, with two nodes")
            driver = subprocess.Popen(
                command, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
            )

            def stop(own: subprocess.Popen[bytes] = driver, by: signal.Signals = number) -> None:
                own.send_signal(by)
                told(f"it gets {by.name}")

            with meanwhile(output, told, stop):
                _, said = driver.communicate()
                told(f"it ends with status {driver.returncode}: {said.decode().strip() or 'not a word'}")
                assert driver.returncode in (-signal.SIGKILL, 130)
            gone("ray::work")
            gone(sys.prefix, "vspipe", "y4m")
            told("nothing of it runs any more on the nodes")
            # So that there is something to be in the middle of once more.
            for file in list((tmp_path / "out.mkv.parts").glob("*.partial")):
                file.unlink()
        result = restore(job_of(source, output, cluster=cluster.address, resume=True, remark=told.note))
        told(f"resumed: {result.made} of {result.frames} frames were still to be made")
    assert 0 < result.made < 48
    told.same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_nodes_with_a_full_disk_and_without_the_package_are_left_out(
    source: Path, tmp_path: Path, told: Transcript
) -> None:
    output, bare = tmp_path / "out.mkv", tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text("import sys\nsys.modules['vsgshift'] = None\n")
    # The kernel refuses what is written there, as on a full disk.
    full = instead_of_ffmpeg(tmp_path / "full", 'exec "$ffmpeg" "${@:1:$#-1}" /dev/full')
    with cluster_of(full, {"env_vars": {"PYTHONPATH": str(bare)}}, {}) as cluster:
        told("a node with a full disk, one without vsgshift and a sound one begin")
        restore(job_of(source, output, cluster=cluster.address, remark=told.note))
    assert sorted(told.notes) == [
        f"{platform.node()} is left out: No module named 'vsgshift.video'; 'vsgshift' is not a package",
        f"{platform.node()} is left out: ffmpeg: Error closing file: No space left on device",
    ]
    told.same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_slow_node_is_not_waited_for_and_one_that_comes_later_is_taken_in(
    source: Path, tmp_path: Path, told: Transcript
) -> None:
    output = tmp_path / "out.mkv"
    slow = instead_of_ffmpeg(tmp_path / "slow", "exec sleep 100000")
    with cluster_of(slow) as cluster, node_of(cluster) as start:

        def add() -> None:
            start()
            told("it has begun a part, and another node comes")

        told("a node begins that is so slow that it will not end its first part")
        with meanwhile(output, told, add, finished="*"):
            restore(job_of(source, output, cluster=cluster.address, remark=told.note))
    assert told.notes == []
    gone("sleep", "100000")
    told("nothing of it runs any more on the nodes")
    told.same(output, source)


@pytest.fixture
def network() -> Iterator[str]:
    """The name of a network namespace, at the other end of a line to the head."""
    name = "vsgshift"
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("only root may make networks")
    lines = [
        f"netns add {name}",
        f"link add {name} type veth peer name eth0 netns {name}",
        f"addr add {HEAD}/24 dev {name}",
        f"link set {name} up",
        f"-n {name} addr add {CUT_OFF}/24 dev eth0",
        f"-n {name} link set eth0 up",
        f"-n {name} link set lo up",
    ]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_the_network_is_cut_for_a_while(source: Path, tmp_path: Path, told: Transcript, network: str) -> None:
    output = tmp_path / "out.mkv"
    # Slow, so that it is cut off with most of its parts before it.
    slow = [f"{name}={value}" for name, value in instead_of_ffmpeg(tmp_path / "slow", "sleep 5")["env_vars"].items()]
    before = ["ip", "netns", "exec", network, "env", *slow]
    with (
        cluster_of({"node_ip_address": HEAD}, node_ip_address=HEAD) as cluster,
        node_of(cluster, *before, node_ip_address=CUT_OFF) as start,
    ):

        def line(state: str, words: str) -> None:
            subprocess.run(["ip", "link", "set", network, state], check=True)
            told(words)

        again = threading.Timer(20, line, ["up", "the line is there again"])

        def cut() -> None:
            line("down", "the line to one of them is cut; the folder is still there for it")
            again.start()

        start()
        while sum(node["Alive"] for node in cluster.global_state.node_table()) < 3:
            time.sleep(0.5)
        told("two nodes begin")
        try:
            with meanwhile(output, told, cut):
                restore(job_of(source, output, cluster=cluster.address, remark=told.note))
        finally:
            again.join()
    told.same(output, source)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_fault_of_the_film_is_told_once_and_ends_the_run(source: Path, tmp_path: Path, told: Transcript) -> None:
    broken = instead_of_ffmpeg(tmp_path / "broken", '[[ $part = *00002* ]] && { echo "no such frame" >&2; exit 1; }')
    with (
        cluster_of(broken, broken) as cluster,
        pytest.raises(VideoError, match=r"^ffmpeg: no such frame; what is finished is kept: --resume goes on$"),
    ):
        restore(job_of(source, tmp_path / "out.mkv", cluster=cluster.address, remark=told.note))
    assert told.notes == []


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_where_nodes_have_cards_there_is_a_process_for_each(source: Path, tmp_path: Path, told: Transcript) -> None:
    # Cards that are not there: Ray gives them out all the same.
    node = instead_of_ffmpeg(tmp_path / "node", f'echo "$CUDA_VISIBLE_DEVICES" >> {tmp_path}/cards')
    with cluster_of({}, {**node, "num_gpus": 2}) as cluster:
        filters = (FilterCall(task="denoise", options={"sigma": 8.0, "scenechange": 2}),)
        output = tmp_path / "out.mkv"
        restore(job_of(source, output, cluster=cluster.address, remark=told.note, filters=filters))
    assert set((tmp_path / "cards").read_text().split()) == {"0", "1"}
