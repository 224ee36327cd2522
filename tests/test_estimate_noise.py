"""`gshift.EstimateNoise`, and what Denoise makes of it where it is not told the noise."""

import random
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import as_tensor
from conftest import SHARED
from numpy.typing import NDArray

from training.clips import synthetic
from vsgshift import restore
from vsgshift.analysis import Coding, Level, level_to_remove, plane_scales
from vsgshift.weights import load_network

core = vs.core
MEDIA = SHARED / "media"
SIGMA, CONFIDENCE = "GShiftSigma", "GShiftSigmaConfidence"
YUV_GAIN = 1.73
"""What equal noise in all planes of limited-range 4:2:0 becomes in RGB, about."""
FORMATS = [
    vs.GRAY8, vs.GRAYS, vs.YUV420P8, vs.YUV420P10, vs.YUV411P8, vs.YUV444P16, vs.YUV422PS, vs.YUV420PH,
    vs.RGB24, vs.RGB48, vs.RGBH, vs.RGBS,
]  # fmt: skip


def grey(format: int, *, frames: int = 3, width: int = 160, height: int = 120, **props: int) -> vs.VideoNode:
    """Mid grey in every format."""
    kind = core.get_video_format(format)
    if kind.sample_type == vs.FLOAT:
        middle = [0.5, 0.0, 0.0] if kind.color_family == vs.YUV else [0.5] * kind.num_planes
    else:
        middle = [float(1 << (kind.bits_per_sample - 1))] * kind.num_planes
    middle = middle[: kind.num_planes]
    blank = core.std.BlankClip(width=width, height=height, length=frames, format=format, color=middle)
    return blank.std.SetFrameProps(**props) if props else blank


def noisy(
    clip: vs.VideoNode, sigma: float | Callable[[int], float], *, planes: tuple[float, float, float] = (1, 1, 1)
) -> vs.VideoNode:
    """The clip with noise in its planes: sigma on the 8-bit scale of their codes, times a factor a plane."""

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        level = sigma(n) if callable(sigma) else sigma
        kind = f.format
        unit = 1 / 255 if kind.sample_type == vs.FLOAT else 2.0 ** (kind.bits_per_sample - 8)
        for plane in range(kind.num_planes):
            samples = np.asarray(out[plane])
            noise = np.random.default_rng(3 * n + plane).standard_normal(samples.shape) * level * unit * planes[plane]
            if kind.sample_type == vs.FLOAT:
                samples[:] = samples + noise
            else:
                samples[:] = np.clip(np.round(samples + noise), 0, 2**kind.bits_per_sample - 1)
        return out

    return clip.std.ModifyFrame(clip, paint)


def in_rgb(clip: vs.VideoNode, n: int) -> NDArray[np.float64]:
    """A frame as the network sees it, on the 8-bit scale."""
    network_format = vs.GRAYS if clip.format.color_family == vs.GRAY else vs.RGBS
    # 6 is what a clip of this size is taken to have if it does not say.
    unspecified = clip.format.color_family == vs.YUV and "_Matrix" not in clip.get_frame(n).props
    with clip.resize.Bicubic(format=network_format, matrix_in=6 if unspecified else None).get_frame(n) as frame:
        return 255 * np.stack([np.asarray(frame[plane]).astype(np.float64) for plane in range(frame.format.num_planes)])


def deviation(clip: vs.VideoNode, clean: vs.VideoNode, n: int) -> float:
    """RMS over R, G and B of what was added."""
    return float(np.sqrt(np.square(in_rgb(clip, n) - in_rgb(clean, n)).mean()))


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_every_format_measures_what_the_network_sees(format: int) -> None:
    clean = grey(format)
    for planes in ((1, 1, 1), (1, 0.4, 0.2)):
        clip = noisy(clean, 9, planes=planes)
        props = core.gshift.EstimateNoise(clip).get_frame(1).props
        assert props[SIGMA] == pytest.approx(deviation(clip, clean, 1), rel=0.08)
        assert 0.9 < props[CONFIDENCE] <= 1


@pytest.mark.parametrize("matrix", [1, 4, 5, 7, 8, 9])
@pytest.mark.parametrize("range_", [0, 1])
@pytest.mark.parametrize("siting", [0, 1, 2])
def test_matrix_range_and_siting_count(matrix: int, range_: int, siting: int) -> None:
    clean = grey(vs.YUV420P8, _Matrix=matrix, _Range=range_, _ChromaLocation=siting, width=240, height=240)
    clip = noisy(clean, 9)
    actual = core.gshift.EstimateNoise(clip).get_frame(1).props[SIGMA]
    assert actual == pytest.approx(deviation(clip, clean, 1), rel=0.05)


