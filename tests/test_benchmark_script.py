"""scripts/benchmark.py: every benchmark measures what it is asked for and says how."""

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from measuring import equality, growth, machine, modes, networks
from measuring.modes import MODES
from measuring.networks import Subject
from measuring.settings import HEIGHTS, Settings, size_named
from measuring.streams import peak_of
from vsgshift.benchmark.cases import Case, Figures, measure
from vsgshift.engine import prepare
from vsgshift.errors import ProgramError, VideoError
from vsgshift.network import VARIANTS
from vsgshift.streaming import Stream
from vsgshift.streaming.graphed import WARM_UP
from vsgshift.weights import load_network

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark.py"
LITTLE = "--device", "cpu", "--seconds", "0.01", "--rounds", "1", "--quick"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(script: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a benchmark in little; its report."""

    def run(*arguments: str) -> dict[str, Any]:
        size = () if "--size" in arguments else ("--size", "32x24")
        assert script.main([arguments[0], *LITTLE, *size, *arguments[1:]]) == 0
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert report["benchmark"] == arguments[0]
        return report

    return run


def test_reports_say_how_and_on_what(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.json"
    report = run("engine", "--model", "tiny-deblur", "deblur-tiny", "-o", str(file), "--block", "2")
    assert json.loads(file.read_text()) == report
    assert re.fullmatch(r"[0-9a-f]{40}(-changed)?|unknown", report["commit"])
    assert (report["precision"], report["block"]) == ("float32", 2)
    assert report["weights"] == {"tiny-deblur": "installed", "deblur-tiny": "random, seed 0"}
    assert set(report["result"]) == {"tiny-deblur 32x24", "deblur-tiny 32x24"}
    row = report["result"]["tiny-deblur 32x24"]
    assert row["fps"] > 0
    assert 0 < row["spread"] <= 1


def test_equality_is_that_of_the_stream_with_double_precision(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = run("equality", "--model", "tiny-deblur", "--frames", "16")["result"]["tiny-deblur float32"]
    assert row["sound"]
    assert 0 < row["relative_error"] < 1e-4
    # A stream that mixes up two frames is seen.
    right = load_network

    def wrong(*arguments: Any, **options: Any) -> Any:
        network = right(*arguments, **options)
        run = network.run
        network.run = lambda clip, *others, **more: run(clip.flip(0), *others, **more)  # type: ignore[method-assign]
        return network

    monkeypatch.setattr(networks, "load_network", wrong)
    with pytest.raises(AssertionError, match="assert 1 == 0"):
        run("equality", "--model", "tiny-deblur", "--frames", "16")


def test_equality_reaches_the_graph() -> None:
    network = networks.random_network(VARIANTS["deblur-tiny"])
    stream = Stream(network, block=equality.BLOCK, execution="steady")
    steps = 0
    for _ in range(equality.length(network.radius) // equality.BLOCK):
        steps += stream.mode == "steady"
        stream.push(torch.zeros(equality.BLOCK, 3, 8, 8))
    # One more than warm it up is captured and replayed.
    assert steps >= WARM_UP + 2
    assert stream.restored.start <= equality._shown(network.radius)[1] < stream.restored.stop


def test_every_network_has_a_reference() -> None:
    """If this fails after a new one: scripts/benchmark.py references."""
    with np.load(equality.KNOWN) as known:
        assert set(known.files) == set(VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deblur-tiny", "denoise-tiny", "deblur-small"])
def test_references_are_those_of_the_networks(name: str, run: Run) -> None:
    """If this fails after a change of a network: scripts/benchmark.py references."""
    figures = run("equality", "--model", name, "--size", "32x32")["result"][f"{name} float32"]
    assert figures["sound"]
    assert figures["relative_error"] < 1e-5


def test_what_gives_no_figures_is_in_the_report(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With those that came before it, and why."""
    file = tmp_path / "report.json"
    seen: list[dict[str, Any]] = []

    def engine(settings: Settings, subject: Subject, size: tuple[int, int]) -> dict[str, int]:
        if size == (48, 32):
            seen.append(json.loads(file.read_text())["result"])
            raise ValueError("no such size\nand more")
        return {"fps": 1}

    monkeypatch.setattr(modes, "engine", engine)
    sizes = "--size", "32x24", "48x32", "64x48"
    assert script.main(["engine", "--model", "tiny-deblur", *sizes, "-o", str(file), "--device", "cpu"]) == 1
    assert capsys.readouterr().err == "benchmark.py: tiny-deblur 48x32: no such size\n"
    assert seen == [{"tiny-deblur 32x24": {"fps": 1}}]
    report = json.loads(file.read_text())
    assert report["result"] == {
        "tiny-deblur 32x24": {"fps": 1},
        "tiny-deblur 48x32": {"missing": "no such size"},
        "tiny-deblur 64x48": {"fps": 1},
    }
    assert report["failures"] == ["tiny-deblur 48x32: no such size"]
    assert "ValueError: no such size" in report["traceback"]


def test_a_smoke_test_asserts_the_fast_way_and_the_result(
    run: Run, script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run("smoke", "--model", "tiny-deblur")["result"]
    assert figures["filter"]["psnr"] == 99
    assert figures["warnings"] == []
    monkeypatch.setattr(prepare, "runs_compiled", lambda network: False)
    assert script.main(["smoke", *LITTLE, "--size", "32x24", "--model", "tiny-deblur"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["failures"] == ["fused: the fused kernels of cpu do not run; see the warnings"]


def test_kernels_are_listed_by_the_profiler(run: Run) -> None:
    assert "conv" in run("kernels", "--model", "tiny-deblur")["result"]["tiny-deblur 32x24"]


@pytest.mark.slow
def test_vspipe_is_read_as_an_encoder_does(tmp_path: Path) -> None:
    (subject,) = networks.subjects(["tiny-denoise"], tmp_path)
    settings = Settings(subjects=(subject,), folder=tmp_path, sizes=(), device_id=-1, block=2, seconds=0.01)
    figures = machine.vspipe(settings, subject, (33, 24))
    assert figures["fps"] > 0
    assert figures["frames"] % 2 == 0
    with pytest.raises(VideoError, match="block=99 is out of range"):
        machine.vspipe(replace(settings, block=99), subject, (33, 24))


@pytest.mark.slow
def test_latency_and_the_filter(tmp_path: Path) -> None:
    (subject,) = networks.subjects(["tiny-deblur"], tmp_path)
    settings = Settings(subjects=(subject,), folder=tmp_path, sizes=(), device_id=-1, seconds=0.01, rounds=1)
    assert machine.latency(settings, subject, (32, 24)).keys() == {"first_s", "seek_s", "back_s"}
    assert machine.through_filter(settings, subject, (32, 24)).keys() == {"filter_fps", "filter_memory_mib"}


def test_a_clip_of_some_length_is_restored_whole() -> None:
    case = Case(model="tiny-deblur", width=32, height=24, how={"device_id": -1}, seconds=0.01)
    assert measure(replace(case, length=11)).frames == 11
    assert peak_of(lambda: torch.zeros(2**24), torch.device("cpu")) in (None, pytest.approx(64, abs=16))


def test_stream_and_vspipe_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """A machine that gets slower between two turns does not count for or against either."""
    order: list[str] = []
    figures = iter([40.0, 38.0, 20.0, 19.0, 10.0, 9.0])

    def stand_in(name: str) -> Callable[..., dict[str, float]]:
        def measure(*_: object) -> dict[str, float]:
            order.append(name)
            return {"fps": next(figures)}

        return measure

    monkeypatch.setattr(machine, "engine", stand_in("engine"))
    monkeypatch.setattr(machine, "vspipe", stand_in("vspipe"))
    monkeypatch.setattr(machine, "through_filter", lambda *_: {})
    monkeypatch.setattr(machine, "latency", lambda *_: {})
    row = run("machine", "--model", "tiny-deblur", "--rounds", "3")["result"]["tiny-deblur 32x24"]
    assert order == ["engine", "vspipe"] * 3
    assert (row["engine_fps"], row["vspipe_fps"]) == (20.0, 19.0)
    assert row["vspipe_shares"] == [0.95, 0.95, 0.9]
    assert row["vspipe_share"] == 0.95


def test_growth_tells_what_is_flat(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    cases: list[Case] = []

    def stand_in(case: Case, patience: float) -> Figures:
        cases.append(case)
        if case.height == 360:
            raise ProgramError("out of memory")
        fps = 50.0 if case.length else 1e6 / (case.width * case.height)
        memory = 700.0 if case.length == 10 else 721.0
        return Figures(fps=fps, frames=8, memory_mib=memory, gpu_memory_mib=None, kind="cpu", device="a CPU", threads=2)

    monkeypatch.setattr(growth, "measure_apart", stand_in)
    result = run("growth", "--frames", "100", "--size", "320x180", "640x360", "1280x720")["result"]
    assert [(row["frames"], row["memory_mib"]) for row in result["length"]] == [(10, 700.0), (100, 721.0)]
    assert result["length_memory_largest_over_smallest"] == 1.03
    assert {(case.width, case.height) for case in cases if case.length} == {growth.SMALL}
    rows = result["pixels"]
    assert [row["size"] for row in rows] == ["320x180", "640x360", "1280x720"]
    rates = [row.get("megapixels_per_second") for row in rows]
    assert rates == [pytest.approx(1), None, pytest.approx(1)]
    assert rows[1]["missing"] == "out of memory"
    assert result["pixels_rate_largest_over_smallest"] == 1.0
    assert growth.evenness([], "fps") is None


def test_networks_by_name(tmp_path: Path) -> None:
    assert [subject.name for subject in networks.subjects(["tiny", "small"], tmp_path)] == [
        "tiny-deblur",
        "tiny-denoise",
        "deblur-small",
        "denoise-small",
    ]
    (subject,) = networks.subjects(["gopro-small"], tmp_path)
    assert (subject.weights, subject.variant.name) == ("random, seed 0", "deblur-small")
    network = load_network(subject.source)
    assert all(parameter.any() for parameter in network.parameters()), "zeros hide what they multiply"
    with pytest.raises(ValueError, match="unknown model 'nobody'"):
        networks.subjects(["nobody"], tmp_path)


def test_mistakes_are_reported_in_one_line(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, why in (
        (["engine", "--model", "nobody"], "unknown model 'nobody'"),
        (["engine", "--size", "480i"], "'480i' is no size; give width and height, as 640x360, or one of 360p"),
        (["against"], "name a checkout of the authors' repository with --against"),
        (["--against", "/nowhere"], "/nowhere is not a folder"),
    ):
        assert script.main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"benchmark.py: {why}")
    for wrong in ([], ["engine", "--device", "tpu"]):
        with pytest.raises(SystemExit, match="2"):
            script.main(wrong)
    assert [size_named(name) for name in HEIGHTS][:2] == [(640, 360), (1280, 720)]


def test_every_benchmark_is_described(script: Any) -> None:
    for name in [*MODES, "reference", "references"]:
        assert f"benchmark.py {name} " in script.__doc__ or name == "against"
