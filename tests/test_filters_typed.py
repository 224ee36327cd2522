"""The typed functions hand on what they are given, and type checkers know them and the plugin itself."""

import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs

from vsgshift.filters import DeblurModel, DenoiseModel, deblur, denoise
from vsgshift.parameters import SceneChange
from vsgshift.weights import MODELS


def noisy(length: int = 3) -> vs.VideoNode:
    """A few frames of fixed noise, as large as the network needs."""
    grain = np.random.default_rng(1).normal(0.5, 0.1, (3, 32, 48)).astype(np.float32)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[:] = np.roll(grain[plane], n)
        return frame

    blank = vs.core.std.BlankClip(format=vs.RGBS, width=48, height=32, length=length, keep=True)
    return blank.std.ModifyFrame(blank, fill)


def pixels(clip: vs.VideoNode) -> np.ndarray:
    return np.stack([np.stack([np.asarray(frame[plane]) for plane in range(3)]) for frame in clip.frames(close=True)])


def test_they_are_the_filters() -> None:
    clip = noisy()
    same = denoise(clip, sigma=20, strength=0.5, device_id=-1, block=1, scenechange=SceneChange.IGNORE, fp16=False)
    native = vs.core.gshift.Denoise(clip, sigma=20, strength=0.5, device_id=-1, block=1, scenechange=0, fp16=0)
    assert np.array_equal(pixels(same), pixels(native))
    assert not np.array_equal(pixels(same), pixels(clip))
    sharp = deblur(clip, model=MODELS["tiny-deblur"].path, device_id=-1)
    assert np.array_equal(pixels(sharp), pixels(vs.core.gshift.Deblur(clip, model="tiny", device_id=-1)))
    levels = clip.std.BlankClip(format=vs.GRAY8, color=20)
    mapped = denoise(clip, sigma_map=levels, model=DenoiseModel.TINY, device_id=-1)
    assert np.allclose(pixels(mapped), pixels(denoise(clip, sigma=20, device_id=-1)), atol=1e-5)


def test_errors_are_the_plugins() -> None:
    with pytest.raises(vs.Error, match=r"^Deblur: strength=2 is out of range"):
        deblur(noisy(), strength=2)
    with pytest.raises(TypeError, match="positional"):
        deblur(noisy(), DeblurModel.TINY)  # type: ignore[misc]


@pytest.mark.parametrize(("task", "names"), [("deblur", DeblurModel), ("denoise", DenoiseModel)])
def test_the_names_are_the_catalogues(task: str, names: type[DeblurModel | DenoiseModel]) -> None:
    known = [model.name.removesuffix(f"-{task}") for model in MODELS.values() if model.task == task]
    assert sorted(names) == sorted(known)


def test_importing_the_package_imports_neither_torch_nor_vapoursynth() -> None:
    heavy = "{'torch', 'vapoursynth', 'numpy'} & set(sys.modules)"
    code = f"import sys, vsgshift; assert not {heavy}, {heavy}; vsgshift.deblur; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SCRIPT = """
    from typing import assert_type

    import vapoursynth as vs
    import vsgshift
    from vsgshift import DeblurModel, SceneChange

    clip = vs.core.std.BlankClip(format=vs.YUV420P8)
    sharp = vsgshift.deblur(clip, model=DeblurModel.GOPRO, scenechange=SceneChange.DETECT, strength=0.8)
    clean = vsgshift.denoise(sharp, sigma=8, fp16=True)
    native = vs.core.gshift.Denoise(clean.gshift.Deblur(strength=0.5), sigma=4)
    assert_type(clean, vs.VideoNode)
    assert_type(native, vs.VideoNode)
    native.set_output()
"""
WRONG = {
    "vsgshift.deblur(clip, sigma=3)": "call-arg",
    'vsgshift.denoise(clip, sigma="3")': "arg-type",
    'vsgshift.deblur(clip, scenechange="yes")': "arg-type",
    "vs.core.gshift.Deblur(clip, sigma=3)": "call-arg",
    'clip.gshift.Denoise(strength="much")': "arg-type",
}


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("vsstubs") and find_spec("mypy")), reason="vsstubs or mypy is not installed")
def test_a_script_is_checked_as_vsjetpacks_users_check_theirs(tmp_path: Path) -> None:
    # vsstubs puts them beside the installed packages, as vapoursynth-stubs; on mypy's own path they go by this name.
    stubs = tmp_path / "stubs" / "vapoursynth" / "__init__.pyi"
    stubs.parent.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "vsstubs", "--quiet", "-o", str(stubs)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    script = tmp_path / "script.py"
    right = textwrap.dedent(SCRIPT)
    script.write_text(right + "\n".join(WRONG))
    # What the script does not touch is left out: torch's sources take mypy minutes.
    untouched = ",".join(f"vsgshift.{part}.*" for part in ("network", "streaming", "weights"))
    settings = f"[mypy]\nstrict = true\nmypy_path = {stubs.parents[1]}\n[mypy-{untouched}]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(settings)
    lines = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    complaints = [line for line in lines if ": error:" in line]
    first = right.count("\n") + 1
    expected = [(f"script.py:{number}:", f"[{code}]") for number, code in enumerate(WRONG.values(), start=first)]
    assert len(complaints) == len(expected), lines
    for line, (position, code) in zip(complaints, expected, strict=True):
        assert line.startswith(position)
        assert line.endswith(code)
