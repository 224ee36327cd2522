"""`python -m vsgshift` without the network: listing, showing, importing, removing, and wrong arguments."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
import vapoursynth as vs
from conftest import Failing
from standin import published_state

from vsgshift.cli import main
from vsgshift.network import VARIANTS


def test_unknown_names(models: Path, fails: Failing) -> None:
    fails(
        "nothing to download for 'tiny-deblur'; there are: gopro, gopro-small, .*, or all$", "download", "tiny-deblur"
    )
    fails("nothing to download for 'gopr'", "download", "gopro-small", "gopr")
    fails("'gopr'", "show", "gopr")
    fails("'gopr'.* none$", "remove", "gopr")
    fails("gopro is not installed", "remove", "gopro")
    fails("bundled", "remove", "tiny-deblur")
    fails("no such file: missing.pth", "import", "missing.pth")
    assert not models.exists()


def test_models_show_import_remove(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fetched.pth"
    torch.save({"params": published_state(VARIANTS["deblur-small"])}, file)
    assert main(["import", str(file), "--name", "gopro-small"]) == 0
    assert main(["import", str(file)]) == 0
    (models / "broken.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(rows)[-2:] == ["broken", "fetched"]
    assert "unreadable" in rows["broken"]
    assert re.search(r"deblur-small +GoPro +[\d.]+ MB +installed +none stated", rows["gopro-small"])
    assert re.search(r"deblur-small +not known +[\d.]+ MB +installed +not known", rows["fetched"])
    assert re.search(r"deblur-plus +GoPro +about \d+ MB +not installed +none stated", rows["gopro"])
    assert re.search(r"denoise-tiny .*MB +default +MIT$", rows["tiny-denoise"])
    assert re.fullmatch(r"NAME +NETWORK +TRAINED ON +FILE +LICENCE", rows["NAME"])
    assert main(["show", "gopro-small"]) == 0
    assert f"original_sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n" in capsys.readouterr().out
    for name in ("fetched", "gopro-small", "broken"):
        assert main(["remove", name]) == 0
    assert [path.name for path in models.iterdir()] == ["gopro-small.original.json"]


def test_show_prints_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tiny-deblur"]) == 0
    facts, card = capsys.readouterr().out.split("\n\n", 1)
    assert "variant: deblur-tiny" in facts
    assert card.startswith("# tiny-deblur\n")


def test_the_filter_names_the_command(models: Path) -> None:
    clip = vs.core.std.BlankClip(format=vs.RGBS, length=1)
    with pytest.raises(vs.Error, match=r"gopro are not installed; run: python -m vsgshift download gopro$"):
        vs.core.gshift.Deblur(clip, model="gopro")


def test_alone_it_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "usage: vsgshift" in printed
    assert "vsgshift restore holiday.mp4 clean.mp4" in printed


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("restor a.mp4 b.mp4", "there is no command 'restor'; did you mean restore?"),
        ("fly", "there is no command 'fly'; there are: demo, restore, compare,"),
        ("restore a.mp4 b.mp4 --sgima=8", "there is no option --sgima; did you mean --sigma?"),
        ("restore a.mp4 b.mp4 --zzz 8", "there is no option --zzz\n"),
        ("restore a.mp4 b.mp4 c.mp4", "'c.mp4' is one argument too many"),
    ],
)
def test_near_misses_are_recognised(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_film_in_place_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "holiday.mp4"
    film.touch()
    with pytest.raises(SystemExit):
        main([str(film)])
    assert f"to restore that file: vsgshift restore {film} OUT" in capsys.readouterr().err
