"""One film by several machines: `--stretch` and `--join`, and the texts for schedulers in the documentation."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from films import NEEDS_PROGRAMS, film

from vsgshift.cli import main
from vsgshift.errors import ProgramError, VideoError
from vsgshift.files import HOST, atomic_write
from vsgshift.processes import feed
from vsgshift.video.restore import job as job_module
from vsgshift.video.restore import plan as plan_module
from vsgshift.video.restore.job import Job, restore
from vsgshift.video.restore.machine import Machine, answer, encoder, examined
from vsgshift.video.restore.parts import PART_SIZE, Parts, begin, kept_size, working_folder

pytestmark = NEEDS_PROGRAMS
PAGE = Path(__file__).parents[1] / "docs" / "many-machines.md"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of seven parts, restored in one run, beside its source."""
    folder = tmp_path_factory.mktemp("films")
    sound = ["-f", "lavfi", "-i", "sine=duration=0.8"]
    source = film(folder / "film.mkv", "-vf", "noise=alls=20:allf=t", frames=20, inputs=sound)
    restore(Job(source=source, output=folder / "whole.mkv", filters=(), part=3))
    return folder / "whole.mkv"


def job_of(whole: Path, folder: Path, **more: Any) -> Job:
    return Job(source=whole.with_name("film.mkv"), output=folder / "out.mkv", filters=(), **{"part": 3, **more})


@pytest.mark.usefixtures("probed_here")
def test_stretches_make_the_file_of_one_run(whole: Path, tmp_path: Path) -> None:
    made = [restore(job_of(whole, tmp_path, stretch=(number, 3))).made for number in (3, 1, 2)]
    assert made == [3 + 3 + 2, 6, 6]
    assert not (tmp_path / "out.mkv").exists()
    assert restore(job_of(whole, tmp_path, stretch=(2, 3))).made == 0
    joined = restore(job_of(whole, tmp_path, join=True))
    assert (joined.frames, joined.made) == (20, 0)
    assert (tmp_path / "out.mkv").read_bytes() == whole.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mkv"]