def test_scales_of_float_and_of_unknown_matrices() -> None:
    assert plane_scales(Coding(family="YUV", bits=None, matrix=77)) == plane_scales(
        Coding(family="YUV", bits=None, matrix=1)
    )
    assert [scale.share for scale in plane_scales(Coding(family="YUV", bits=None, matrix=0))] == [255**2 / 3] * 3


@pytest.mark.parametrize("order", [range(11, -1, -1), random.Random(3).sample(range(12), 12)])
def test_properties_stay_and_order_does_not_matter(order: list[int]) -> None:
    clip = noisy(grey(vs.YUV420P8, frames=12, _Matrix=1), 12).std.SetFrameProps(Own=7, _SceneChangePrev=0)
    expected = [dict(frame.props) for frame in core.gshift.EstimateNoise(clip).frames()]
    node = core.gshift.EstimateNoise(clip)
    for n in order:
        assert dict(node.get_frame(n).props) == expected[n]
    added = {SIGMA, CONFIDENCE}
    assert {key: value for key, value in expected[3].items() if key not in added} == dict(clip.get_frame(3).props)
    assert added < set(expected[3])


def test_wrong_arguments() -> None:
    with pytest.raises(vs.Error, match="EstimateNoise: scenechange=3 is out of range"):
        core.gshift.EstimateNoise(grey(vs.GRAY8), scenechange=3)
    with pytest.raises(vs.Error, match="EstimateNoise: Gray32 is not supported"):
        core.gshift.EstimateNoise(core.std.BlankClip(format=vs.GRAY32))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 300), (7, 6)])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("format", [vs.GRAY16, vs.RGB24], ids=lambda format: format.name)
def test_tiny_clips(width: int, height: int, frames: int, format: int) -> None:
    clip = noisy(grey(format, width=width, height=height, frames=frames), 9)
    for frame in core.gshift.EstimateNoise(clip, scenechange=2).frames(close=True):
        assert 0 <= frame.props[SIGMA] < 60
        assert 0 <= frame.props[CONFIDENCE] <= 1
        assert frame.props["_SceneChangePrev"] == frame.props["_SceneChangeNext"] == 0
    assert len(list(core.gshift.Denoise(clip, scenechange=2).frames())) == frames


# ---- Denoise without a sigma -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(untrained: dict[str, str]) -> str:
    return untrained["denoise"]


def steps(n: int) -> float:
    """Noise that grows, with a scene change at 11."""
    return 5 + n if n < 11 else 40


def test_denoise_measures_if_no_sigma_is_given(model: str) -> None:
    clip = noisy(grey(vs.RGBS, frames=20, width=40, height=32), steps)
    cut = clip[:11] + clip[11].std.SetFrameProps(_SceneChangePrev=1) + clip[12:]
    levels = [Level(frame.props[SIGMA], frame.props[CONFIDENCE]) for frame in core.gshift.EstimateNoise(cut).frames()]
    # One frame in five is measured, and the first of each scene.
    levels = [each if n % 5 == 0 or n == 11 else Level(0.0, 0.0) for n, each in enumerate(levels)]
    sigmas = [level_to_remove(levels[max(n - 8, 0) : min(n + 9, 11)]) for n in range(11)]
    sigmas += [level_to_remove(levels[max(n - 8, 11) : n + 9]) for n in range(11, 20)]
    noise = torch.tensor(sigmas)[:, None, None, None].expand(-1, 1, 32, 40) / 255
    expected = restore(load_network(model), as_tensor(cut), noise, cuts=(11,))
    assert (as_tensor(core.gshift.Denoise(cut, model=model)) - expected).abs().max() <= 1e-4
    for order in ([19, 0, 11, 10], [15, 12, 9, 6, 3]):
        node = core.gshift.Denoise(cut, model=model)
        for n in order:
            assert (as_tensor(node[n])[0] - expected[n]).abs().max() <= 1e-4


def asked(clip: vs.VideoNode, order: Sequence[int], requests: int) -> dict[int, vs.VideoFrame]:
    """The frames, asked for in this order, `requests` at a time."""
    room, futures = threading.Semaphore(requests), {}
    for n in order:
        assert room.acquire(timeout=120), f"frame {n} waits for ever"
        futures[n] = clip.get_frame_async(n)
        futures[n].add_done_callback(lambda _: room.release())
    return {n: future.result(timeout=120) for n, future in futures.items()}


