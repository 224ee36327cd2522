"""The CUDA ways of running, held to the CPU. Skipped where there is no card."""

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import vapoursynth as vs
from clips import moving
from numpy.typing import NDArray
from standin import lively, relative_error
from torch import Tensor

from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.streaming import Stream
from vsgshift.streaming.graphed import WARM_UP
from vsgshift.streaming.stream import Execution

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

core = vs.core
LENGTH, WIDTH, HEIGHT = 40, 52, 37


@pytest.fixture(autouse=True)
def _exact() -> Any:
    """Full single precision, so that the tolerance is that of rounding."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def source() -> vs.VideoNode:
    return moving(LENGTH, WIDTH, HEIGHT)


def pixels(node: vs.VideoNode, numbers: Sequence[int] = range(LENGTH)) -> NDArray[np.float32]:
    return np.stack(
        [np.stack([np.asarray(f[p]) for p in range(f.format.num_planes)]) for f in map(node.get_frame, numbers)]
    )


def assert_same(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def psnr(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(np.mean((actual.astype(np.float64) - expected) ** 2)))


def filtered(clip: vs.VideoNode, untrained: dict[str, str], task: str, **more: Any) -> vs.VideoNode:
    more = {"fp16": False, **more}
    if task == "deblur":
        return core.gshift.Deblur(clip, model=untrained[task], **more)
    return core.gshift.Denoise(clip, sigma=20, model=untrained[task], **more)


@pytest.mark.parametrize("task", ["deblur", "denoise"])
@pytest.mark.parametrize("block", [1, 3, 4])
def test_the_filter_gives_what_it_gives_on_the_cpu(
    task: str, block: int, untrained: dict[str, str], source: vs.VideoNode
) -> None:
    expected = pixels(filtered(source, untrained, task, device_id=-1))
    assert_same(pixels(filtered(source, untrained, task, device_id=0, block=block)), expected)


@pytest.mark.parametrize("task", ["deblur", "denoise"])
def test_half_precision_is_close(task: str, source: vs.VideoNode) -> None:
    bundled = {"deblur": "tiny", "denoise": "tiny"}
    expected = pixels(filtered(source, bundled, task, device_id=-1))
    assert psnr(pixels(filtered(source, bundled, task, device_id=0, fp16=True)), expected) >= 60


@pytest.mark.parametrize("format", [vs.GRAYS, vs.YUV420P8, vs.RGB48, vs.RGBH], ids=lambda format: format.name)
def test_formats(format: int, untrained: dict[str, str], source: vs.VideoNode) -> None:
    yuv = core.get_video_format(format).color_family != vs.RGB
    clip = source.resize.Bicubic(width=52, height=36, format=format, matrix=1 if yuv else None)[:12]
    actual, expected = (pixels(filtered(clip, untrained, "deblur", device_id=device), range(12)) for device in (0, -1))
    peak = {vs.YUV420P8: 255, vs.RGB48: 65535}.get(format, 1)
    step = {vs.YUV420P8: 1 / 255, vs.RGB48: 1 / 65535, vs.RGBH: 1e-3}.get(format, 1e-5)
    assert np.abs(actual.astype(np.float64) - expected).max() <= step * peak


def test_a_sigma_map(untrained: dict[str, str], source: vs.VideoNode) -> None:
    levels = core.std.BlankClip(source, format=vs.GRAYS, color=20 / 255)
    actual = core.gshift.Denoise(source, sigma_map=levels, model=untrained["denoise"], device_id=0, fp16=False)
    assert_same(pixels(actual), pixels(filtered(source, untrained, "denoise", device_id=-1)))


def test_any_order_of_requests(untrained: dict[str, str], source: vs.VideoNode) -> None:
    expected = pixels(filtered(source, untrained, "deblur", device_id=-1))
    for order in ([30, 2, 39, 38, 37, 12], range(LENGTH - 1, -1, -3), range(0, LENGTH, 7)):
        assert_same(pixels(filtered(source, untrained, "deblur", device_id=0), order), expected[list(order)])
    for n, frame in enumerate(filtered(source, untrained, "deblur", device_id=0).frames(backlog=16)):
        assert_same(np.stack([np.asarray(frame[plane]) for plane in range(3)]), expected[n])


def test_scene_changes(untrained: dict[str, str], source: vs.VideoNode) -> None:
    cuts = (2, 19, 20, 33)
    marked = core.std.Splice(
        [source[n].std.SetFrameProps(_SceneChangePrev=1) if n in cuts else source[n] for n in range(LENGTH)]
    )
    expected = pixels(filtered(marked, untrained, "deblur", device_id=-1))
    assert_same(pixels(filtered(marked, untrained, "deblur", device_id=0)), expected)
    assert_same(pixels(filtered(marked, untrained, "deblur", device_id=0), [21, 18]), expected[[21, 18]])


def test_filters_side_by_side_and_in_a_chain(untrained: dict[str, str], source: vs.VideoNode) -> None:
    def chain(device: int) -> vs.VideoNode:
        deblurred = filtered(source, untrained, "deblur", device_id=device)
        return filtered(deblurred, untrained, "denoise", device_id=device)

    assert_same(pixels(chain(0)), pixels(chain(-1)))
    first, second = (filtered(source, untrained, "deblur", device_id=0) for _ in range(2))
    both = core.std.Interleave([first, second])
    actual = pixels(both, range(2 * LENGTH))
    assert_same(actual[::2], actual[1::2])


def test_out_of_memory_says_what_to_do(untrained: dict[str, str]) -> None:
    clip = core.std.BlankClip(width=2048, height=2048, length=2, format=vs.GRAYS, keep=True)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + (64 << 20)
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(vs.Error, match=r"Deblur: .*memory.*lower block"):
            core.gshift.Deblur(clip, model=untrained["deblur"], device_id=0).get_frame(0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# Streams


def streamed(network: ShiftNet, clip: Tensor, noise: Tensor | None, cuts: set[int], execution: Execution) -> Tensor:
    stream = Stream(network, block=4, execution=execution)
    parts = []
    for first in range(0, len(clip), 4):
        part = slice(first, first + 4)
        flags = [number in cuts for number in range(len(clip))[part]]
        parts.append(stream.push(clip[part], None if noise is None else noise[part], flags))
    if execution == "auto":
        assert stream.mode == ("pipeline" if network.variant.merge else "graph")
    return torch.cat([*parts, stream.finish()])


@pytest.mark.parametrize("name", list(VARIANTS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_graph_steady_state_and_pipeline_agree(name: str, dtype: torch.dtype) -> None:
    network = lively(ShiftNet(VARIANTS[name])).to("cuda", dtype)
    length = 2 * network.radius + 4 * (WARM_UP + 5) + 2
    clip = torch.rand(length, 3, 32, 48, device="cuda", dtype=dtype)
    noise = torch.rand_like(clip[:, :1]) * 0.2 if network.variant.task == "denoise" else None
    cuts = {5, 2 * network.radius + 9, length - 6}
    expected = streamed(network, clip, noise, cuts, "pipeline") - clip
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    for execution in ("steady", "auto"):
        actual = streamed(network, clip, noise, cuts, execution) - clip  # type: ignore[arg-type]
        assert relative_error(actual.float(), expected.float()) <= tolerance


def test_a_graph_goes_with_its_stream() -> None:
    network = lively(ShiftNet(VARIANTS["deblur-tiny"])).cuda()

    def allocated() -> int:
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    clip = torch.rand(4, 3, 128, 128, device="cuda")
    sizes = []
    for _ in range(3):
        stream = Stream(network)
        for _ in range(12):
            stream.push(clip)
        assert stream.mode == "graph"
        del stream
        sizes.append(allocated())
    assert sizes[1] == sizes[2]


def test_memory_stays_as_it_is(untrained: dict[str, str]) -> None:
    clip = core.std.BlankClip(width=320, height=180, length=400, format=vs.YUV420P8, keep=True)
    node = filtered(clip, untrained, "deblur", device_id=0, fp16=True)
    sizes = []
    for n, _ in enumerate(node.frames(backlog=4)):
        if n in (120, 380):
            sizes.append(torch.cuda.memory_reserved())
    assert sizes[0] == sizes[1]
