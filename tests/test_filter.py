"""`core.gshift` in process: every order of requests, clear errors."""

import random
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import as_tensor, max_abs_diff, moving, own_props, samples
from hypothesis import given
from hypothesis import strategies as some

from vsgshift import restore
from vsgshift.network import ShiftNet
from vsgshift.plugin._bridge import Core, Node
from vsgshift.plugin.colour import converted_around
from vsgshift.plugin.restorer import Restorer
from vsgshift.streaming import Stream, TiledStream
from vsgshift.weights import load_network

core = vs.core


def test_equals_restore(untrained: dict[str, str]) -> None:
    clip = moving(frames=23, width=21, height=13)
    expected = restore(load_network(untrained["deblur"]), as_tensor(clip))
    actual = as_tensor(core.gshift.Deblur(clip, model=untrained["deblur"]))
    assert (actual - expected).abs().max() <= 1e-5
    assert (expected - as_tensor(clip)).abs().max() > 1e-2


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU has no bfloat16 arithmetic")
@pytest.mark.parametrize("task", ["Deblur", "Denoise"])
def test_half_precision_of_a_cpu(task: str, untrained: dict[str, str]) -> None:
    clip, model = moving(frames=6, width=21, height=13), untrained[task.lower()]
    options = {"sigma": 10} if task == "Denoise" else {}
    before, expected = (as_tensor(each) for each in (clip, getattr(core.gshift, task)(clip, model=model, **options)))
    actual = as_tensor(getattr(core.gshift, task)(clip, model=model, fp16=True, device_id=-1, **options))
    assert not torch.equal(actual, expected)
    assert (actual - expected).norm() <= 2e-2 * (expected - before).norm()


def test_out_of_range_floats_pass(untrained: dict[str, str]) -> None:
    clip = core.std.BlankClip(format=vs.RGBS, width=16, height=16, length=2, color=[1.5, -0.25, 7.0])
    after = core.gshift.Deblur(clip, model=untrained["deblur"], strength=1e-6).get_frame(0)
    for plane, value in zip(samples(after), (1.5, -0.25, 7.0), strict=True):
        assert np.allclose(plane, value, atol=1e-3)


@pytest.mark.parametrize(
    ("format", "within"),
    [(vs.YUV420P8, vs.RGBH), (vs.RGB24, vs.RGBH), (vs.GRAY8, vs.GRAYH), (vs.RGBH, vs.RGBH), (vs.YUV420P10, vs.RGBS)],
    ids=lambda format: format.name,
)
def test_half_floats_between_graph_and_card(
    format: int, within: int, untrained: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = moving(frames=8, format=format)

    def filtered(strength: float) -> list[vs.VideoFrame]:
        return list(core.gshift.Deblur(clip, model=untrained["deblur"], strength=strength).frames())

    expected, formats = filtered(1), []

    def around(core: Core, clip: Node, make: Callable[[Node], Node], *, half: bool) -> Node:
        assert not half, "on a CPU"

        def noted(node: Node) -> Node:
            formats.append(node.format.id)
            return make(node)

        return converted_around(core, clip, noted, half=True)

    monkeypatch.setattr("vsgshift.plugin.functions.converted_around", around)
    tolerance = 2**-10 if format == vs.RGBH else 1
    for actual, reference, source, same in zip(filtered(1), expected, clip.frames(), filtered(1e-6), strict=True):
        assert max_abs_diff(actual, reference) <= tolerance
        # A whole level lies 8 of those steps or more from the next one.
        assert format not in (vs.RGB24, vs.GRAY8) or max_abs_diff(same, source) == 0
    assert formats == [within, within]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (7, 3), (33, 17)])
def test_odd_sizes(width: int, height: int, untrained: dict[str, str]) -> None:
    for format in (vs.GRAY8, vs.RGB24, vs.YUV444P8):
        clip = moving(frames=3, width=width, height=height, format=format)
        restored = core.gshift.Deblur(clip, model=untrained["deblur"])
        assert (restored.width, restored.height, restored.num_frames) == (width, height, 3)
        assert len(list(restored.frames())) == 3


