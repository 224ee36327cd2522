"""The filter inside the programs that run VapourSynth scripts: previewers, chunked encoders, pipes, vsjetpack."""

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from films import FFMPEG, VSPIPE
from PIL import Image
from test_examples import FRAMES, HEIGHT, SCRIPTS, WIDTH, pytestmark, video, vs, vspipe

__all__ = ["pytestmark", "video"]

EXAMPLES = SCRIPTS / "examples"


def frames(raw: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """Raw YUV420P8 frames as one row of codes each."""
    return np.frombuffer(raw, np.uint8).astype(np.int16).reshape(-1, WIDTH * HEIGHT * 3 // 2)


@pytest.mark.slow
def test_chunks_are_the_frames_of_one_run(video: Path) -> None:
    """As av1an runs a script: one vspipe for each chunk, begun anywhere."""
    script = EXAMPLES / "denoise.vpy"
    whole = frames(vspipe(script, "-a", f"source={video}").stdout)
    assert len(whole) == FRAMES
    for first, last in ((0, 2), (3, 3), (4, FRAMES - 1)):
        chunk = frames(vspipe(script, "-a", f"source={video}", "-s", str(first), "-e", str(last)).stdout)
        np.testing.assert_allclose(chunk, whole[first : last + 1], atol=1)
        assert (chunk == whole[first : last + 1]).mean() > 0.999


RELOADS = """
import sys
from pathlib import Path

from vsengine.policy import GlobalStore, Policy
from vsengine.vpy import load_script

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

with Policy(GlobalStore()) as policy:
    marks = []
    for _ in range(50):
        script = load_script(sys.argv[1], policy)
        script.result()
        for output in script.environment.outputs.values():
            for n in (5, 2):
                output.clip.get_frame(n).close()
        del output
        script.dispose()
        marks.append(resident())
print(marks[9], marks[49])
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vsengine") is None, reason="vsjetengine is not installed")
def test_reloading_in_a_previewer_does_not_grow_memory(video: Path) -> None:
    """As vsview does it: the script is run again in a new environment of the same process."""
    done = subprocess.run(
        [sys.executable, "-c", RELOADS, EXAMPLES / "preview.vpy"],
        capture_output=True,
        text=True,
        env={**os.environ, "SOURCE": str(video)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    early, late = map(int, done.stdout.split())
    assert late < 1.05 * early


VSVIEW = """
import sys
from pathlib import Path

try:
    from PySide6.QtCore import QRect, Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication, QGraphicsPixmapItem, QGraphicsView
except ImportError as problem:
    print(problem)
    sys.exit(77)
from vsview.app.main import Application
from vsview.cli import app

def shown():
    # The view that is seen, and what it shows.
    window = QApplication.activeWindow()
    for view in window.findChildren(QGraphicsView) if window else ():
        for item in view.items() if view.isVisible() else ():
            if isinstance(item, QGraphicsPixmapItem) and not item.pixmap().isNull():
                return view, item, item.pixmap()
    return None, None, None

def walk():
    last = None
    control = Qt.KeyboardModifier.ControlModifier
    for step, keys in {
        "source": (), "restored": (Qt.Key.Key_2,), "next": (Qt.Key.Key_Right,), "reloaded": (Qt.Key.Key_R, control)
    }.items():
        if keys:
            QTest.keyClick(QApplication.activeWindow(), *keys)
        while not (picture := shown()[2]) or picture.cacheKey() == last:
            yield
        yield  # The window is drawn.
        view, item, picture = shown()
        last = picture.cacheKey()
        place = view.mapFromScene(item.sceneBoundingRect()).boundingRect()
        view.viewport().grab(QRect(place.topLeft(), picture.size())).save(f"{sys.argv[2]}/{step}.png")
    QApplication.activeWindow().close()

def run(self):
    steps, timer = walk(), QTimer()
    timer.timeout.connect(lambda: next(steps, None))
    timer.start(100)
    return QApplication.exec()

Application.exec = run
app.meta(["--no-settings", sys.argv[1]])
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vsview") is None, reason="vsview is not installed")
def test_vsview_shows_what_get_frame_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window's pixels: of the source, of the restored frame, of the next one, and after the script was reloaded."""
    script, film = EXAMPLES / "preview.vpy", tmp_path / "film.mkv"
    card = f"testsrc2=size={2 * WIDTH}x{2 * HEIGHT}:rate=25,noise=alls=16:allf=t,format=yuv444p"
    colours = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    command = [str(FFMPEG), "-loglevel", "error", "-f", "lavfi", "-i", f"{card},{colours}"]
    subprocess.run([*command, "-frames:v", str(FRAMES), "-c:v", "ffv1", str(film)], check=True)
    monkeypatch.setenv("SOURCE", str(film))
    done = subprocess.run(
        [sys.executable, "-c", VSVIEW, script, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_CONFIG_HOME": str(tmp_path)},
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(f"Qt lacks a library of the system: {done.stdout.strip()}")
    assert done.returncode == 0, done.stderr
    assert not any(word in done.stderr for word in ("ERROR", "Traceback", "gshift", "Denoise")), done.stderr

    runpy.run_path(str(script))
    colour = [vs.get_output(n).clip.resize.Point(format=vs.RGB24) for n in range(2)]
    vs.clear_outputs()

    def given(output: int, n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        with colour[output].get_frame(n) as frame:
            return np.stack([np.asarray(plane) for plane in frame], axis=-1).astype(np.int16)

    for step, (output, n) in {"source": (0, 0), "restored": (1, 0), "next": (1, 1), "reloaded": (1, 1)}.items():
        seen = np.asarray(Image.open(tmp_path / f"{step}.png").convert("RGB")).astype(np.int16)
        # vsview dithers to 8 bits.
        np.testing.assert_allclose(seen, given(output, n), atol=2)
        if output:
            assert np.abs(seen - given(0, n)).mean() > 2


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vstools") is None, reason="vsjetpack is not installed")
def test_in_a_chain_of_vsjetpack(video: Path) -> None:
    result = vspipe(EXAMPLES / "vsjetpack.vpy", "-a", f"source={video}", "-e", "2")
    assert result.returncode == 0, result.stderr.decode()
    assert len(result.stdout) == 3 * WIDTH * HEIGHT * 3 // 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "missing"), [("clean.mkv", None), ("clean.hevc", "x265"), ("clean.ivf", "SvtAv1EncApp")]
)
def test_pipe_into_an_encoder(target: str, missing: str | None, video: Path, tmp_path: Path) -> None:
    """An encoder that is missing fails the script, and says so."""
    search = os.pathsep.join((str(Path(str(VSPIPE)).parent), os.environ["PATH"]))
    done = subprocess.run(
        [EXAMPLES / "encode.sh", video, tmp_path / target],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": search, "FFMPEG": str(FFMPEG)},
        check=False,
    )
    if done.returncode == 127 and missing:
        assert f"{missing}: command not found" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / target).stat().st_size > 0
