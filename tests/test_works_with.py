"""The filter inside the programs that run VapourSynth scripts: previewers, chunked encoders, pipes, vsjetpack."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from films import FFMPEG, VSPIPE
from test_examples import FRAMES, HEIGHT, SCRIPTS, WIDTH, pytestmark, video, vspipe

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
    search = os.pathsep.join((str(VSPIPE.parent), os.environ["PATH"]))
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
