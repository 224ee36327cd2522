"""The stream gives the whole-clip result, whatever the length, block size and cuts."""

from collections.abc import Collection
from itertools import cycle, pairwise

import pytest
import torch
from standin import lively, relative_error
from torch import Tensor

import vsgshift
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.streaming import Stream, restore

TOLERANCE = 1e-5


def whole(network: ShiftNet, clip: Tensor, noise: Tensor | None, cuts: Collection[int]) -> Tensor:
    """Each segment restored by itself, with held ends."""
    bounds = sorted({0, *cuts, len(clip)})
    parts = []
    for first, last in pairwise(bounds):
        part = None if noise is None else noise[first:last]
        parts.append(network(clip[first:last], part, cuts=(0,)))
    return torch.cat(parts)


def assert_same_change(actual: Tensor, expected: Tensor, source: Tensor) -> None:
    """Compare what the network added, which is small beside the source that it was added to."""
    assert actual.shape == expected.shape
    assert relative_error(actual - source, expected - source) <= TOLERANCE


@pytest.fixture(scope="module")
def tiny() -> ShiftNet:
    torch.manual_seed(1)
    return lively(ShiftNet(VARIANTS["deblur-tiny"]))


def every_length(network: ShiftNet) -> range:
    return range(1, 2 * network.radius + 4)


@pytest.mark.slow
def test_every_length_block_and_cut(tiny: ShiftNet) -> None:
    blocks = (1, 2, 3, 4, 7)
    turn = cycle(blocks)
    for length in every_length(tiny):
        clip = torch.rand(length, 3, 8, 8)
        plain = whole(tiny, clip, None, ())
        for block in blocks:
            assert_same_change(restore(tiny, clip, block=block), plain, clip)
        cut_sets = [tuple(range(0, length, 3)), tuple(range(length)), *((cut,) for cut in range(1, length))]
        for cuts in cut_sets:
            assert_same_change(restore(tiny, clip, cuts=cuts, block=next(turn)), whole(tiny, clip, None, cuts), clip)


def test_entered_midway(tiny: ShiftNet) -> None:
    length, radius = 2 * tiny.radius + 3, tiny.radius
    clip = torch.rand(length, 3, 8, 8)
    for cuts in ((), (4,), (2, 9)):
        expected = whole(tiny, clip, None, cuts)
        for start in range(1, length):
            flags = [number in cuts for number in range(start, length)]
            stream = Stream(tiny, block=3, midway=True)
            pushed = stream.push(clip[start:], cuts=flags)
            actual = torch.cat((pushed, stream.finish()))
            known = min([cut for cut in cuts if start <= cut <= start + radius] or [start + radius])
            if known < length:
                assert_same_change(actual, expected[known:], clip[known:])
            assert len(actual) == max(length - known, 0)


OTHERS = [
    pytest.param(name, marks=() if name.endswith("-tiny") else pytest.mark.slow)
    for name in VARIANTS
    if name != "deblur-tiny"
]


@pytest.mark.parametrize("name", OTHERS)
def test_other_variants(name: str) -> None:
    network = lively(ShiftNet(VARIANTS[name]))
    radius, size = network.radius, network.variant.multiple
    for length, block, cuts in ((3, 4, ()), (radius + 2, 3, (5,)), (2 * radius + 3, 4, (1, radius))):
        clip = torch.rand(length, 3, size, 2 * size)
        noise = torch.rand(length, 1, size, 2 * size) * 0.2 if network.variant.task == "denoise" else None
        actual = restore(network, clip, noise, cuts=cuts, block=block)
        assert_same_change(actual, whole(network, clip, noise, cuts), clip)


def test_each_frame_passes_each_layer_once(tiny: ShiftNet) -> None:
    counts: dict[str, int] = {}
    handles = [
        module.register_forward_hook(
            lambda _module, args, _out, name=name: counts.__setitem__(name, counts.get(name, 0) + len(args[0]))
        )
        for name, module in tiny.named_modules()
        if isinstance(module, torch.nn.Conv2d) and "attention" not in name
    ]
    restore(tiny, torch.rand(13, 3, 8, 8), cuts=(6,), block=4)
    for handle in handles:
        handle.remove()
    assert counts
    assert set(counts.values()) == {13}


def test_memory_does_not_depend_on_the_length(tiny: ShiftNet) -> None:
    def held(stream: Stream) -> int:
        total = 0
        for site in stream._pipeline._sites:
            for value in vars(site).values():
                pieces = value if isinstance(value, list) else [(0, value)]
                total += sum(piece.nbytes for _, piece in pieces if piece is not None)
        return total

    stream = Stream(tiny, block=4)
    sizes = []
    for _ in range(20):
        stream.push(torch.rand(4, 3, 16, 16), cuts=[True, False, False, False])
        sizes.append(held(stream))
    assert len(set(sizes[8:])) == 1
    assert len(stream._cuts) <= 2 * tiny.radius + 4


