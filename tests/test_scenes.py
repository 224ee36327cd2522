"""The cut detector, on arrays and as `scenechange=2`."""

from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import as_tensor, own_props
from conftest import SHARED
from numpy.typing import NDArray

from training.clips import synthetic
from vsgshift import restore
from vsgshift.analysis import Coding, Thumbnail, is_cut, plane_scales, thumbnail
from vsgshift.weights import load_network

core = vs.core
MEDIA = SHARED / "media"
GREY8 = plane_scales(Coding(family="GRAY", bits=8, full_range=True))
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
PREV, NEXT = "_SceneChangePrev", "_SceneChangeNext"


@pytest.fixture(scope="module")
def scenes() -> list[NDArray[np.float32]]:
    """Luma of different generated scenes on the 8-bit scale, (T, 90, 160) each, some still, most moving."""
    generator = torch.Generator().manual_seed(31)
    pool = synthetic.Pool(generator, scenes=8, tiles=8, texels=256)
    clips = [
        synthetic.clip(generator, frames=frames, size=(90, 160), pool=pool, speed=speed)
        for frames, speed in [(9, 4.0), (3, 6.0), (14, 12.0), (2, 2.0), (1, 4.0), (6, 20.0), (11, 3.0), (2, 8.0)] * 2
    ]
    return [np.tensordot(255 * clip.numpy(), LUMA, (1, 0)) for clip in clips]


def thumbnails(frames: NDArray[Any], sigma: float = 0, seed: int = 0) -> list[Thumbnail]:
    noise = sigma * np.random.default_rng(seed).standard_normal(frames.shape)
    return [thumbnail([frame], GREY8) for frame in np.clip(np.round(frames + noise), 0, 255)]


def cuts(clip: list[Thumbnail]) -> list[int]:
    """Frames that start a scene, but for the first."""
    return [n for n in range(1, len(clip)) if is_cut(clip[max(n - 2, 0) : n], clip[n : n + 2])]


# ---- The detector ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0, 20, 50])
def test_finds_cuts_between_generated_scenes_and_no_others(scenes: list[NDArray[np.float32]], sigma: float) -> None:
    spliced = [each for index, scene in enumerate(scenes) for each in thumbnails(scene, sigma, index)]
    starts = np.cumsum([len(scene) for scene in scenes])[:-1].tolist()
    assert cuts(spliced) == starts


@pytest.mark.skipif(not MEDIA.is_dir() or not hasattr(core, "bs"), reason="needs the footage beside the checkout")
@pytest.mark.parametrize("sigma", [0, 50])
def test_real_clips_have_no_cuts_but_where_they_are_spliced(scenes: list[NDArray[np.float32]], sigma: float) -> None:
    real = []
    for name, first in (("street.mp4", 150), ("hands.mkv", 20)):
        source = core.bs.VideoSource(str(MEDIA / name), cachemode=0)[first : first + 40]
        grey = source.resize.Bicubic(160, 90, format=vs.GRAY8, range=1)
        real.append(np.stack([np.asarray(frame[0]).copy() for frame in grey.frames()]))
    spliced: list[Thumbnail] = []
    starts = []
    for part in (real[0], scenes[2], real[1], scenes[5], real[0][:20], real[1][:20]):
        starts.append(len(spliced))
        spliced += thumbnails(part, sigma, len(spliced))
    assert cuts(spliced) == starts[1:]


def test_a_flash_a_fade_and_flicker_are_no_cuts(scenes: list[NDArray[np.float32]]) -> None:
    scene = scenes[2]
    flash = scene.copy()
    flash[6] = 0.3 * flash[6] + 170
    fade = scene * np.linspace(1, 0, len(scene))[:, None, None]
    flicker = scene * (1 + 0.15 * (-1.0) ** np.arange(len(scene)))[:, None, None]
    for frames in (flash, fade, flicker):
        assert cuts(thumbnails(frames)) == []


def test_a_picture_after_black_and_black_after_a_picture_are_cuts(scenes: list[NDArray[np.float32]]) -> None:
    black = np.full((4, 90, 160), 16.0)
    clip = thumbnails(np.concatenate([black, scenes[0][:5], black, black + 200]))
    assert cuts(clip) == [4, 9, 13]


def test_a_fast_pan_is_no_cut() -> None:
    generator = np.random.default_rng(4)
    wide = np.cumsum(generator.standard_normal((90, 900)), 1) * 6
    wide = np.clip(128 + wide - wide.mean(1, keepdims=True), 0, 255)
    pan = np.stack([wide[:, 12 * n : 12 * n + 160] for n in range(40)])
    assert cuts(thumbnails(pan)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (7, 3), (2160, 17), (100, 100)])
