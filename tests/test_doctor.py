"""`vsgshift doctor`: a whole installation is well, and whatever is broken is a finding with advice."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vsgshift.cli import main
from vsgshift.doctor import libraries, questions, system, vapoursynth
from vsgshift.doctor.questions import ask
from vsgshift.errors import ProgramError
from vsgshift.processes import run
from vsgshift.video.programs import configure


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's settings in which `vapoursynth config` has never been run."""
    folder = tmp_path / "settings"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.delenv("VSSCRIPT_PATH", raising=False)
    return folder / "vapoursynth" / "vapoursynth.toml"


def report(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status, and the findings by subject; the last of each."""
    status = main(["doctor", "--json", *options])
    captured = capsys.readouterr()
    assert captured.err == ""
    known = json.loads(captured.out)
    assert known["ok"] == (status == 0)
    for finding in known["findings"]:
        assert "\n" not in finding["text"]
        assert bool(finding["advice"]) == (finding["state"] != "ok")
    return status, {finding["subject"]: finding for finding in known["findings"]}


@pytest.mark.slow
def test_what_works_is_well_and_fix_configures_vspipe(
    unconfigured: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vspipe = vapoursynth.vspipe()
    assert vspipe.state == "problem"
    assert "vapoursynth config" in str(vspipe.advice)
    assert not unconfigured.exists()
    status, findings = report(capsys, "--fix")
    assert unconfigured.is_file()
    assert findings["vspipe"]["state"] == "ok"
    for subject in ("Python", "vsgshift", "NumPy", "safetensors", "torch", "CPU", "VapourSynth", "plugin", "models"):
        assert findings[subject]["state"] == "ok", findings[subject]
    assert status == 0
    assert not models.exists()


def test_vspipe_of_another_python(unconfigured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    finding = vapoursynth.vspipe()
    assert finding.state == "problem"
    assert "runs another Python" in finding.text


def test_nothing_that_is_broken_brings_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {
        "torch": "import os; os.abort()",
        "vapoursynth": "raise ImportError('libvapoursynth.so.4: cannot open shared object file')",
        "numpy": "raise SystemExit(3)",
        "safetensors": "import sys; sys.exit()",
        "imageio_ffmpeg": "raise ImportError",
    }
    for name, code in broken.items():
        (tmp_path / f"{name}.py").write_text(f"print('noise')\n{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, findings = report(capsys)
    assert status == 1
    assert "ended by a signal: Aborted" in findings["torch"]["text"]
    assert "cannot open shared object file" in findings["VapourSynth"]["text"]
    assert [findings[name]["state"] for name in ("NumPy", "safetensors", "models")] == ["problem"] * 3
    assert findings["ffmpeg"]["state"] == "warning"
    assert findings["Python"]["state"] == "ok"
    assert main(["doctor", "--fix"]) == 1
    captured = capsys.readouterr().out
    assert "to make it work:" in captured
    assert "nothing was changed" in captured


def test_the_compiled_part_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "_PREAMBLE", questions._PREAMBLE + "sys.modules['vsgshift.plugin._bridge'] = None\n")
    finding = libraries.package()
    assert finding.state == "problem"
    assert "_bridge" in finding.text


def test_a_fault_of_the_doctor_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ProgramError("not asked")

    monkeypatch.setattr(system, "memory", lambda: 1 / 0)
    for module in (vapoursynth, libraries, system):
        monkeypatch.setattr(module, "ask", fail)
    status, findings = report(capsys)
    assert status == 1
    assert "ZeroDivisionError" in findings["memory"]["text"]


@pytest.mark.slow
def test_damaged_models(models: Path) -> None:
    models.mkdir()
    (models / "mine.safetensors").write_bytes(b"nothing")
    well, damaged = system.models()
    assert well.state == "ok"
    assert damaged.state == "warning"
    assert damaged.text.startswith("mine: ")
    assert "vsgshift remove mine" in str(damaged.advice)


def test_answers(tmp_path: Path) -> None:
    assert ask("print('noise'); answer(said=sys.argv[1:])", "a", "b") == {"said": ["a", "b"]}
    for code, why in (
        ("import time; time.sleep(60)", "no answer within 1 seconds"),
        ("raise ValueError('two\\nlines')", "lines"),
        ("pass", "without an answer"),
        ("os.kill(os.getpid(), 9)", "ended by a signal: Killed"),
        ("os.write(answers, b'[1]')", "without an answer"),
    ):
        with pytest.raises(ProgramError, match=why):
            ask(code, timeout=1 if "sleep" in code else 60)
    with pytest.raises(ProgramError, match="No such file"):
        run([tmp_path / "missing"])


@pytest.mark.parametrize(
    ("known", "anew", "extra"),
    [
        ('{"url": "file:///a%20clone", "dir_info": {"editable": true}}', "-e '/a clone'", "-e '/a clone[cuda]'"),
        ('{"url": "file:///w/vsgshift-1.whl", "archive_info": {}}', "/w/vsgshift-1.whl", "'/w/vsgshift-1.whl[cuda]'"),
        (None, "vsgshift", "'vsgshift[cuda]'"),
    ],
)
def test_advice_fits_how_it_was_installed(
    known: str | None, anew: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.Distribution.read_text", lambda *_: known, raising=False)
    monkeypatch.setattr("importlib.metadata.PathDistribution.read_text", lambda *_: known)
    assert libraries.again() == f"{libraries.PIP} --force-reinstall --no-deps {anew}"
    assert libraries.again("cuda") == f"{libraries.PIP} {extra}"


def test_an_ffmpeg_without_encoders_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ffmpeg version 7.1 V..... libx264 VP9 libvpx-vp9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert system.ffmpeg().text == f"7.1, {program}: has no libx265"
    assert system.disk().state == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert system.disk().text.startswith("1.0 GB free in ")
    assert system.disk().state == "warning"
