"""The documentation builds, and nothing in it is amiss: no broken link, no missing picture, no page left out."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_strict_build(tmp_path: Path) -> None:
    for needed in ("sphinx", "furo", "myst_parser", "sphinx_copybutton"):
        pytest.importorskip(needed, reason="needs the extra docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "doctrees"), "docs"]
    done = subprocess.run([*command, tmp_path / "pages"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "pages" / "parameters.html").read_text()
    assert "standard deviation of the noise" in page, "the parameters do not come from the docstrings"
    help_texts = (tmp_path / "pages" / "command-line.html").read_text()
    assert "usage: vsgshift download" in help_texts


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_that_there_are(page: Path) -> None:
    """Each `vsgshift ...` of a page is taken by the command line as it is printed."""
    from vsgshift.cli import parser

    shown = r"^(?: {4,}| *\$ )(?:python -m )?vsgshift ([^#\n`]+)"
    for found in re.finditer(shown, page.read_text(), re.MULTILINE):
        words = shlex.split(found[1])
        try:
            parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{page.name}: vsgshift {found[1]}")


@pytest.mark.slow
def test_the_example_from_a_file_to_tensors_and_back(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    (code, *_) = re.findall(r"```python\n(import av\n.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    (tmp_path / "holiday.mp4").write_bytes((ROOT / "vsgshift" / "demo" / "flower.mkv").read_bytes())
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "clean.mp4")) as film:
        assert len(list(film.decode(video=0))) == 24
