"""Every kind of colour through the filter at full strength, against the standards' formulas and the plain network.

At full strength a network that is fed wrong colours gives wrong colours, even if the way back undoes the mistake.
"""

from functools import cache

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import max_abs_diff, own_props, samples
from colour_reference import KR_KB, YCGCO, Colour
from numpy.typing import NDArray

from vsgshift import restore
from vsgshift.h273 import usual_matrix
from vsgshift.plugin.colour import MATRICES
from vsgshift.weights import load_network

core = vs.core
BY_FORMULA = (*KR_KB, YCGCO)
SUBSAMPLED = (vs.YUV420P8, vs.YUV422P8, vs.YUV440P8, vs.YUV411P8, vs.YUV410P8)
DEPTHS = (8, 9, 10, 11, 12, 14, 15, 16, "half", "single")
NEED_TRANSFER = {10: (14, 9), 12: (1, 1), 13: (14, 9), 14: (16, 9)}
"""Transfer and primaries that go with a matrix which is none of `BY_FORMULA`."""
FRAMES, WIDTH, HEIGHT = 2, 24, 16
plain_network = cache(load_network)
TOLERANCE = 1e-4
"""Of the whole scale, beside rounding: what the network's fast ways may differ by."""


def name_of(format: int) -> str:
    return str(core.get_video_format(format).name)


def format_of(family: vs.ColorFamily, depth: int | str, halvings: tuple[int, int] = (0, 0)) -> int:
    """The number of a format; depth in bits, or "half" or "single" for floats."""
    bits = {"half": 16, "single": 32}.get(str(depth), depth)
    sample_type = vs.FLOAT if isinstance(depth, str) else vs.INTEGER
    return int(core.query_video_format(family, sample_type, bits, *halvings).id)


def coloured(format: int, width: int = WIDTH, **props: int) -> vs.VideoNode:
    """Strong colours that change from pixel to pixel and from frame to frame, all within RGB and both ranges."""
    kind = core.get_video_format(format)
    blank = core.std.BlankClip(width=width, height=HEIGHT, length=FRAMES, format=format)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out, draw = f.copy(), np.random.default_rng(n)
        for index in range(kind.num_planes):
            plane = np.asarray(out[index])
            chroma = kind.color_family == vs.YUV and index > 0
            values = (0.3 + 0.4 * draw.random(plane.shape)) if chroma else (0.2 + 0.6 * draw.random(plane.shape))
            if kind.sample_type == vs.FLOAT:
                plane[:] = values - 0.5 * chroma
            else:
                plane[:] = values * 2**kind.bits_per_sample
        return out

    clip = core.std.ModifyFrame(blank, blank, paint)
    return clip.std.SetFrameProps(**props) if props else clip


def network_alone(pictures: list[NDArray[np.float64]], file: str) -> list[NDArray[np.float64]]:
    """The plain network on RGB (3, H, W) or GRAY (1, H, W) pictures; GRAY fills all channels, their mean comes back."""
    clip = torch.from_numpy(np.stack([np.broadcast_to(picture, (3, *picture.shape[1:])) for picture in pictures]))
    restored = restore(plain_network(file), clip.float()).double()
    return list((restored if len(pictures[0]) == 3 else restored.mean(1, keepdim=True)).numpy())


def assert_restored(clip: vs.VideoNode, file: str, *readings: Colour) -> None:
    """The filter's frames are those of the plain network between conversions by formula.

    readings: of the colours of each frame, or one for all.
    """
    frames = list(clip.frames())
    each = readings if len(readings) == len(frames) else readings * len(frames)
    pictures = [reading.to_rgb(samples(frame)) for reading, frame in zip(each, frames, strict=True)]
    restored = network_alone(pictures, file)
    for reading, frame, picture, after in zip(
        each, frames, restored, core.gshift.Deblur(clip, model=file).frames(), strict=True
    ):
        assert after.format.id == frame.format.id
        assert own_props(after) == dict(frame.props)
        expected = reading.from_rgb(picture)
        for index, (output, plane) in enumerate(zip(samples(after), expected, strict=True)):
            kind = frame.format
            if kind.sample_type == vs.INTEGER:
                allowed = 0.5 + TOLERANCE * 2**kind.bits_per_sample
            else:
                allowed = TOLERANCE + (np.abs(plane) * 2**-11 if kind.bits_per_sample == 16 else 0)
            assert (np.abs(output - plane) <= allowed).all(), f"plane {index}: {np.abs(output - plane).max()}"
        assert max_abs_diff(frame, after) > 0.1 * (1 if kind.sample_type == vs.FLOAT else 2**kind.bits_per_sample)


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("matrix", BY_FORMULA)
def test_matrix_and_range(matrix: int, full: int, untrained: dict[str, str]) -> None:
    clip = coloured(vs.YUV444P8, _Matrix=matrix, _Range=full)
    reading = Colour(format=clip.format, matrix=matrix, full=bool(full))
    assert_restored(clip, untrained["deblur"], reading)


