"""Tiles: laid without a gap, blended to one, streamed like the whole picture, and nearly the same result."""

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import as_tensor, max_abs_diff, moving
from conftest import SHARED
from standin import lively, relative_error
from torch import Tensor

import vsgshift
from vsgshift.cli.options import pixels as size_option
from vsgshift.engine import prepared
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.streaming import Stream, TiledStream, Tiling, restore
from vsgshift.streaming.offload import OffloadingPipeline, to_host
from vsgshift.streaming.tiles import Line
from vsgshift.video.script import FilterCall
from vsgshift.weights import load_network


@pytest.fixture(scope="module")
def tiny() -> ShiftNet:
    torch.manual_seed(1)
    # Without merging, whose window is longer than the clips here.
    return lively(ShiftNet(replace(VARIANTS["denoise-tiny"], merge=0, encoder_blocks=(1, 2), decoder_blocks=(2,))))


def tiled(network: ShiftNet, tiling: Tiling, clip: Tensor, noise: Tensor | None = None, **how: Any) -> Tensor:
    stream = TiledStream(network, tiling, **how)
    return torch.cat([stream.push(clip, noise), stream.finish()])


@pytest.mark.parametrize(("multiple", "grid"), [(4, 4), (8, 8), (8, 16)])
def test_tiles_cover_the_picture_and_count_for_one(multiple: int, grid: int) -> None:
    for size in range(2 * grid, 9 * grid, 5):
        for overlap in range(0, size // 2 // multiple * multiple + 1, 7):
            common = -(-overlap // multiple) * multiple
            if size < max(2 * common, common + grid) + grid - multiple:
                continue
            for length in (1, size, size + 1, 97):
                line = Line.laid(length, size, overlap, multiple, grid)
                assert line.size <= max(size, multiple)
                assert all(start % grid == 0 for start in line.starts)
                assert line.starts[0] == 0
                assert 0 <= line.starts[-1] + line.size - length < multiple
                for start, following in zip(line.starts, line.starts[1:], strict=False):
                    assert start < following <= start + line.size - overlap
                total = torch.zeros(length)
                for span, weight in zip(line.spans, line.weights, strict=True):
                    assert weight.min() > 0
                    total[span] += weight
                torch.testing.assert_close(total, torch.ones(length))


def test_tiles_are_as_few_as_the_overlap_allows_and_equally_large() -> None:
    line = Line.laid(1080, 512, 32, 8, 8)
    assert (line.size, line.starts) == (384, (0, 344, 696))
    assert Line.laid(1080, 0, 32, 8, 8) == Line(1080, 1080, (0,))
    assert Line.laid(97, 512, 32, 8, 8) == Line(97, 104, (0,))


def test_one_tile_is_the_whole_picture(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(7, 3, 21, 30), torch.rand(7, 1, 21, 30) * 0.2
    assert torch.equal(tiled(tiny, Tiling(size=(64, 0), overlap=(8, 8)), clip, noise), restore(tiny, clip, noise))


def test_each_tile_is_a_clip_of_its_own(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(9, 3, 37, 51), torch.rand(9, 1, 37, 51) * 0.2
    actual = tiled(tiny, Tiling(size=(32, 24), overlap=(8, 8)), clip, noise)
    expected = torch.zeros_like(clip)
    rows, columns = Line.laid(37, 24, 8, 8, 8), Line.laid(51, 32, 8, 8, 8)
    assert len(rows.starts) == 2
    assert len(columns.starts) == 2
    for down, row in zip(rows.weights, rows.spans, strict=True):
        for across, column in zip(columns.weights, columns.spans, strict=True):
            part = restore(tiny, clip[..., row, column], noise[..., row, column])
            expected[..., row, column] += down[:, None] * across * part
    assert relative_error(actual - clip, expected - clip) <= 1e-5


def test_block_pushes_and_cuts_do_not_matter(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(14, 3, 24, 40), torch.rand(14, 1, 24, 40) * 0.2
    tiling = Tiling(size=(24, 24), overlap=(8, 8))
    cuts = [number in (0, 6) for number in range(14)]
    expected = torch.cat([tiled(tiny, tiling, clip[part], noise[part]) for part in (slice(6), slice(6, 14))])
    for block, pieces in ((1, (14,)), (3, (1, 5, 8)), (4, (3, 11))):
        stream = TiledStream(tiny, tiling, block=block)
        actual = []
        numbers: list[int] = []
        first = 0
        for count in pieces:
            part = slice(first, first + count)
            actual.append(stream.push(clip[part], noise[part], cuts[part]))
            numbers += stream.restored
            first += count
        actual.append(stream.finish())
        numbers += stream.restored
        assert numbers == list(range(14))
        assert relative_error(torch.cat(actual) - clip, expected - clip) <= 1e-5


def test_entered_midway(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(12, 3, 16, 40), torch.rand(12, 1, 16, 40) * 0.2
    tiling = Tiling(size=(24, 0), overlap=(8, 8))
    expected = tiled(tiny, tiling, clip, noise)
    stream = TiledStream(tiny, tiling, midway=True)
    actual = torch.cat([stream.push(clip[2:], noise[2:]), stream.finish()])
    known = 2 + tiny.radius
    assert relative_error(actual - clip[known:], (expected - clip)[known:]) <= 1e-5


def test_strength_scales_the_change(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(3, 3, 16, 40), torch.rand(3, 1, 16, 40) * 0.2
    tiling = Tiling(size=(24, 0), overlap=(8, 8))

    def at(strength: float) -> Tensor:
        stream = TiledStream(tiny, tiling, strength=strength)
        return torch.cat([stream.push(clip, noise), stream.finish()])

    torch.testing.assert_close(at(0.5), clip + 0.5 * (at(1.0) - clip))


def test_misuse_is_refused(tiny: ShiftNet) -> None:
    with pytest.raises(ValueError, match="tilesize=-8 is out of range"):
        Tiling(size=(64, -8))
    with pytest.raises(ValueError, match="overlap=-1 is out of range"):
        Tiling(size=(64, 64), overlap=(-1, 0))
    with pytest.raises(ValueError, match="tilesize=60 is too small for overlap=64; at least 128"):
        TiledStream(tiny, Tiling(size=(0, 60)))
    with pytest.raises(ValueError, match="tilesize=3 is too small for overlap=0; at least 8"):
        TiledStream(tiny, Tiling(size=(3, 3), overlap=(0, 0)))
    stream = TiledStream(tiny, Tiling(size=(16, 16), overlap=(0, 0)))
    with pytest.raises(ValueError, match="nothing was pushed"):
        stream.finish()
    stream.push(torch.rand(1, 3, 24, 24), torch.rand(1, 1, 24, 24))
    with pytest.raises(ValueError, match="one size"):
        stream.push(torch.rand(1, 3, 24, 32), torch.rand(1, 1, 24, 32))


def test_skips_wait_where_they_are_taken(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(14, 3, 16, 24), torch.rand(14, 1, 16, 24) * 0.2
    for block in (1, 3, 4):
        skips: list[Tensor] = []

        def take(x: Tensor, skips: list[Tensor] = skips) -> Tensor:
            skips.append(x.clone())
            return skips[-1]

        stream = Stream(tiny, block=block)
        stream._pipeline = OffloadingPipeline(take)
        pushed = stream.push(clip, noise)
        waiting = [piece for site in stream._pipeline._sites for _, piece in getattr(site, "pieces", ())]
        addresses = {x.untyped_storage().data_ptr() for x in skips}
        assert waiting
        # What is left of a block whose other frames have gone is copied out, on a device of the same kind.
        assert block > 1 or {piece.untyped_storage().data_ptr() for piece in waiting} <= addresses
        assert torch.equal(torch.cat([pushed, stream.finish()]), restore(tiny, clip, noise, block=block))


def test_what_the_shifts_keep_comes_back_from_its_rest(tiny: ShiftNet) -> None:
    clip, noise = torch.rand(9, 3, 16, 24), torch.rand(9, 1, 16, 24) * 0.2
    resting = 0

    def take(x: Tensor) -> Tensor:
        nonlocal resting
        resting += 1
        return x.clone()

    stream = Stream(tiny, block=2)
    pipeline = stream._pipeline = OffloadingPipeline(take)
    actual = []
    for frame in range(9):
        actual.append(stream.push(clip[frame : frame + 1], noise[frame : frame + 1]))
        before = resting
        stream.rest()
    shifts = [site for site in pipeline._sites if not hasattr(site, "pieces")]
    assert len(shifts) == 2 * tiny.radius
    assert resting - before == sum(next(iter(vars(site).values())) is not None for site in shifts)
    assert torch.equal(torch.cat([*actual, stream.finish()]), restore(tiny, clip, noise, block=2))


def test_offloading_is_nothing_on_the_cpu(tiny: ShiftNet) -> None:
    x = torch.rand(2, 3, 4, 4)
    assert to_host(x) is x
    clip, noise = torch.rand(9, 3, 16, 24), torch.rand(9, 1, 16, 24) * 0.2
    stream = Stream(tiny, offload=True)
    assert torch.equal(torch.cat([stream.push(clip, noise), stream.finish()]), restore(tiny, clip, noise))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_offloading_on_a_device_changes_nothing(tiny: ShiftNet) -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"])).cuda()
    clip, noise = torch.rand(14, 3, 16, 24).cuda(), torch.rand(14, 1, 16, 24).cuda() * 0.2
    for block in (1, 3, 4):
        stream = Stream(network, block=block, offload=True)
        actual = torch.cat([stream.push(clip, noise), stream.finish()])
        assert torch.equal(actual, restore(network, clip, noise, block=block))


# In VapourSynth


def test_the_filter_in_any_order() -> None:
    clip = moving(frames=12, width=45, height=29)

    def filtered(**options: object) -> vs.VideoNode:
        return vs.core.gshift.Denoise(clip, sigma=20, device_id=-1, **options)

    tiles = {"tilesize": [32, 0], "overlap": 8}
    expected = list(filtered(**tiles).frames())
    source = as_tensor(clip)
    network = load_network("tiny-denoise")
    tiling = Tiling(size=(32, 0), overlap=(8, 8))
    direct = tiled(network, tiling, source, torch.full_like(source[:, :1], 20 / 255))
    assert (as_tensor(filtered(**tiles)) - direct).abs().max() <= 1e-5
    assert max_abs_diff(expected[5], filtered().get_frame(5)) > 1e-3
    for order, block in ((range(11, -1, -4), 4), ([9, 2, 9], 3)):
        node = filtered(block=block, **tiles)
        for n in order:
            assert max_abs_diff(node.get_frame(n), expected[n]) <= 1e-4


def test_the_typed_functions_and_the_command_hand_it_on() -> None:
    clip = moving(frames=2, width=45, height=29)
    native = clip.gshift.Denoise(sigma=20, device_id=-1, tilesize=[32, 0], overlap=8).get_frame(1)
    typed = vsgshift.denoise(clip, sigma=20, device_id=-1, tilesize=(32, 0), overlap=8, offload=True).get_frame(1)
    assert max_abs_diff(native, typed) == 0
    options = {"tilesize": size_option("32x0"), "overlap": size_option("8")}
    assert (
        FilterCall(task="deblur", options=options).source("clip")
        == "core.gshift.Deblur(clip, tilesize=[32, 0], overlap=[8])"
    )
    for text in ("large", "-8", "8x", "8x8x8"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
            size_option(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tilesize": -1}, "tilesize=-1 is out of range"),
        ({"tilesize": [64, 64, 64]}, "tilesize has 3 values; give one, or width and height"),
        ({"tilesize": 64, "overlap": -2}, "overlap=-2 is out of range"),
        ({"tilesize": 64, "overlap": [8, 40]}, "tilesize=64 is too small for overlap=40; at least 80"),
        ({"tilesize": 1}, "tilesize=1 is too small for overlap=64; at least 128"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(vs.Error, match=message) as caught:
        vs.core.gshift.Deblur(moving(frames=2), device_id=-1, **arguments)
    assert "\n" not in str(caught.value)


def test_sizes_are_numbers() -> None:
    for name in ("tilesize", "overlap"):
        with pytest.raises((vs.Error, ValueError, TypeError)):
            vs.core.gshift.Deblur(moving(frames=2), **{name: "large"})


# On footage

FLOWER = Path(vsgshift.__file__).parent / "demo" / "flower.mkv"
"""Committed; the other clips lie beside some checkouts."""


def footage(name: str, size: tuple[int, int], frames: int) -> Tensor:
    """Frames of a real clip, in RGB from 0 to 1; size is H, W."""
    file = FLOWER if name == FLOWER.name else SHARED / "media" / name
    if not file.is_file():
        pytest.skip(f"needs {name} of ../shared/media; {FLOWER.name} is tested in any case")
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [ffmpeg, "-v", "error", "-i", str(Path(file)), "-vf", f"scale={size[1]}:{size[0]}:flags=area"]
    command += ["-frames:v", str(frames), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(frames, *size, 3).copy()).permute(0, 3, 1, 2) / 255


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name"), [("denoise", "street.mp4"), ("deblur", "hands.mkv")])
def test_tiles_are_not_seen(task: str, name: str) -> None:
    """A seam is a line or an edge, so it shows in the mean of a few pixels; single ones may differ more."""
    clip = footage(name, (216, 384), 7)
    noise = None
    if task == "denoise":
        clip = (clip + torch.randn_like(clip) * 15 / 255).mul(255).round().clamp(0, 255) / 255
        noise = torch.full_like(clip[:, :1], 15 / 255)
    network = load_network(f"tiny-{task}")
    whole = restore(network, clip, noise)
    actual = tiled(network, Tiling(size=(256, 144)), clip, noise)
    codes = [(255 * x).round().clamp(0, 255) for x in (actual, whole, clip)]
    differing = (codes[0] - codes[1]).abs()
    assert (differing > 1).float().mean() <= 1e-3
    assert torch.nn.functional.avg_pool2d(255 * (actual - whole), 8).abs().max() <= 1
    assert (codes[1] - codes[2]).abs().max() > 1


@pytest.mark.slow
@pytest.mark.parametrize("task", ["denoise", "deblur"])
@pytest.mark.parametrize(
    ("name", "size"), [("flower.mkv", (216, 384)), ("street.mp4", (432, 768)), ("hands.mkv", (480, 640))]
)
def test_no_step_where_tiles_meet(task: str, name: str, size: tuple[int, int]) -> None:
    """From one pixel to the next the change from a tile to its neighbour is worth less than a code."""
    clip = footage(name, size, 3)
    noise = torch.full_like(clip[:, :1], 5 / 255) if task == "denoise" else None
    network = prepared(load_network(f"tiny-{task}"))
    (_, columns) = Tiling(size=(256, 0)).lines(*size, network.variant)
    tiles = [restore(network, clip[..., span], None if noise is None else noise[..., span]) for span in columns.spans]
    whole = tiled(network, Tiling(size=(256, 0)), clip, noise)
    steps, differences = [], []
    for left in range(len(tiles) - 1):
        first, end = columns.starts[left + 1], columns.starts[left] + columns.size
        one, other = tiles[left][..., first - columns.starts[left] :], tiles[left + 1][..., : end - first]
        gained = columns.weights[left + 1][: end - first]
        assert (whole[..., first:end] - (one + gained * (other - one))).abs().max() <= 1e-5
        differences.append(255 * (other - one).abs())
        steps.append(differences[-1] * torch.diff(gained, prepend=torch.zeros(1)))
    step = max(float(step.max()) for step in steps)
    assert step <= 1
    assert max(float(difference.max()) for difference in differences) > 32 * step, "it takes the blending"
