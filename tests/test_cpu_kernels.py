"""The kernels for the CPU give what the plain modules give."""

import copy
import ctypes
import os
import platform
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from standin import lively, relative_error
from torch import Tensor

from vsgshift.engine import prepared
from vsgshift.engine.cpu import blocks, library
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.layers import ResidualBlock
from vsgshift.network.merged import MergedInput, MergedOutput
from vsgshift.network.timeline import WholeClip
from vsgshift.streaming import Stream, restore

TOLERANCE = 2e-6
BUILDS = [path for path in library.candidates() if path.is_file()]

needs_kernels = pytest.mark.skipif(not BUILDS, reason="no kernels were compiled for this system")


def network(name: str) -> ShiftNet:
    torch.manual_seed(1)
    return lively(ShiftNet(VARIANTS[name])).eval()


def core_of(network: ShiftNet) -> Any:
    """The core, whose lists of modules have no types."""
    return network.core


def clip_for(variant: ShiftNet, frames: int, height: int, width: int) -> tuple[Tensor, Tensor | None]:
    torch.manual_seed(2)
    noise = torch.rand(frames, 1, height, width) / 4 if variant.variant.task == "denoise" else None
    return torch.rand(frames, 3, height, width), noise


@pytest.fixture(params=BUILDS, ids=lambda path: path.stem)
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each build that this machine can run, in turn."""
    loaded = library.load(request.param)
    monkeypatch.setattr(blocks, "kernels", lambda: loaded)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Two, so that the kernels share out their work."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_linux_has_kernels() -> None:
    if platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64"):
        assert library.kernels() is not None
        assert any(path.stem == "_kernels_baseline" for path in BUILDS)


@needs_kernels
def test_a_build_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(ctypes.Structure):
        _fields_ = (*library.Half._fields_, ("more", ctypes.c_int))

    refused = pytest.raises(ImportError, match=r"_kernels_.*was compiled from another version .*; install")
    with monkeypatch.context() as patch, refused:
        patch.setattr(library, "STRUCTURES", (*library.STRUCTURES[:-1], Half))
        library.load(BUILDS[0])
    with monkeypatch.context() as patch, refused:
        patch.setattr(library, "ABI_VERSION", library.ABI_VERSION + 1)
        library.load(BUILDS[0])
    with monkeypatch.context() as patch, refused:
        patch.setitem(library.FUNCTIONS, "vsgshift_unknown", ())
        library.load(BUILDS[0])
    assert library.load(BUILDS[0]).vsgshift_frames_at_once(1, 32, 8, 1) == 1


@cache
def same(name: str) -> ShiftNet:
    """The `network` of all tests that leave it as it is."""
    return network(name)


@cache
def plainly(name: str, size: tuple[int, int, int]) -> tuple[ShiftNet, Tensor, Tensor | None, Tensor]:
    """A network, a clip and its noise, and what the network makes of them without the kernels."""
    plain = same(name)
    clip, noise = clip_for(plain, *size)
    return plain, clip, noise, restore(plain, clip, noise)


WHOLE = [
    # The large networks take long in builds that this machine would not choose.
    pytest.param(
        name,
        path,
        marks=[pytest.mark.slow] if path != BUILDS[0] and variant.family != "tiny" else [],
        id=f"{name}-{path.stem}",
    )
    for name, variant in VARIANTS.items()
    for path in BUILDS
]


@needs_kernels
@pytest.mark.parametrize(("name", "build"), WHOLE, indirect=["build"])
def test_whole_network(name: str, build: None) -> None:
    plain, clip, noise, expected = plainly(name, (2, 8, 16))
    fast = prepared(plain)
    assert fast is not plain
    assert relative_error(restore(fast, clip, noise) - clip, expected - clip) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("name", ["denoise-tiny", "deblur-tiny"])
@pytest.mark.parametrize("size", [(4, 72, 200), (1, 136, 8), (3, 8, 400), (5, 40, 104)])
def test_bands_strips_and_edges(name: str, size: tuple[int, int, int], build: None) -> None:
    # Bands of 32 rows and strips of 96 columns, at half and a quarter of these sizes and at their own.
    plain, clip, noise, expected = plainly(name, size)
    actual = restore(prepared(plain), clip, noise)
    assert relative_error(actual - clip, expected - clip) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("name", ["deblur-plus", "denoise-plus", "denoise-small", "deblur-small"])
@pytest.mark.parametrize("size", [(1, 33, 97), (2, 7, 5), (1, 1, 193), (1, 70, 1)])
def test_a_shift_step(name: str, size: tuple[int, int, int], build: None) -> None:
    step = core_of(same(name)).climbs[-1][0][0]
    frames, height, width = size
    x = torch.randn(frames, step.arriving * 2, height, width)
    with torch.no_grad():
        expected = step(x, WholeClip(frames))
        actual = blocks.FastShiftStep(step)(x, WholeClip(frames))
    assert relative_error(actual - x, expected - x) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("width", [14, 16, 18, 22, 24, 36, 48, 64, 80])
def test_a_residual_block(width: int, build: None) -> None:
    torch.manual_seed(width)
    block = ResidualBlock(width, 2)
    slope = torch.tensor([0.2])
    fast = blocks.FastResidualBlock(block)
    for height, columns in ((35, 7), (1, 99), (3, 1)):
        x = torch.randn(2, width, height, columns)
        with torch.no_grad():
            assert relative_error(fast(x, slope) - x, block(x, slope) - x) <= TOLERANCE


@needs_kernels
@pytest.mark.parametrize("size", [(2, 35, 7), (1, 1, 1), (1, 2, 70), (0, 4, 4)])
def test_both_ends_of_a_network_that_merges(size: tuple[int, int, int], build: None) -> None:
    frames, height, width = size
    torch.manual_seed(0)
    clip = torch.rand(frames, 3, 2 * height, 2 * width)
    change, left = torch.randn_like(clip) / 20, torch.rand(frames, 3, height, width)
    # Where it is weak, the noise bounds the change; where it is strong, what the picture varies does.
    noise = torch.rand(frames, 1, height, width) / 5
    clip[..., : height + 1, :] = clip[..., : height + 1, :1]
    expected, actual = (each(clip, change, noise, left) for each in (MergedInput(), blocks.FastMergedInput()))
    assert torch.equal(actual, expected)
    x = torch.randn(frames, 12, height, width) / 20
    expected, actual = (each(x, clip, change, noise, 0.7) for each in (MergedOutput(), blocks.FastMergedOutput()))
    # Of what does not vary, rounding alone tells the deviation.
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(actual[..., height + 3 :, :], expected[..., height + 3 :, :], rtol=0, atol=1e-6)


@needs_kernels
@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU has no bfloat16 arithmetic")
@pytest.mark.parametrize("name", ["denoise-tiny", "denoise-fine", "deblur-tiny", "denoise-small"])
def test_bfloat16(name: str) -> None:
    plain = same(name)
    clip, noise = clip_for(plain, 5, 16, 24)
    expected = restore(plain, clip, noise)
    fast = prepared(copy.deepcopy(plain).bfloat16())
    for block in (1, 4):
        actual = restore(fast, clip, noise, block=block)
        assert actual.dtype == torch.float32
        # Eight bits of each feature; what the frames have in addition is not lost.
        assert relative_error(actual - clip, expected - clip) <= 2e-2


@needs_kernels
def test_the_same_on_any_number_of_threads_and_in_any_block() -> None:
    fast = prepared(network("deblur-tiny"))
    clip, _ = clip_for(fast, 5, 96, 40)
    actual = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        actual.append(cpu_part(fast, clip))
    assert torch.equal(actual[0], actual[1])
    assert torch.equal(actual[0], actual[2])
    single = torch.cat([cpu_part(fast, frame[None]) for frame in clip])
    assert torch.equal(actual[0], single)


def cpu_part(network: ShiftNet, clip: Tensor) -> Tensor:
    """What the kernels make of a clip, without torch's own part, which may depend on threads."""
    step = core_of(network).levels[0].blocks[0][0]
    x = clip.repeat(1, 16, 1, 1).contiguous(memory_format=torch.channels_last)
    held = WholeClip(len(x), cuts=range(len(x)))
    out: Tensor = step(x, held)
    return out


