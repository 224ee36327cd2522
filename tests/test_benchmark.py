"""`vsgshift benchmark`: it measures what it says, in bounded time, and compares with the committed reports."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from measuring.reports import rows as rows_of
from vsgshift.benchmark import cases, measures, reference
from vsgshift.benchmark.cases import Case, Figures
from vsgshift.cli import main
from vsgshift.errors import ProgramError, TooSlowError

REPORTS = Path(__file__).parents[1] / "scripts" / "benchmarks"
ON_CPU = Figures(fps=10.0, frames=8, memory_mib=512.0, gpu_memory_mib=None, kind="cpu", device="a CPU", threads=2)


def test_the_table_is_that_of_the_reports() -> None:
    reports = [json.loads(file.read_text()) for file in sorted(REPORTS.glob("*.json"))]
    rows: list[dict[str, Any]] = rows_of(reports)
    assert reference.table() == [reference.Known(**row) for row in rows]
    speeds = next(report for report in reports if report["benchmark"] == "machine")["result"]
    known = {f"{row.model} {row.size}": row.fps for row in reference.table()}
    assert known == {name: figures["filter_fps"] for name, figures in speeds.items()}


def test_verdicts() -> None:
    row = reference.Known(model="m", size="100x100", kind="cpu", device="old", fps=10.0)
    known = [row, replace(row, size="200x200", fps=2.5), replace(row, device="new", fps=100.0)]
    known.append(replace(row, kind="cuda", fps=1000.0))

    def judge(fps: float, size: tuple[int, int] = (100, 100), **other: str) -> reference.Verdict | None:
        return reference.verdict(known, **{"model": "m", "kind": "cpu", "device": "other", **other}, size=size, fps=fps)

    for fps, word in ((4.9, "slow"), (5.1, "normal"), (19.9, "normal"), (20.1, "fast")):
        assert (judged := judge(fps))
        assert (judged.word, judged.known) == (word, row)
    assert (judged := judge(10.0, device="new"))
    assert (judged.ratio, judged.word) == (0.1, "slow")
    # Other sizes by the pixels per second of the nearest one.
    assert (judged := judge(1.25, (400, 200)))
    assert (judged.ratio, judged.known.size) == (1.0, "200x200")
    assert judge(1.0, model="unknown") is None
    assert judge(1.0, kind="mps") is None


def test_the_rate_leaves_the_start_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def frames() -> Iterator[None]:
        nonlocal clock
        for n in range(10**6):
            clock += 100.0 if n < 8 else 0.25
            yield

    monkeypatch.setattr("vsgshift.benchmark.measures.time.perf_counter", lambda: clock)
    assert measures.steady_rate(frames(), block=4, seconds=5.0) == (4.0, 20)
    assert measures.steady_rate(frames(), block=4, seconds=0.0) == (4.0, 8)


def test_a_case_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "tiny-denoise", "--size", "64x48", "--device", "cpu", "--block", "2", "--seconds", "0.1"]
    assert main(["benchmark", *arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert (row["kind"], row["gpu_memory_mib"], row["size"] if "size" in row else row["width"]) == ("cpu", None, 64)
    assert row["frames"] % 2 == 0
    assert row["fps"] > 0
    # Python with torch alone takes more than this, and the little clip adds hardly anything.
    assert 100 < row["memory_mib"] < 4000
    assert row["verdict"]["known"]["size"] == "320x180"


def test_failures_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--model", "nobody"]) == 1
    assert re.match("vsgshift: unknown model 'nobody'", capsys.readouterr().err)
    assert main(["benchmark", "--model", "tiny-deblur", "--size", "8x8", "--tilesize", "1", "--device", "cpu"]) == 1
    assert "Deblur: tilesize=1 is too small" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "--size", "0x8"])
    assert "'0x8' is no size" in capsys.readouterr().err
    with pytest.raises(TooSlowError, match="no answer within 0 seconds"):
        cases.measure_apart(Case(model="tiny-deblur", width=8, height=8), patience=0.01)


def test_what_would_take_too_long_is_left_out(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models.mkdir()
    for name in ("large", "huge", "broken"):
        (models / f"{name}.safetensors").touch()
    patiences = []

    def stand_in(case: Case, patience: float) -> Figures:
        patiences.append(patience)
        if case.model == "huge":
            raise TooSlowError("took more than 9 seconds")
        if case.model == "broken":
            raise ProgramError("no such weights")
        return replace(ON_CPU, fps=1.0 if case.model == "large" else 10.0)

    monkeypatch.setattr(cases, "measure_apart", stand_in)
    known = reference.Known(model="tiny-deblur", size="640x360", kind="cpu", device="a CPU", fps=4.0)
    monkeypatch.setattr(reference, "table", lambda: [known])
    assert main(["benchmark"]) == 1
    lines = {tuple(line.split()[:2]): line for line in capsys.readouterr().out.splitlines() if line}
    assert lines["tiny-deblur", "640x360"].endswith("10.00 frames/s  0.50 GiB  fast: 2.5 x known")
    assert "nothing to compare with" in lines["large", "320x180"]
    assert "it may take 96 s and more; ask with --model large" in lines["large", "640x360"]
    assert "took more than 9 seconds; ask with" in lines["huge", "320x180"]
    assert "left out: no figures at a smaller size" in lines["huge", "640x360"]
    assert "no such weights" in lines["broken", "320x180"]
    # Twice its share of what is left for each: none uses up the time of the others.
    assert patiences[0] == pytest.approx(2 * 110 / 13, abs=3)
    assert max(patiences) <= 110
    # Who names a model gets it, however long it takes.
    assert main(["benchmark", "--model", "large"]) == 0
    assert "left out" not in capsys.readouterr().out
