"""The documentation builds, and nothing in it is amiss: no broken link, no missing picture, no page left out."""

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