@pytest.mark.parametrize("format", [vs.RGBS, vs.YUV420P8], ids=lambda format: format.name)
def test_order_of_requests_does_not_matter(format: int, untrained: dict[str, str]) -> None:
    clip = moving(frames=40, format=format)

    def filtered() -> vs.VideoNode:
        return core.gshift.Denoise(clip, sigma=20, model=untrained["denoise"])

    expected = list(filtered().frames())
    tolerance = 1e-4 if format == vs.RGBS else 1
    shuffled = random.Random(1).sample(range(40), 40)
    for order in (range(39, -1, -1), shuffled, [39, 0, 39, 1, 20, 19, 20, 21], range(0, 40, 7)):
        node = filtered()
        for n in order:
            assert max_abs_diff(node.get_frame(n), expected[n]) <= tolerance
    for backlog in (1, 8, 32):
        for actual, reference in zip(filtered().frames(backlog=backlog), expected, strict=True):
            assert max_abs_diff(actual, reference) <= tolerance
    edited = core.std.Splice([filtered()[30:35], filtered()[5:8]])
    for actual, n in zip(edited.frames(), [*range(30, 35), *range(5, 8)], strict=True):
        assert max_abs_diff(actual, expected[n]) <= tolerance
    for actual, n in zip(filtered()[::3].frames(), range(0, 40, 3), strict=True):
        assert max_abs_diff(actual, expected[n]) <= tolerance