def test_there_may_be_more_stretches_than_parts(whole: Path, tmp_path: Path) -> None:
    parts = Parts(tmp_path, 20, 3)
    for count in (1, 2, 7, 9, 100):
        stretches = [parts.stretch(number + 1, count) for number in range(count)]
        assert [number for stretch in stretches for number in stretch] == list(range(7))
    assert restore(job_of(whole, tmp_path, stretch=(1, 100))).made == 0
    # Nothing is left where nothing was made.
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("probed_here")
def test_a_join_says_what_is_missing(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no part of it has been made; make them with --stretch first"):
        restore(job_of(whole, tmp_path, join=True))
    restore(job_of(whole, tmp_path, stretch=(1, 2)))
    with pytest.raises(VideoError, match="4 of 7 parts are missing, the first of them from frame 9 on; run the same"):
        restore(job_of(whole, tmp_path, join=True))
    restore(job_of(whole, tmp_path, stretch=(2, 2)))
    broken = tmp_path / "out.mkv.parts" / "00002.mkv"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(VideoError, match="1 of 7 parts are missing, the first of them from frame 6 on"):
        restore(job_of(whole, tmp_path, join=True))
    # Any run can take over.
    assert restore(job_of(whole, tmp_path, resume=True)).made == 3
    assert (tmp_path / "out.mkv").read_bytes() == whole.read_bytes()


def test_attempts_at_one_stretch_at_the_same_time_do_no_harm(whole: Path, tmp_path: Path) -> None:
    attempts = [
        threading.Thread(target=restore, args=[job_of(whole, tmp_path, stretch=(number, 2), part=None)])
        for number in (1, 1, 2)
    ]
    for attempt in attempts:
        attempt.start()
    for attempt in attempts:
        attempt.join()
    assert kept_size(tmp_path / "out.mkv.parts") is not None
    restore(job_of(whole, tmp_path, join=True, part=None))
    one = replace(job_of(whole, tmp_path, part=None), output=tmp_path / "one.mkv")
    # So short a film is one part, whatever was measured.
    restore(one)
    assert (tmp_path / "out.mkv").read_bytes() == (tmp_path / "one.mkv").read_bytes()


def test_a_run_for_the_whole_and_one_for_a_stretch_keep_out_of_each_other_s_way(whole: Path, tmp_path: Path) -> None:
    for shared in (True, False):
        with working_folder(tmp_path / "out.mkv", shared=shared):
            with pytest.raises(VideoError, match="another run is writing"):
                restore(job_of(whole, tmp_path, join=True))
            if not shared:
                with pytest.raises(VideoError, match="another run is writing"):
                    restore(job_of(whole, tmp_path, stretch=(1, 2)))


def test_no_one_tidies_away_what_another_writes(whole: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with working_folder(tmp_path / "out.mkv", shared=True) as folder:
        (folder / "00000.mkv").touch()
        with atomic_write(folder / "00001.mkv") as own:
            assert own.name.startswith(f"00001.mkv.{HOST}-{os.getpid()}-")
            elsewhere = own.with_name(own.name.replace(HOST, f"{HOST}2"))
            dead = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
            # No process has a number that large, whoever may have written it down.
            impossible = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{10**30}-"))
            for file in (elsewhere, dead, impossible):
                file.touch()
            with working_folder(tmp_path / "out.mkv", shared=True):
                pass
            left = set(folder.glob("*.partial"))
    assert left == {own, elsewhere}


CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
"""Processes with numbers of their own, on a machine of the same name."""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_containers_of_one_name_leave_each_others_files_alone(tmp_path: Path) -> None:
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system gives no process numbers of one's own")
    folder = tmp_path / "out.mkv.parts"
    writing = (
        "import sys; from pathlib import Path; from vsgshift.files import atomic_write\n"
        f"with atomic_write(Path({str(folder / '00001.mkv')!r})) as partial:\n"
        "    print(partial, flush=True); sys.stdin.read()"
    )
    tidying = (
        "from pathlib import Path; from vsgshift.video.restore.parts import working_folder\n"
        f"with working_folder(Path({str(tmp_path / 'out.mkv')!r}), shared=True): pass"
    )
    with working_folder(tmp_path / "out.mkv", shared=True):
        (folder / "00000.mkv").touch()
        # The writer's number, 2, is that of no process in the other container.
        with subprocess.Popen(
            [*CONTAINER, "sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", writing],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            partial = Path(writer.stdout.readline().strip())
            assert re.search(r"-2-[0-9a-f]+\.partial$", partial.name)
            subprocess.run([*CONTAINER, sys.executable, "-c", tidying], check=True)
            assert partial.exists()
            writer.stdin.close()
        assert writer.returncode == 0
        assert (folder / "00001.mkv").exists()


def test_a_program_that_does_not_read_is_ended_all_the_same() -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(2**16)  # as much as a pipe takes
        yield bytes(1000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feed(["sleep", "1000"], chunks())


def test_a_long_name_leaves_room_for_who_writes_it(tmp_path: Path) -> None:
    with atomic_write(tmp_path / f"{'ü' * 120}.mkv") as partial:
        partial.write_bytes(b"film")
    assert (tmp_path / f"{'ü' * 120}.mkv").read_bytes() == b"film"


def test_whoever_comes_first_decides_how_long_a_part_is(tmp_path: Path) -> None:
    state = {PART_SIZE: 30, "machine": {}}
    assert begin(tmp_path, state, measured=True) == 30
    assert begin(tmp_path, {**state, PART_SIZE: 40}, measured=True) == 30
    with pytest.raises(VideoError, match="frames of a part was 30, now it is 40"):
        begin(tmp_path, {**state, PART_SIZE: 40})
    # Of two that write at the same time as well.
    with atomic_write(tmp_path / "job.json", first=True) as partial:
        partial.write_text("second")
    assert begin(tmp_path, state) == 30


@pytest.mark.usefixtures("probed_here")
def test_a_machine_of_another_kind_is_refused(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(job_of(whole, tmp_path, stretch=(1, 2)))

    def with_more_cores(ffmpeg: str, sample: Path) -> dict[str, str]:
        told = encoder(ffmpeg, sample)
        return told | {"the encoder": re.sub(r"\bthreads=\d+", "threads=96", told["the encoder"])}

    monkeypatch.setattr(plan_module, "encoder", with_more_cores)
    words = r"would make other frames: the encoder was threads=\d+, here it is threads=96; take one of the same kind"
    for options in ({"stretch": (2, 2)}, {"resume": True}):
        with pytest.raises(VideoError, match=words):
            restore(job_of(whole, tmp_path, **options))
    monkeypatch.setattr(plan_module, "answer", lambda process: Machine({"a library": "9"}))
    with pytest.raises(VideoError, match=r"a library was not known, here it is 9; .* --mixed"):
        restore(job_of(whole, tmp_path, stretch=(2, 2)))
    assert restore(job_of(whole, tmp_path, stretch=(2, 2), mixed=True)).made == 11
    # Who joins makes no frames.
    restore(job_of(whole, tmp_path, join=True))
    assert (tmp_path / "out.mkv").read_bytes() == whole.read_bytes()


def test_what_frames_depend_on_is_known(tmp_path: Path) -> None:
    from vsgshift.video.programs import find_ffmpeg
    from vsgshift.video.script import FilterCall

    calls = [FilterCall(task=task, options={"device_id": -1}) for task in ("denoise", "deblur")]
    with examined(calls) as process:
        machine = answer(process)
    assert machine.reach == 10 + 5
    assert set(machine.known) == {
        *("torch", "VapourSynth", "the device", "the kernels", "the network for denoise", "the network for deblur")
    }
    assert re.search(r"deblur-tiny, tiny-deblur, weights [0-9a-f]{16}$", machine.known["the network for deblur"])
    with (
        examined([FilterCall(task="denoise", options={"model": "unheard-of"})]) as process,
        pytest.raises(ProgramError, match="unheard-of"),
    ):
        answer(process)
    known = [
        encoder(find_ffmpeg(), film(tmp_path / "f.mkv", "-c:v", codec, "-threads", threads, frames=1))
        for codec, threads in (("libx264", "1"), ("libx264", "2"), ("ffv1", "1"), ("ffv1", "1"))
    ]
    assert known[0] != known[1]
    assert known[0]["ffmpeg"] == known[1]["ffmpeg"]
    assert known[2] == known[3]


@pytest.mark.usefixtures("probed_here")
def test_short_stretches_are_remarked_on(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remarks: list[str] = []
    monkeypatch.setattr(plan_module, "answer", lambda process: Machine(reach=5))
    restore(job_of(whole, tmp_path, stretch=(1, 2), remark=remarks.append))
    assert remarks == ["a stretch of 9 frames needs 10 more of its neighbours, 111%; with N = 1 it would be 50%"]
    monkeypatch.setattr(job_module, "CONTEXT", 2.0)
    restore(job_of(whole, tmp_path, stretch=(2, 2), remark=remarks.append))
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--stretch", "0/3"], "0/3 is no stretch; give its number and how many there are, as 3/10"),
        (["--stretch", "4/3"], "4/3 is no stretch"),
        (["--stretch", "1"], "1 is no stretch"),
        (["--stretch", "1/2", "--join"], "--join: not allowed with argument --stretch"),
    ],
)
def test_wrong_options(options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["restore", "in.mkv", "out.mkv", *options])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def text_of(kind: str) -> str:
    """The text for a scheduler in the documentation, by the heading that it stands under."""
    found = re.search(rf"^##+ {kind}\n.*?^```\w*\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def array(text: str, folder: Path, environment: dict[str, str]) -> None:
    """As SLURM runs a script: once for each number of its array."""
    found = re.search(r"^#SBATCH --array=1-(\d+)$", text, re.MULTILINE)
    assert found
    assert int(found[1]) > 3
    for number in range(1, 4):
        own = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "3"}
        subprocess.run(["bash", "-e", "-c", text], check=True, cwd=folder, env=environment | own)


def indexed(text: str, folder: Path, environment: dict[str, str]) -> None:
    """As Kubernetes runs an indexed Job."""
    yaml = pytest.importorskip("yaml")
    spec = yaml.safe_load(text)["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    (count,) = [each["value"] for each in container["env"] if each["name"] == "N"]
    assert int(count) == spec["completions"]
    (mount,) = container["volumeMounts"]
    for index in range(3):
        own = {"JOB_COMPLETION_INDEX": str(index), "N": "3"}
        command = [word.replace(mount["mountPath"], str(folder)) for word in container["command"]]
        subprocess.run(command, check=True, env=environment | own)


def shell(text: str, folder: Path, environment: dict[str, str]) -> None:
    """As it is typed."""
    text = re.sub(r"\b20\b", "3", text)
    subprocess.run(["bash", "-e", "-c", text], check=True, cwd=folder, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "run"),
    [("SLURM", array), ("Kubernetes", indexed), ("GNU parallel", shell), ("One machine, several processes", shell)],
)
def test_the_texts_for_schedulers(kind: str, run: Any, whole: Path, tmp_path: Path) -> None:
    text = text_of(kind).replace("--part 500", "--part 6")
    if "parallel " in text and shutil.which("parallel") is None:
        pytest.skip("GNU parallel is not installed")
    shutil.copy2(whole.with_name("film.mkv"), tmp_path / "film.mkv")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run(text, tmp_path, {**os.environ, "PATH": path})
    if "--join" not in text:
        assert main(["restore", str(tmp_path / "film.mkv"), str(tmp_path / "clean.mkv"), "--part", "6", "--join"]) == 0
    assert main(["restore", str(tmp_path / "film.mkv"), str(tmp_path / "one.mkv"), "--part", "6"]) == 0
    assert (tmp_path / "clean.mkv").read_bytes() == (tmp_path / "one.mkv").read_bytes()