def test_any_size(tiny: ShiftNet) -> None:
    for height, width in ((1, 1), (7, 9), (17, 8)):
        clip = torch.rand(3, 3, height, width)
        assert restore(tiny, clip).shape == clip.shape


def test_pieces_may_be_pushed_in_any_size(tiny: ShiftNet) -> None:
    clip = torch.rand(11, 3, 8, 8)
    stream = Stream(tiny, block=3)
    actual = torch.cat([stream.push(piece) for piece in clip.split((1, 5, 2, 3))] + [stream.finish()])
    assert_same_change(actual, whole(tiny, clip, None, ()), clip)


def test_strength_scales_the_change(tiny: ShiftNet) -> None:
    clip = torch.rand(4, 3, 8, 8)

    def at(strength: float) -> Tensor:
        stream = Stream(tiny, strength=strength)
        return torch.cat((stream.push(clip), stream.finish()))

    torch.testing.assert_close(at(0.5), clip + 0.5 * (at(1.0) - clip))
    assert torch.equal(at(0.0), clip)


def test_misuse_is_refused(tiny: ShiftNet) -> None:
    stream = Stream(tiny)
    with pytest.raises(ValueError, match="nothing was pushed"):
        stream.finish()
    stream.push(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="one size"):
        stream.push(torch.rand(1, 3, 8, 16))
    with pytest.raises(ValueError, match="cut flags"):
        stream.push(torch.rand(1, 3, 8, 8), cuts=[True, False])
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="lies outside"):
        restore(tiny, torch.rand(2, 3, 8, 8), cuts=(2,))
    with pytest.raises(ValueError, match="block"):
        Stream(tiny, block=0)


@pytest.mark.parametrize("name", ["deblur-tiny", "denoise-tiny"])
def test_half_precision_leaves_the_source_in_single(name: str) -> None:
    torch.manual_seed(1)
    network = lively(ShiftNet(VARIANTS[name])).to(torch.bfloat16)
    length = network.radius + 6
    clip = torch.rand(length, 3, 16, 16)
    noise = torch.full((length, 1, 16, 16), 0.1) if network.variant.task == "denoise" else None
    restored = restore(network, clip, noise)
    assert restored.dtype == torch.float32
    change = (restored - clip).norm()
    rounded = restore(network, clip.bfloat16(), None if noise is None else noise.bfloat16())
    assert float((rounded.float() - restored).norm() / change) > 2e-3, "the source rounded costs that much"
    # With nothing added but what merging brings, which is single precision too.
    network.to_rgb.weight.data.zero_()
    restored = restore(network, clip, None if noise is None else torch.zeros_like(noise))
    assert torch.equal(restored, clip)


RGB = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("clip", "noise", "message"),
    [
        ((255 * RGB).byte(), 0.1, r"clip is torch.uint8; values in \[0, 1\] are wanted: clip.float\(\) / 255"),
        (255 * RGB, 0.1, r"clip has values up to 25\d.*; RGB in \[0, 1\] is wanted: clip / 255"),
        (RGB.permute(0, 2, 3, 1), 0.1, r"clip must be \(T, 3, H, W\) with T >= 1, not \(2, 8, 8, 3\)"),
        (RGB[0], 0.1, r"clip must be \(T, 3, H, W\) with T >= 1, not \(3, 8, 8\)"),
        (RGB.to("meta"), 0.1, "clip is on meta, the network on cpu"),
        (RGB.numpy(), 0.1, "clip must be a torch.Tensor, not ndarray"),
        (RGB, 10, r"noise has values from 10 to 10; 0 to 1 is wanted: sigma / 255"),
        (RGB, torch.full((2, 1, 8, 8), -0.1), "noise has values from -0.1 to -0.1; 0 to 1 is wanted"),
        (RGB, torch.full((2, 1, 8, 8), torch.nan), "noise has values from nan to nan"),
        (RGB, torch.rand(2, 8, 8), r"noise must be \(T, 1, H, W\) with T >= 1, not \(2, 8, 8\)"),
    ],
)
def test_tensors_of_the_wrong_kind_are_refused_with_what_is_wanted(
    clip: Tensor, noise: Tensor | float, message: str
) -> None:
    network = ShiftNet(VARIANTS["denoise-small"])
    with pytest.raises(ValueError, match=message) as caught:
        restore(network, clip, noise)
    assert "\n" not in str(caught.value)


def test_noise_may_be_one_number() -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"]))
    assert torch.equal(restore(network, RGB, 0.1), restore(network, RGB, torch.full((2, 1, 8, 8), 0.1)))


def test_completion_shows_what_the_package_offers() -> None:
    assert {"restore", "Stream", "denoise", "deblur", "prepared", "load_network"} <= set(dir(vsgshift))