def test_any_size(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    small = thumbnail([plane], GREY8)
    assert min(small.shape) <= min(9, *shape)
    assert np.isfinite(small).all()
    assert cuts([small] * 4) == []


def test_a_thumbnail_is_luma_on_the_8_bit_scale() -> None:
    limited = plane_scales(Coding(family="YUV", bits=10, matrix=1))
    assert np.allclose(thumbnail([np.full((90, 160), 940, np.uint16)], limited[:1]), 255)
    rgb = plane_scales(Coding(family="RGB", bits=None))
    planes = [np.full((90, 160), value, np.float16) for value in (1, 0, 0)]
    assert np.allclose(thumbnail(planes, rgb), 0.299 * 255)
    planes[1][:] = np.nan
    assert np.isfinite(thumbnail(planes, rgb)).all()


# ---- As a parameter --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(untrained: dict[str, str]) -> str:
    return untrained["deblur"]


def two_scenes(format: int = vs.RGBS) -> vs.VideoNode:
    """Sixteen frames, the second scene from 7 on; each frame differs a little."""
    rng = np.random.default_rng(9)
    pictures = rng.random((2, 6, 8)).repeat(4, 1).repeat(4, 2)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            grain = 0.05 * np.random.default_rng(3 * n + plane).standard_normal((24, 32))
            np.copyto(np.asarray(out[plane]), (pictures[int(n >= 7)] + grain).astype(np.float32))
        return out

    blank = core.std.BlankClip(width=32, height=24, format=vs.RGBS, length=16)
    clip = blank.std.ModifyFrame(blank, paint)
    kind = core.get_video_format(format)
    return (
        clip
        if format == vs.RGBS
        else clip.resize.Bicubic(format=format, matrix=1 if kind.color_family != vs.RGB else None)
    )


def test_detected_cuts_part_the_clip(model: str) -> None:
    # Properties that tell of other cuts count for nothing, and do not last.
    clip = two_scenes().std.SetFrameProps(Own=3)
    clip = clip[:4] + clip[4:6].std.SetFrameProps(**{PREV: 1, NEXT: 1}) + clip[6:]
    network = load_network(model)
    expected = restore(network, as_tensor(clip), cuts=(7,))
    assert (expected - restore(network, as_tensor(clip))).abs().max() > 1e-2
    detected = core.gshift.Deblur(clip, model=model, scenechange=2)
    assert (as_tensor(detected) - expected).abs().max() <= 1e-4
    for n, (before, after) in enumerate(zip(clip.frames(), detected.frames(), strict=True)):
        assert own_props(after) == {**before.props, PREV: n == 7, NEXT: n == 6}
    for order in ([15, 8, 7, 6, 0], [7, 6, 9]):
        node = core.gshift.Deblur(clip, model=model, scenechange=2)
        for n in order:
            assert (as_tensor(node[n])[0] - expected[n]).abs().max() <= 1e-4


@pytest.mark.parametrize("format", [vs.GRAY8, vs.YUV420P8, vs.YUV444PS, vs.RGB24, vs.RGBH], ids=lambda f: f.name)
def test_every_format_is_detected_alike(format: int, model: str) -> None:
    clip = two_scenes(format)
    marked = clip[:7] + clip[7].std.SetFrameProps(**{PREV: 1}) + clip[8:]
    detected = core.gshift.Deblur(clip, model=model, scenechange=2)
    read = core.gshift.Deblur(marked, model=model, scenechange=1)
    for actual, expected in zip(detected.frames(), read.frames(), strict=True):
        for plane in range(actual.format.num_planes):
            assert np.array_equal(np.asarray(actual[plane]), np.asarray(expected[plane]))


def test_a_scene_s_noise_is_its_own() -> None:
    quiet, loud = two_scenes()[:7], two_scenes()[7:]

    def louder(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            samples = np.asarray(out[plane])
            samples += np.random.default_rng(n).standard_normal(samples.shape, np.float32) / 4
        return out

    clip = quiet + loud.std.ModifyFrame(loud, louder)
    alone = core.gshift.Denoise(clip[:7]).get_frame(6)
    parted = core.gshift.Denoise(clip, scenechange=2).get_frame(6)
    for plane in range(3):
        assert np.abs(np.asarray(alone[plane]) - np.asarray(parted[plane])).max() <= 1e-4


@pytest.mark.parametrize("function", ["Deblur", "Denoise", "EstimateNoise"])
@pytest.mark.parametrize("value", [-1, 3])
def test_wrong_values(function: str, value: int) -> None:
    with pytest.raises(vs.Error, match=f"{function}: scenechange={value} is out of range; 0 to 2"):
        getattr(core.gshift, function)(two_scenes(), scenechange=value)