@needs_kernels
@pytest.mark.parametrize("name", ["denoise-tiny", "deblur-tiny"])
def test_streams_of_every_block_with_cuts(name: str) -> None:
    plain = same(name)
    fast = prepared(plain)
    for length, cuts in ((1, ()), (2, (1,)), (9, ()), (17, (3, 4, 11)), (14, (13,)), (12, range(12))):
        clip, noise = clip_for(plain, length, 16, 8)
        expected = restore(plain, clip, noise, cuts=cuts)
        for block in (1, 3, 4, 20):
            actual = restore(fast, clip, noise, cuts=cuts, block=block)
            assert relative_error(actual - clip, expected - clip) <= TOLERANCE


@needs_kernels
def test_a_stream_entered_midway() -> None:
    plain = network("denoise-tiny")
    clip, noise = clip_for(plain, 3 * plain.radius, 8, 16)
    actual = []
    for each in (plain, prepared(plain)):
        stream = Stream(each, block=2, midway=True)
        starts = [False] * len(clip)
        actual.append(torch.cat((stream.push(clip, noise, starts), stream.finish())) - clip[plain.radius :])
    assert relative_error(actual[1], actual[0]) <= TOLERANCE


@needs_kernels
def test_extreme_values_stay_finite(build: None) -> None:
    block = core_of(same("denoise-small")).climbs[0][0][0].refine
    x = torch.randn(1, 64, 8, 8) * 1e4
    with torch.no_grad():
        expected, actual = block(x), blocks.FastGatedBlock(block)(x.contiguous(memory_format=torch.channels_last))
    assert actual.isfinite().all()
    assert relative_error(actual, expected) <= TOLERANCE


@needs_kernels
def test_the_plain_network_stays_as_it_was() -> None:
    plain = network("deblur-tiny")
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    fast = prepared(plain)
    clip, noise = clip_for(plain, 3, 8, 8)
    restore(fast, clip, noise)
    assert all(torch.equal(before[name], tensor) for name, tensor in plain.state_dict().items())
    plain.to_rgb.weight.data.zero_()
    core_of(plain).climbs[0][0][0].fuse.gate.weight.data.zero_()
    assert not torch.equal(restore(fast, clip, noise), clip)


def test_other_precisions_run_as_they_are() -> None:
    double = network("deblur-tiny").double()
    assert prepared(double) is double


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_its_own_threads() -> None:
    fast, slope = blocks.FastResidualBlock(ResidualBlock(16, 4)), torch.tensor([0.2])
    x = torch.randn(4, 16, 70, 8).contiguous(memory_format=torch.channels_last)
    expected = fast(x, slope).numpy()
    child = os.fork()
    if child == 0:
        # Nothing of torch that is shared out among its threads, which the child has not got.
        os._exit(0 if np.array_equal(fast(x, slope).numpy(), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
