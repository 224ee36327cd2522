"""The scripts in scripts/examples do what their first lines say, run as a user runs them."""

import runpy
import subprocess
from pathlib import Path

import pytest
from films import FFMPEG, NEEDS_PROGRAMS, VSPIPE

vs = pytest.importorskip("vapoursynth")

SCRIPTS = Path(__file__).parent.parent / "scripts"
WIDTH, HEIGHT, FRAMES = 48, 32, 8


pytestmark = NEEDS_PROGRAMS


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny moving test card."""
    file = tmp_path_factory.mktemp("video") / "it's a card.mkv"
    card = f"testsrc2=size={WIDTH}x{HEIGHT}:rate=25"
    command = [str(FFMPEG), "-loglevel", "error", "-f", "lavfi", "-i", card, "-frames:v", str(FRAMES)]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-c:v", "ffv1", str(file)], check=True)
    return file


def vspipe(script: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script; its frames are in stdout."""
    return subprocess.run([str(VSPIPE), *options, str(script), "-"], capture_output=True, check=False)


def test_example_yields_its_frames_and_nothing_else(video: Path) -> None:
    result = vspipe(SCRIPTS / "examples" / "chained.vpy", "-a", f"source={video}", "-e", "3")
    assert result.returncode == 0, result.stderr.decode()
    assert len(result.stdout) == 4 * WIDTH * HEIGHT * 3 // 2 * 2**2


@pytest.mark.parametrize("name", ["deblur", "denoise"])
def test_example_run_in_this_process(name: str, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(SCRIPTS / "examples" / f"{name}.vpy"), {"source": str(video)})
    clip = vs.get_output(0).clip
    assert [(frame.width, frame.height) for frame in clip.frames()] == [(WIDTH, HEIGHT)] * FRAMES
    assert any(name.capitalize() in key for key in clip.get_frame(0).props)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["deblur", "denoise", "chained"])
def test_example_without_a_video_says_how_to_name_one(name: str) -> None:
    result = vspipe(SCRIPTS / "examples" / f"{name}.vpy")
    assert result.returncode
    assert b"vspipe -a source=FILE" in result.stderr
    assert result.stdout == b""