def test_positions_side_by_side(untrained: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two positions in turns, each by a stream of its own: no stream starts again, and nothing changes."""
    clip = moving(frames=120)
    expected = list(core.gshift.Deblur(clip, model=untrained["deblur"]).frames())
    begun = 0
    new_stream = Restorer._new_stream

    def counted(restorer: Restorer, *, midway: bool) -> Stream | TiledStream:
        nonlocal begun
        begun += 1
        return new_stream(restorer, midway=midway)

    monkeypatch.setattr(Restorer, "_new_stream", counted)
    begun_by = {}
    for streams in (1, 2):
        begun = 0
        filtered = core.gshift.Deblur(clip, model=untrained["deblur"], num_streams=streams)
        for n in [n for pair in zip(range(10, 30), range(80, 100), strict=True) for n in pair]:
            assert max_abs_diff(filtered.get_frame(n), expected[n]) <= 1e-5
        begun_by[streams] = begun
    assert begun_by[1] > 8
    assert begun_by[2] == 2


def test_more_positions_than_streams(untrained: dict[str, str]) -> None:
    clip = moving(frames=120)
    expected = list(core.gshift.Deblur(clip, model=untrained["deblur"]).frames())
    filtered = core.gshift.Deblur(clip, model=untrained["deblur"], num_streams=2)
    rng = random.Random(4)
    for n in [rng.randrange(120) for _ in range(12)] + [5, 64, 4, 119, 65, 6, 0]:
        assert max_abs_diff(filtered.get_frame(n), expected[n]) <= 1e-5


def test_no_source_frame_is_read_twice_in_order(untrained: dict[str, str]) -> None:
    reads: dict[int, int] = {}

    def count(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        reads[n] = reads.get(n, 0) + 1
        return f

    source = moving(frames=60)
    node = core.gshift.Deblur(source.std.ModifyFrame(source, count), model=untrained["deblur"])
    for _ in node.frames(backlog=8):
        pass
    assert len(reads) == 60
    assert sum(reads.values()) == 60


def test_two_filters_chained(untrained: dict[str, str]) -> None:
    clip = moving(frames=12)
    first = restore(load_network(untrained["deblur"]), as_tensor(clip))
    expected = restore(load_network(untrained["denoise"]), first, torch.full((12, 1, 16, 24), 10 / 255))
    chained = core.gshift.Denoise(
        core.gshift.Deblur(clip, model=untrained["deblur"]), sigma=10, model=untrained["denoise"]
    )
    assert (as_tensor(chained) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("prop", ["_SceneChangePrev", "_SceneChangeNext"])
def test_scene_changes(prop: str, untrained: dict[str, str]) -> None:
    clip = moving(frames=20)
    cut = 9
    marked_frame = cut if prop == "_SceneChangePrev" else cut - 1
    marked = core.std.Splice(
        [
            clip[:marked_frame],
            clip[marked_frame].std.SetFrameProps(**{prop: 1}),
            clip[marked_frame + 1 :],
        ]
    )
    network = load_network(untrained["deblur"])
    honoured = core.gshift.Deblur(marked, model=untrained["deblur"])
    expected = restore(network, as_tensor(clip), cuts=(cut,))
    assert (as_tensor(honoured) - expected).abs().max() <= 1e-4
    for n in (11, 9, 8, 10):
        node = core.gshift.Deblur(marked, model=untrained["deblur"])
        assert (as_tensor(node[n])[0] - expected[n]).abs().max() <= 1e-4
    ignored = core.gshift.Deblur(marked, model=untrained["deblur"], scenechange=False)
    assert (as_tensor(ignored) - restore(network, as_tensor(clip))).abs().max() <= 1e-4


@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY16, vs.GRAYS], ids=lambda format: format.name)
def test_sigma_map(format: int, untrained: dict[str, str]) -> None:
    clip = moving(frames=6)
    value = {vs.GRAY8: 51.0, vs.GRAY16: 13107.0, vs.GRAYS: 0.2}[format]
    levels = core.std.BlankClip(clip, format=format, color=value)
    mapped = core.gshift.Denoise(clip, sigma_map=levels, model=untrained["denoise"])
    constant = core.gshift.Denoise(clip, sigma=51, model=untrained["denoise"])
    assert (as_tensor(mapped) - as_tensor(constant)).abs().max() <= 1e-5


def test_strength(untrained: dict[str, str]) -> None:
    clip = moving(frames=6)
    source, full, half = (
        as_tensor(core.gshift.Deblur(clip, model=untrained["deblur"], strength=strength)) for strength in (0, 1, 0.5)
    )
    assert torch.equal(source, as_tensor(clip))
    assert (half - (source + full) / 2).abs().max() <= 1e-5


def test_information() -> None:
    assert core.gshift.Version()["version"]
    assert core.gshift.DeviceProperties(device_id=-1)["total_memory"] > 0
    models = core.gshift.Models()
    assert models["name"][:3] == ["tiny-deblur", "tiny-denoise", "fine-denoise"]
    assert len({len(column) for column in models.values()}) == 1


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("Deblur", {"model": "gopr"}, "Deblur: unknown model 'gopr'; there are: tiny-deblur"),
        ("Deblur", {"model": "tiny-denoise"}, "is made for gshift.Denoise"),
        ("Deblur", {"model": "fine"}, "Deblur: unknown model 'fine'; there are: tiny-deblur"),
        ("Deblur", {"strength": 1.5}, "strength=1.5 is out of range"),
        ("Deblur", {"block": 0}, "block=0 is out of range"),
        ("Deblur", {"num_streams": 0}, "num_streams=0 is out of range; 1 to 16: positions"),
        ("Deblur", {"device_id": 99}, "device_id=99 does not exist"),
        ("Denoise", {"sigma": -1}, "sigma=-1 is out of range"),
        ("Denoise", {"sigma": 256}, "sigma=256 is out of range"),
        ("Denoise", {"sigma": float("nan")}, "sigma=nan is out of range"),
    ],
)
def test_wrong_arguments(function: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(vs.Error, match=message) as caught:
        getattr(core.gshift, function)(moving(frames=2), **arguments)
    assert "\n" not in str(caught.value)


def test_wrong_clips() -> None:
    clip = moving(frames=2)
    levels = core.std.BlankClip(clip, format=vs.GRAY8)
    with pytest.raises(vs.Error, match="both given"):
        core.gshift.Denoise(clip, sigma=1, sigma_map=levels)
    with pytest.raises(vs.Error, match="size and length"):
        core.gshift.Denoise(clip, sigma_map=levels[0])
    with pytest.raises(vs.Error, match="GRAY"):
        core.gshift.Denoise(clip, sigma_map=clip)
    with pytest.raises(vs.Error, match="varies"):
        core.gshift.Deblur(core.std.Splice([clip, clip.resize.Point(8, 8)], mismatch=True))
    with pytest.raises(vs.Error, match="not supported"):
        core.gshift.Deblur(clip.std.BlankClip(format=vs.GRAY32))


def test_missing_and_broken_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSGSHIFT_MODELS", str(tmp_path))
    with pytest.raises(vs.Error, match="python -m vsgshift download gopro"):
        core.gshift.Deblur(moving(frames=2), model="gopro")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(vs.Error, match="is no file of weights"):
        core.gshift.Deblur(moving(frames=2), model=str(broken))


class Log:
    """The warnings of VapourSynth's log."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def __enter__(self) -> list[str]:
        def keep(kind: vs.MessageType, message: str) -> None:
            if kind == vs.MESSAGE_TYPE_WARNING:
                self.warnings.append(message)

        self.handle = core.add_log_handler(keep)
        return self.warnings

    def __exit__(self, *_error: object) -> None:
        core.remove_log_handler(self.handle)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("format", [vs.RGBS, vs.GRAYS, vs.RGBH], ids=lambda format: format.name)
def test_samples_that_are_not_finite_stay_where_they_are(format: int, value: float, untrained: dict[str, str]) -> None:
    clip = moving(format=format)
    expected = list(core.gshift.Deblur(clip, model=untrained["deblur"]).frames())
    holes = {8: [(0, 3, 5), (0, 3, 6)], 9: [(0, 0, 0)]}

    def punch(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane, row, column in holes.get(n, []):
            np.asarray(frame[plane])[row, column] = value
        return frame

    with Log() as warnings:
        restored = core.gshift.Deblur(clip.std.ModifyFrame(clip, punch), model=untrained["deblur"])
        for n, frame in enumerate(restored.frames()):
            for plane in range(frame.format.num_planes):
                samples, right = np.asarray(frame[plane]), np.asarray(expected[n][plane]).copy()
                for other, row, column in holes.get(n, []):
                    if other == plane:
                        right[row, column] = value
                broken = ~np.isfinite(right)
                assert np.array_equal(samples[broken], right[broken], equal_nan=True)
                # A filled sample is not the one that was there: what is around differs a little.
                assert np.abs(samples[~broken].astype(np.float32) - right[~broken]).max() < 0.2
    assert warnings == ["Deblur: frame 8 and perhaps others have NaN or infinite samples, which stay as they are"]


def test_sigma_map_is_limited_to_the_range_of_sigma(untrained: dict[str, str]) -> None:
    clip = moving(frames=6)
    limited = core.std.BlankClip(clip, format=vs.GRAYS, keep=True)

    def write(n: int, f: vs.VideoFrame, values: tuple[float, ...]) -> vs.VideoFrame:
        frame = f.copy()
        plane = np.asarray(frame[0])
        for index, value in enumerate(values):
            plane[index::3] = value
        return frame

    def denoised(*values: float) -> vs.VideoNode:
        levels = limited.std.ModifyFrame(limited, lambda n, f: write(n, f, values))
        return core.gshift.Denoise(clip, sigma_map=levels, model=untrained["denoise"])

    for values, right in (((-3.0, 5.0, 0.1), (0.0, 1.0, 0.1)), ((np.nan, np.inf, -np.inf), (0.0, 1.0, 0.0))):
        assert max_abs_diff(denoised(*values).get_frame(2), denoised(*right).get_frame(2)) == 0


@pytest.mark.parametrize("range_", [vs.RANGE_LIMITED, vs.RANGE_FULL])
def test_sigma_map_has_one_scale_whatever_its_range_property(range_: int, untrained: dict[str, str]) -> None:
    clip = moving(frames=2)
    levels = core.std.BlankClip(clip, format=vs.GRAY8, color=51).std.SetFrameProps(_Range=range_)
    mapped = core.gshift.Denoise(clip, sigma_map=levels, model=untrained["denoise"])
    constant = core.gshift.Denoise(clip, sigma=51, model=untrained["denoise"])
    assert max_abs_diff(mapped.get_frame(0), constant.get_frame(0)) <= 1e-5


def test_interlaced_frames_are_refused(untrained: dict[str, str]) -> None:
    clip = moving(frames=40)
    mixed = clip[:25] + clip[25:].std.SetFieldBased(2)
    restored = core.gshift.Deblur(mixed, model=untrained["deblur"])
    restored.get_frame(0)
    with pytest.raises(vs.Error, match=r"^Deblur: frame 25 is interlaced \(_FieldBased\); deinterlace it first"):
        restored.get_frame(30)
    restored.get_frame(0)
    list(core.gshift.Deblur(mixed.std.SetFieldBased(0), model=untrained["deblur"]).frames())


YUV = (vs.YUV420P8, vs.YUV444P16, vs.YUV422PS)


@pytest.mark.parametrize("format", [*YUV, vs.RGB24, vs.RGBH, vs.GRAY8], ids=lambda format: format.name)
@pytest.mark.parametrize("planes", [[0], [1, 2], [2], [0, 1, 2]], ids=str)
def test_planes_that_are_not_named_are_the_sources(format: int, planes: list[int], untrained: dict[str, str]) -> None:
    clip = moving(frames=6, format=format).std.SetFrameProps(Own=3, _SceneChangePrev=0)
    count = clip.format.num_planes
    if any(plane >= count for plane in planes):
        with pytest.raises(vs.Error, match=rf"planes has [12]; the clip is {clip.format.name}, with 1 plane$"):
            core.gshift.Deblur(clip, model=untrained["deblur"], planes=planes)
        return
    whole = core.gshift.Deblur(clip, model=untrained["deblur"])
    some = core.gshift.Deblur(clip, model=untrained["deblur"], planes=planes)
    for n, source in enumerate(clip.frames()):
        frame, full = some.get_frame(n), whole.get_frame(n)
        assert own_props(frame) == dict(source.props)
        for plane in range(count):
            wanted = full if plane in planes else source
            assert np.array_equal(np.asarray(frame[plane]), np.asarray(wanted[plane]))
            assert not np.array_equal(np.asarray(full[plane]), np.asarray(source[plane]))


def test_a_sigma_for_each_plane(untrained: dict[str, str]) -> None:
    clip = moving(frames=6, format=vs.YUV420P8)

    def denoised(sigma: Sequence[float] | float, **more: object) -> list[vs.VideoFrame]:
        return list(core.gshift.Denoise(clip, sigma=sigma, model=untrained["denoise"], **more).frames())

    alone = {sigma: denoised(sigma) for sigma in (10, 30)} | {0: list(clip.frames())}
    for levels, each in (([30, 10], (30, 10, 10)), ([10, 0, 30], (10, 0, 30)), ([0, 30, 30], (0, 30, 30))):
        for n, frame in enumerate(denoised(levels)):
            for plane, sigma in enumerate(each):
                assert np.array_equal(np.asarray(frame[plane]), np.asarray(alone[sigma][n][plane]))
            assert frame.props["GShiftDenoiseSigma"] == levels
    one = denoised([30, 10, 10], planes=0)[2]
    assert np.array_equal(np.asarray(one[0]), np.asarray(alone[30][2][0]))
    assert np.array_equal(np.asarray(one[1]), np.asarray(alone[0][2][1]))
    with pytest.raises(vs.Error, match="sigma has 2 values; the clip is Gray8, with 1 plane"):
        core.gshift.Denoise(clip.std.ShufflePlanes(0, vs.GRAY), sigma=[1, 2])


def test_properties_say_what_was_applied(untrained: dict[str, str]) -> None:
    clip = moving(frames=12, format=vs.YUV444P8)
    sharp = core.gshift.Deblur(clip, model=untrained["deblur"], strength=0.5, planes=[2, 0])
    both = core.gshift.Denoise(sharp, sigma=12, model=untrained["denoise"]).get_frame(3).props
    applied = {key: value for key, value in both.items() if key.startswith("GShift")}
    name = load_network(untrained["deblur"]).name
    assert applied == {
        "GShiftDeblurModel": name,
        "GShiftDeblurStrength": 0.5,
        "GShiftDeblurPlanes": [0, 2],
        "GShiftDenoiseModel": load_network(untrained["denoise"]).name,
        "GShiftDenoiseStrength": 1.0,
        "GShiftDenoisePlanes": [0, 1, 2],
        "GShiftDenoiseSigma": 12.0,
    }
    levels = core.std.BlankClip(clip, format=vs.GRAY8, color=12)
    mapped = core.gshift.Denoise(sharp, sigma_map=levels, model=untrained["denoise"]).get_frame(3).props
    assert "GShiftDenoiseSigma" not in mapped
    for source in (core.gshift.Deblur(clip, strength=0), core.gshift.Denoise(clip, sigma=[0, 0, 0])):
        assert dict(source.get_frame(0).props) == dict(clip.get_frame(0).props)


def test_the_property_has_the_sigma_that_was_measured(untrained: dict[str, str]) -> None:
    clip = moving(frames=24, width=64, height=48)
    measured = core.gshift.Denoise(clip, model=untrained["denoise"])
    for n in (20, 3, 4):
        frame = measured.get_frame(n)
        sigma = frame.props["GShiftDenoiseSigma"]
        assert 1 < sigma < 255
        same = core.gshift.Denoise(clip, model=untrained["denoise"], sigma_map=sigmas(clip, measured))
        assert max_abs_diff(same.get_frame(n), frame) <= 1e-5


def sigmas(clip: vs.VideoNode, applied: vs.VideoNode) -> vs.VideoNode:
    """A map of the levels that frames say."""
    blank = core.std.BlankClip(clip, format=vs.GRAYS)
    return core.std.FrameEval(
        blank, lambda n, f: blank.std.BlankClip(color=f.props["GShiftDenoiseSigma"] / 255), prop_src=applied
    )


@pytest.mark.parametrize("options", [{}, {"block": 1}, {"num_streams": 3}, {"offload": True}])
def test_a_failing_source_frame_fails_its_neighbours_for_as_long_as_it_fails(
    untrained: dict[str, str], options: dict[str, int]
) -> None:
    source = moving(frames=60)
    expected = list(core.gshift.Deblur(source, model=untrained["deblur"]).frames())
    bad, broken = 20, True

    def fail(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        if n == bad and broken:
            raise RuntimeError("the disk is gone")
        return f

    def play(order: range) -> set[int]:
        failed = set()
        for n in order:
            try:
                assert max_abs_diff(node.get_frame(n), expected[n]) <= 1e-5
            except vs.Error:
                failed.add(n)
        return failed

    radius = load_network(untrained["deblur"]).radius
    depending = {n for n in range(60) if abs(n - bad) <= radius}
    node = core.gshift.Deblur(source.std.ModifyFrame(source, fail), model=untrained["deblur"], **options)
    assert depending <= play(range(60)) <= {n for n in range(60) if abs(n - bad) <= radius + 4}
    assert play(range(59, -1, -1)) == play(range(60)) == depending
    broken = False
    assert play(range(60)) == set()


def test_sources_that_fail_now_and_then_change_no_frame(untrained: dict[str, str]) -> None:
    source = moving(frames=30)
    levels = core.std.BlankClip(source, format=vs.GRAYS, color=0.1, keep=True)
    expected = list(core.gshift.Denoise(source, sigma_map=levels, model=untrained["denoise"]).frames())
    rng = random.Random(7)

    def flaky(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        if rng.random() < 0.03:
            raise RuntimeError("flaky")
        return f

    for order in (list(range(30)), rng.sample(range(30), 30)):
        clip, map_ = (each.std.ModifyFrame(each, flaky) for each in (source, levels))
        node = core.gshift.Denoise(clip, sigma_map=map_, model=untrained["denoise"])
        tries = 0
        while order:
            frames = [(n, node.get_frame_async(n)) for n in order]
            order = []
            for n, frame in frames:
                try:
                    assert max_abs_diff(frame.result(), expected[n]) <= 1e-5
                except vs.Error:
                    order.append(n)
            tries += 1
        assert tries < 40


class Graph:
    """Filters behind sources whose frames fail as ``broken`` says: their numbers, by source."""

    KINDS = ("deblur", "denoise", "measured", "streams", "map", "yuv", "chain")
    LENGTH = 24

    def __init__(self, kind: str, files: dict[str, str]) -> None:
        self.broken: tuple[frozenset[int], frozenset[int]] = frozenset(), frozenset()
        deblur, denoise = ({"model": files[task], "device_id": -1} for task in ("deblur", "denoise"))
        format = vs.YUV420P8 if kind == "yuv" else vs.RGBS
        clip = self._failing(0, moving(frames=self.LENGTH, width=28, height=20, format=format))
        levels = self._failing(1, core.std.BlankClip(clip, format=vs.GRAYS, color=0.1, keep=True))
        self.uses = {0, 1} if kind == "map" else {0}
        self.radius = load_network(files["denoise"]).radius
        match kind:
            case "deblur":
                self.node = core.gshift.Deblur(clip, **deblur)
            case "chain":
                self.node = core.gshift.Deblur(core.gshift.Denoise(clip, sigma=9, **denoise), **deblur)
            case "map":
                self.node = core.gshift.Denoise(clip, sigma_map=levels, **denoise)
            case _:
                options = {"measured": {}, "streams": {"sigma": 9, "num_streams": 3}}.get(kind, {"sigma": 9})
                self.node = core.gshift.Denoise(clip, **options, **denoise)
        if kind in ("deblur", "chain"):
            self.radius = load_network(files["deblur"]).radius + (self.radius if kind == "chain" else 0)

    def _failing(self, source: int, clip: vs.VideoNode) -> vs.VideoNode:
        def fail(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            if n in self.broken[source]:
                raise RuntimeError("cannot be read")
            return f

        return clip.std.ModifyFrame(clip, fail)

    def play(self, order: list[int], clean: list[vs.VideoFrame]) -> list[int]:
        """Request frames, all at once, and compare those that come. Returns those that fail."""
        failed = []
        for n, frame in [(n, self.node.get_frame_async(n)) for n in order]:
            try:
                assert max_abs_diff(frame.result(), clean[n]) <= (1 if clean[n].format.id == vs.YUV420P8 else 1e-5)
            except vs.Error:
                failed.append(n)
        return failed


@cache
def until() -> float:
    """When hypothesis shall have ended, from its first example on."""
    return time.monotonic() + 120


@pytest.mark.slow
@given(
    some.sampled_from(Graph.KINDS),
    some.lists(
        some.tuples(
            some.tuples(*[some.frozensets(some.integers(0, Graph.LENGTH - 1), max_size=2)] * 2),
            some.lists(some.integers(0, Graph.LENGTH - 1), min_size=1, max_size=30),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_fails_harms_its_neighbours_alone_and_for_as_long_as_it_fails(
    untrained: dict[str, str], kind: str, times: list[tuple[tuple[frozenset[int], frozenset[int]], list[int]]]
) -> None:
    if time.monotonic() > until():
        return
    clean = clean_run(kind, tuple(untrained.items()))
    graph = Graph(kind, untrained)
    for turn, (graph.broken, order) in enumerate(times):
        broken = frozenset().union(*(graph.broken[source] for source in graph.uses))
        depending = {n for n in order if any(abs(n - number) <= graph.radius for number in broken)}
        failed = graph.play(order, clean)
        assert turn or depending <= {*failed}
        # What was read ahead, or on the way back, fails others once; of a chain, at each of its filters.
        others = [n for n in failed if n not in depending]
        for _ in range(2 * len(broken)):
            others = graph.play(others, clean)
        assert others == []


@cache
def clean_run(kind: str, files: tuple[tuple[str, str], ...]) -> list[vs.VideoFrame]:
    """All frames of a graph whose sources do not fail."""
    return list(Graph(kind, dict(files)).node.frames())


def test_out_of_memory_says_what_to_do(untrained: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_args: object, **_kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    node = core.gshift.Deblur(moving(frames=3), model=untrained["deblur"])
    monkeypatch.setattr(ShiftNet, "run", exhausted)
    with pytest.raises(vs.Error, match="Deblur: out of memory; lower block"):
        node.get_frame(0)
    monkeypatch.undo()
    node.get_frame(0)
