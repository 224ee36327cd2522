"""The scripts in scripts/ do what their first lines say, run as a user runs them."""

import subprocess
import sys
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


def restore(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the main job's command."""
    command = [sys.executable, str(SCRIPTS / "restore.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "scale"), [("deblur", 1), ("denoise", 1), ("chained", 2)])
def test_example_yields_its_frames_and_nothing_else(name: str, scale: int, video: Path) -> None:
    result = vspipe(SCRIPTS / "examples" / f"{name}.vpy", "-a", f"source={video}", "-e", "3")
    assert result.returncode == 0, result.stderr.decode()
    assert len(result.stdout) == 4 * WIDTH * HEIGHT * 3 // 2 * scale**2


@pytest.mark.parametrize("name", ["deblur", "denoise", "chained"])
def test_example_without_a_video_says_how_to_name_one(name: str) -> None:
    result = vspipe(SCRIPTS / "examples" / f"{name}.vpy")
    assert result.returncode
    assert b"vspipe -a source=FILE" in result.stderr
    assert result.stdout == b""


@pytest.mark.parametrize("task", ["--denoise", "--deblur"])
def test_restore_leaves_a_movie_a_picture_and_a_script(task: str, video: Path, tmp_path: Path) -> None:
    result = restore(video, task, "--frames", "5", "-o", tmp_path / "new" / "folder")
    assert result.returncode == 0, result.stderr
    left = sorted(file.suffix for file in (tmp_path / "new" / "folder").iterdir())
    assert left == [".mp4", ".png", ".vpy"]
    movie = next((tmp_path / "new" / "folder").glob("*.mp4"))
    clip = vs.core.bs.VideoSource(str(movie), cachemode=0)
    assert (clip.num_frames, clip.width, clip.height) == (5, WIDTH, HEIGHT)


def test_restore_makes_its_own_clip_and_improves_it(tmp_path: Path) -> None:
    result = restore("--frames", "4", "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    words = next(line for line in result.stdout.splitlines() if line.startswith("PSNR")).split()
    assert float(words[4]) > float(words[1]) + 5


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "no such file"), (b"", "is empty"), (b"not a video", "no video")]
)
def test_restore_refuses_in_one_line(content: bytes | None, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    if content is not None:
        file.write_bytes(content)
    result = restore(file, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_restore_refuses_a_folder(tmp_path: Path) -> None:
    result = restore(tmp_path, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr == f"restore.py: {tmp_path} is a folder; give a video file\n"