@pytest.mark.parametrize("siting", range(6))
@pytest.mark.parametrize("format", SUBSAMPLED, ids=name_of)
def test_subsampling_and_siting(format: int, siting: int, untrained: dict[str, str]) -> None:
    clip = coloured(format, _Matrix=9, _Range=1, _ChromaLocation=siting)
    reading = Colour(format=clip.format, matrix=9, full=True, siting=siting)
    assert_restored(clip, untrained["deblur"], reading)


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("halvings", [(0, 0), (1, 1)], ids=["444", "420"])
def test_depth_of_yuv(halvings: tuple[int, int], depth: int | str, full: int, untrained: dict[str, str]) -> None:
    clip = coloured(format_of(vs.YUV, depth, halvings), _Matrix=1, _Range=full)
    assert_restored(clip, untrained["deblur"], Colour(format=clip.format, full=bool(full)))


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("family", [vs.GRAY, vs.RGB], ids=["GRAY", "RGB"])
def test_depth_of_gray_and_rgb(family: vs.ColorFamily, depth: int | str, full: int, untrained: dict[str, str]) -> None:
    clip = coloured(format_of(family, depth), _Range=full)
    assert_restored(clip, untrained["deblur"], Colour(format=clip.format, full=bool(full)))


@pytest.mark.parametrize(
    ("width", "props", "matrix", "full"),
    [
        (WIDTH, {}, 6, False),
        (WIDTH, {"_Matrix": 2}, 6, False),
        (1028, {}, 1, False),
        (WIDTH, {"_ColorRange": 0}, 6, True),
        (WIDTH, {"_ColorRange": 1}, 6, False),
    ],
)
def test_what_a_clip_does_not_say(
    width: int, props: dict[str, int], matrix: int, full: bool, untrained: dict[str, str]
) -> None:
    """Matrix by size, limited range unless the older property says otherwise, chroma to the left."""
    clip = coloured(vs.YUV420P8, width, **props)
    assert_restored(clip, untrained["deblur"], Colour(format=clip.format, matrix=matrix, full=full))


@pytest.mark.parametrize(("family", "full"), [(vs.GRAY, False), (vs.RGB, True)], ids=["GRAY", "RGB"])
def test_range_that_gray_and_rgb_do_not_say(family: vs.ColorFamily, full: bool, untrained: dict[str, str]) -> None:
    clip = coloured(format_of(family, 8))
    assert_restored(clip, untrained["deblur"], Colour(format=clip.format, full=full))


def test_colours_that_change_within_a_clip(untrained: dict[str, str]) -> None:
    first = coloured(vs.YUV420P8, _Matrix=9, _Range=1, _ChromaLocation=2)
    second = coloured(vs.YUV420P8, _Matrix=4, _Range=0, _ChromaLocation=5)
    readings = [
        Colour(format=first.format, matrix=matrix, full=full, siting=siting)
        for matrix, full, siting in ((9, True, 2), (4, False, 5))
        for _ in range(FRAMES)
    ]
    assert_restored(first + second, untrained["deblur"], *readings)


@pytest.mark.parametrize("matrix", NEED_TRANSFER)
def test_matrices_that_need_a_transfer(matrix: int, untrained: dict[str, str]) -> None:
    """The resizer, told everything, in place of a formula."""
    transfer, primaries = NEED_TRANSFER[matrix]
    rgb = coloured(vs.RGBS, _Transfer=transfer, _Primaries=primaries)
    clip = rgb.resize.Bicubic(format=vs.YUV444P12, matrix=matrix, range=1)
    inside = clip.resize.Bicubic(format=vs.RGBS, matrix_in=matrix, range_in=1)
    pictures = network_alone([np.stack(samples(frame)) for frame in inside.frames()], untrained["deblur"])

    def replace(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane, values in enumerate(pictures[n]):
            np.copyto(np.asarray(out[plane]), values.astype(np.float32))
        return out

    expected = inside.std.ModifyFrame(inside, replace).resize.Bicubic(format=clip.format.id, matrix=matrix, range=1)
    for output, reference in zip(
        core.gshift.Deblur(clip, model=untrained["deblur"]).frames(), expected.frames(), strict=True
    ):
        assert own_props(output) == dict(reference.props)
        assert max_abs_diff(output, reference) <= 1


def test_standard_definition_ends_at_1024x576() -> None:
    assert [usual_matrix(*size) for size in ((1024, 576), (1026, 576), (1024, 578))] == [6, 1, 1]


def test_every_matrix_is_tested() -> None:
    assert set(MATRICES) == {*BY_FORMULA, *NEED_TRANSFER}
