"""The aligned merge: what it does to frames, its compiled form, and streaming it."""

from dataclasses import replace

import pytest
import torch
from standin import lively
from torch import Tensor

from vsgshift.engine import prepared
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.merge import Merge, motion, pyramid
from vsgshift.network.merged import LARGEST, local_deviation
from vsgshift.network.timeline import WholeClip
from vsgshift.streaming import Stream, restore
from vsgshift.streaming.pipeline import _WindowSite

SIGMA = 10 / 255


def scene(frames: int, height: int, width: int, *, down: int = 0, right: int = 0, seed: int = 0) -> Tensor:
    """Smooth texture that moves by whole pixels a frame: (T, 3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    y, x = height + abs(down) * frames, width + abs(right) * frames
    coarse = torch.rand(1, 3, y // 4 + 2, x // 4 + 2, generator=generator)
    whole = torch.nn.functional.interpolate(coarse, size=(y, x), mode="bicubic").clamp(0, 1)[0]
    top, left = max(down, 0) * frames, max(right, 0) * frames
    return torch.stack(
        [
            whole[:, top - down * t : top - down * t + height, left - right * t : left - right * t + width]
            for t in range(frames)
        ]
    )


def noisy(clip: Tensor, sigma: float = SIGMA) -> Tensor:
    return clip + sigma * torch.randn(clip.shape, generator=torch.Generator().manual_seed(1))


def merged(
    merge: Merge, clip: Tensor, noise: float = SIGMA, *, cuts: tuple[int, ...] = (), context: int = 0
) -> tuple[Tensor, Tensor]:
    """The frames but for the context at both ends, merged, and what remains of the noise."""
    window = WholeClip(len(clip), cuts=cuts, context=context).window(merge.keep(clip), merge.reach)
    half = clip.new_full((len(window.own), 1, clip.shape[2] // 2, clip.shape[3] // 2), noise)
    change, remaining = merge(window, half)
    return clip[context : len(clip) - context] + change, remaining


def variance(actual: Tensor, clean: Tensor) -> float:
    return float((actual - clean).square().mean()) / SIGMA**2


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-9, 2)])
def test_motion_is_found_in_noise(down: int, right: int) -> None:
    clip = noisy(scene(3, 64, 96, down=down, right=right))
    vectors = None
    for distance in (1, 2):
        vectors = motion(pyramid(clip[0]), pyramid(clip[distance]), distance, vectors)
        inner = torch.stack(vectors)[:, 2:-2, 2:-2]
        exact = (inner == torch.tensor((distance * down, distance * right))[:, None, None]).all(0)
        assert exact.float().mean() > 0.95


def test_a_moving_clip_is_averaged() -> None:
    clean = scene(9, 64, 64, down=2, right=1)
    actual, remaining = merged(Merge(4), noisy(clean), context=4)
    middle = actual[0, :, 16:-16, 16:-16]
    left = variance(middle, clean[4, :, 16:-16, 16:-16])
    # Nine frames at best; weights that noise alone makes smaller, and vectors that follow it, cost some.
    assert 1 / 9 < left < 0.2
    estimated = remaining[0, :, 8:-8, 8:-8].mean((1, 2))
    assert float(estimated.mean()) == pytest.approx(left, rel=0.35)


def test_a_wrong_sigma_is_seen_through() -> None:
    clean = scene(9, 64, 64)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    for sigma, given in ((SIGMA, 2 * SIGMA), (SIGMA / 4, 2 * SIGMA), (0.0, SIGMA)):
        clip = noisy(clean, sigma)
        actual, left = merged(Merge(4), clip, given, context=4)
        error = float((actual[0] - clean[4])[:, 16:-16, 16:-16].square().mean()) / given**2
        # What was given still counts for a little.
        assert float(left[0][inner].mean()) == pytest.approx(error, rel=0.4, abs=0.005)


def test_what_differs_is_left_out() -> None:
    one, other = noisy(scene(3, 32, 32)), noisy(scene(3, 32, 32, seed=5))
    actual, remaining = merged(Merge(2), torch.cat((one[:1], other[:2])))
    assert (actual[0] - one[0]).abs().max() < 3 * SIGMA
    assert remaining[0].mean() > 0.5
    # No neighbour at all: the frame itself, to the bit.
    actual, remaining = merged(Merge(2), one, cuts=(1, 2))
    assert torch.equal(actual, one)
    assert torch.equal(remaining, torch.ones_like(remaining))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 40), pytest.param(40, 72, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sigma", [0.0, 3 / 255, 50 / 255])
def test_compiled_and_plain_merges_agree(height: int, width: int, sigma: float) -> None:
    fast = prepared(ShiftNet(VARIANTS["denoise-tiny"])).merger
    plain = Merge(8)
    assert fast is not None
    assert type(fast) is not Merge
    clip = noisy(scene(6, height, width, down=1, right=-2), sigma)
    clip[2] *= 3  # beyond what is shown
    for cuts in ((), (2,)):
        (one, some), (other, others) = (merged(merge, clip, sigma, cuts=cuts) for merge in (plain, fast))
        # Samples are rounded to 1/8192, which two ways of computing them may do differently.
        assert (one - other).abs().max() < 2 / 8192
        assert (some - others).abs().max() < 5e-3


def test_samples_that_are_no_numbers_spoil_no_other_block() -> None:
    clip = noisy(scene(3, 32, 48))
    broken = clip.clone()
    broken[1, :, 20, 20] = torch.nan
    for merge in (Merge(1), prepared(ShiftNet(VARIANTS["denoise-tiny"])).merger):
        assert merge is not None
        actual, _ = merged(merge, broken)
        assert torch.isfinite(actual[0]).all()
        assert torch.isfinite(actual[2]).all()


@pytest.fixture(scope="module")
def network() -> ShiftNet:
    torch.manual_seed(0)
    variant = replace(VARIANTS["denoise-tiny"], merge=3)
    return prepared(lively(ShiftNet(variant)))


@pytest.mark.parametrize("cuts", [(), (5,), (3, 4, 11)])
@pytest.mark.parametrize("block", [1, 3, 4, 16])
def test_a_stream_gives_what_the_whole_clip_gives(network: ShiftNet, cuts: tuple[int, ...], block: int) -> None:
    clip = noisy(scene(16, 24, 40, right=1))
    noise = torch.full((16, 1, 24, 40), SIGMA)
    with torch.inference_mode():
        whole = network(clip, noise, cuts=cuts)
    assert (restore(network, clip, noise, cuts=cuts, block=block) - whole).abs().max() < 1e-6


@pytest.mark.parametrize(("cuts", "first"), [((), 5), ((1,), 1), ((5,), 5), ((6,), 5)])
def test_a_stream_entered_midway(network: ShiftNet, cuts: tuple[int, ...], first: int) -> None:
    clip = noisy(scene(16, 16, 16))
    noise = torch.full((16, 1, 16, 16), SIGMA)
    start = 2
    with torch.inference_mode():
        whole = network(clip, noise, cuts=[start + cut for cut in cuts])
    stream = Stream(network, block=2, midway=True)
    numbers: list[int] = []
    parts = []
    for index in range(start, 16):
        part = slice(index, index + 1)
        parts.append(stream.push(clip[part], noise[part], [index - start in cuts]))
        numbers += stream.restored
    parts.append(stream.finish())
    numbers += stream.restored
    assert numbers == list(range(first, 16 - start))
    assert (torch.cat(parts) - whole[start + first :]).abs().max() < 1e-6


def test_memory_holds_the_window_and_no_more(network: ShiftNet) -> None:
    stream = Stream(network, block=4)
    for _ in range(10):
        stream.push(torch.rand(4, 3, 16, 16), torch.full((4, 1, 16, 16), SIGMA))
    (site,) = (site for site in stream._pipeline._sites if isinstance(site, _WindowSite))
    assert len(site.frames) == 2 * network.variant.merge


def test_no_value_changes_by_more_than_noise_can_be(network: ShiftNet) -> None:
    clip = noisy(scene(5, 16, 24))
    noise = torch.rand(5, 1, 8, 12).mul(0.02).repeat_interleave(2, -1).repeat_interleave(2, -2)
    with torch.inference_mode():
        change = (network(clip, noise) - clip).abs()
    assert (change <= LARGEST * noise + 1e-6).all()
    assert (change > 0.9 * LARGEST * noise).any()


def test_where_nothing_varies_nothing_changes(network: ShiftNet) -> None:
    clip = torch.full((5, 3, 32, 48), 0.25)
    clip[..., 24:] = torch.rand(5, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    clip[:, 1] = 1.0
    with torch.inference_mode():
        change = (network(clip, torch.full((5, 1, 32, 48), SIGMA)) - clip).abs()
    assert change[..., :20].max() < 1e-3
    assert change[:, 1].max() < 1e-3
    assert change[:, ::2, :, 28:].max() > SIGMA


def test_local_deviations_are_those_of_six_by_six_pixels() -> None:
    x = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    actual = local_deviation(x)
    assert actual.shape == (2, 3, 12, 16)
    expected = x[1, 2, 8:14, 12:18].std(correction=0)
    torch.testing.assert_close(actual[1, 2, 5, 7], expected)