@pytest.fixture(scope="module")
def two_scenes() -> vs.VideoNode:
    """Twenty-eight frames, whose noise grows; at 13 the picture changes."""
    clip = noisy(grey(vs.RGBS, frames=28, width=32, height=24), steps)
    return clip[:13] + clip[13:].std.Expr("x 0.4 -")


@pytest.fixture(scope="module")
def in_order(two_scenes: vs.VideoNode, model: str) -> tuple[list[dict[str, object]], torch.Tensor]:
    """The properties that EstimateNoise gives it, and Denoise's frames, asked for one by one."""
    measured = core.gshift.EstimateNoise(two_scenes, scenechange=2)
    denoised = core.gshift.Denoise(two_scenes, model=model, scenechange=2)
    return [dict(measured.get_frame(n).props) for n in range(28)], as_tensor(denoised)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("requests", [1, 4, 32])
def test_any_number_of_threads_and_requests(
    threads: int,
    requests: int,
    model: str,
    two_scenes: vs.VideoNode,
    in_order: tuple[list[dict[str, object]], torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "num_threads", threads)
    props, pictures = in_order
    assert [n for n in range(28) if props[n]["_SceneChangePrev"]] == [13]
    measured = core.gshift.EstimateNoise(two_scenes, scenechange=2)
    for n, frame in asked(measured, random.Random(requests).sample(range(28), 28), requests).items():
        assert dict(frame.props) == props[n]
    denoised = core.gshift.Denoise(two_scenes, model=model, scenechange=2)
    for n, frame in asked(denoised, range(28), requests).items():
        actual = torch.from_numpy(np.stack([np.asarray(frame[plane]) for plane in range(3)]))
        assert (actual - pictures[n]).abs().max() <= 1e-5


def test_no_source_frame_is_read_twice_in_order(model: str) -> None:
    reads: dict[int, int] = {}

    def count(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        reads[n] = reads.get(n, 0) + 1
        return f

    source = noisy(grey(vs.YUV420P8, frames=50, width=32, height=24), 9)
    for scenechange in (1, 2):
        reads.clear()
        node = core.gshift.Denoise(source.std.ModifyFrame(source, count), model=model, scenechange=scenechange)
        # One by one: how many of several requests at once find a frame in VapourSynth's cache is chance.
        for n in range(50):
            node.get_frame(n).close()
        assert reads == dict.fromkeys(range(50), 1)


def test_clean_clips_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    frames = (255 * synthetic.clip(generator, frames=9, size=(96, 128), speed=3.0)).round().byte().numpy()

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), frames[n, plane])
        return out

    blank = core.std.BlankClip(width=128, height=96, format=vs.RGB24, length=9)
    clip = blank.std.ModifyFrame(blank, paint)
    change = [np.square(in_rgb(core.gshift.Denoise(clip), n) - in_rgb(clip, n)).mean() for n in range(0, 9, 4)]
    # 42 dB.
    assert np.mean(change) < 255**2 / 10**4.2


# ---- Real clips ------------------------------------------------------------------------------------


@pytest.mark.skipif(not MEDIA.is_dir() or not hasattr(core, "bs"), reason="needs the footage beside the checkout")
@pytest.mark.parametrize("format", [vs.YUV420P8, vs.RGB24, vs.RGBS], ids=lambda format: format.name)
@pytest.mark.parametrize("name", ["street.mp4", "hands.mkv"])
def test_real_clips(name: str, format: int) -> None:
    source = core.bs.VideoSource(str(MEDIA / name), cachemode=0)[40:43].std.SetFrameProps(_Matrix=6)
    half = source.resize.Bicubic(source.width // 2, source.height // 2)
    for clean in (source, half):
        clean = clean.resize.Bicubic(format=format) if format != vs.YUV420P8 else clean
        assert core.gshift.EstimateNoise(clean).get_frame(1).props[SIGMA] < 2
    # Clipping takes noise away, so the truth is what is added to a clip with room for it.
    colours = {key: value for key, value in clean.get_frame(1).props.items() if key in ("_Matrix", "_Range")}
    room = grey(format, **colours)
    for sigma in (5, 10, 20, 30, 50):
        # In chroma this noise counts for more than in luma: 50 must be 50 in RGB.
        added = sigma if format != vs.YUV420P8 else sigma / YUV_GAIN
        truth = deviation(noisy(room, added), room, 1)
        actual = core.gshift.EstimateNoise(noisy(clean, added)).get_frame(1).props
        assert actual[SIGMA] == pytest.approx(truth, rel=0.15), sigma
        assert actual[CONFIDENCE] > 0.5
