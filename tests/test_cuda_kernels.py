"""Each fused kernel for CUDA against the plain modules.

On a CUDA device the kernels run compiled, and first choose their configurations. Without one they run in
Triton's interpreter (`conftest` asks for it), where every operation of every program takes as long whatever
its size: there the frames are tiny, and the tiles large.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from standin import lively, relative_error
from torch import Tensor

pytest.importorskip("triton", reason="Triton comes with torch's CUDA builds only")

from vsgshift.engine import folding
from vsgshift.engine.cuda import align, attention, expand, gate, motion, multiply, project, residual, tuning
from vsgshift.engine.cuda.blocks import (
    FusedGatedBlock,
    FusedMerge,
    FusedResidualBlock,
    FusedShiftStep,
    PaddedFrameUNets,
    fuse,
)
from vsgshift.engine.cuda.halves import columns
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network import merge as definition
from vsgshift.network.gated import GatedBlock, ShiftStep, plus_identity
from vsgshift.network.layers import ResidualBlock
from vsgshift.network.shift import Direction, channel_offsets, spatial_shift
from vsgshift.network.shifted import EDGE, Shifted
from vsgshift.network.timeline import WholeClip
from vsgshift.streaming import Stream
from vsgshift.streaming.graphed import device_lock

COMPILED = torch.cuda.is_available()
DEVICE = torch.device("cuda" if COMPILED else "cpu")
CARD = torch.device("cuda", 0)
TOLERANCE = 1e-5
SHAPES = [("deblur-tiny", 2, 5, 7), ("denoise-small", 1, 3, 21), ("denoise-plus", 1, 9, 4)]
"""Widths 48, 64 and 80; below the shift on one side or both; odd; single frames."""
LARGE_TILES = [
    (align.KERNEL, {"BLOCK_H": 32, "BLOCK_W": 64, "BLOCK_C": 64}),
    (multiply.KERNEL, {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_C": 64}),
    (gate.KERNEL, {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_K": 16}),
    (residual.CONVOLVE, {"BLOCK_H": 8, "BLOCK_W": 16, "BLOCK_N": 64, "BLOCK_K": 64}),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not COMPILED and "as_shipped" not in request.fixturenames:
        for kernel, config in LARGE_TILES:
            monkeypatch.setattr(kernel, "configs", (config,))


@pytest.fixture
def as_shipped() -> None:
    """The configurations that are shipped, in the interpreter too."""


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE).contiguous(memory_format=torch.channels_last)


def shift_step(name: str, direction: Direction) -> ShiftStep:
    """A step with all its parameters at work."""
    step = ShiftStep(VARIANTS[name], direction).eval().requires_grad_(False).to(DEVICE)
    for parameter_name, parameter in step.named_parameters():
        if parameter_name.endswith(("beta", "project.bias", "norm.bias")):
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter_name.endswith("norm.weight"):
            torch.nn.init.normal_(parameter, mean=1, std=0.2)
    return step


def psnr(actual: Tensor, expected: Tensor) -> float:
    """Of half precision against float32; the peak is the largest value of what is wanted."""
    return float(20 * torch.log10(expected.abs().max()) - 10 * torch.log10((actual.float() - expected).square().mean()))


def close(actual: Tensor, expected: Tensor) -> bool:
    assert actual.shape == expected.shape
    return relative_error(actual, expected) <= TOLERANCE


def streamed(x: Tensor, edge: Tensor, direction: Direction, held: Iterable[bool]) -> Shifted:
    """A run of a stream: ``edge`` came before ``x``."""
    count = len(x)
    behind = torch.arange(-1, count - 1, dtype=torch.int32, device=DEVICE)
    ahead = torch.arange(count, dtype=torch.int32, device=DEVICE)
    past = direction is Direction.PAST
    assert behind[0] == EDGE
    return Shifted(
        direction=direction,
        frames=x,
        edge=edge,
        own=ahead if past else behind,
        neighbour=behind if past else ahead,
        held=torch.tensor(list(held), device=DEVICE),
    )


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("boundary", ["hold", "wrap"])
def test_a_shift_not_carried_out_is_the_same_shift(direction: Direction, boundary: str) -> None:
    x = random(4, 48, 2, 3)
    time = WholeClip(4, boundary=boundary, cuts=[2] if boundary == "hold" else [])  # type: ignore[arg-type]
    assert torch.equal(time.shift_lazily(x, direction).whole(), time.shift(x, direction))


@pytest.mark.parametrize("direction", Direction)
def test_a_streamed_shift_is_that_of_the_clip(direction: Direction) -> None:
    x = random(4, 48, 2, 3)
    time = WholeClip(4, cuts=[2])
    past = direction is Direction.PAST
    expected = time.shift(x, direction)[1:] if past else time.shift(x, direction)[:-1]
    for edge in (x[:1], x[:1, 24:]) if past else (x[:1],):
        assert torch.equal(streamed(x[1:], edge, direction, [False, True, False]).whole(), expected)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(("name", "frames", "height", "width"), SHAPES)
def test_align(name: str, frames: int, height: int, width: int, direction: Direction) -> None:
    step = shift_step(name, direction)
    x = random(frames, VARIANTS[name].core_width, height, width)
    time = WholeClip(frames, boundary="wrap")
    shifted = time.shift(x, direction)
    past = direction is Direction.PAST
    arrived = shifted[:, : step.arriving] if past else shifted[:, step.arriving :]
    expected = step.align(spatial_shift(arrived))
    offsets = channel_offsets(step.arriving).T.contiguous().to(DEVICE)
    weight = folding.taps(step.align.weight)
    for way in (shifted, time.shift_lazily(x, direction)):
        assert close(align.align(way, offsets, weight, past=past), expected)


@pytest.mark.parametrize(("name", "frames", "height", "width"), SHAPES)
@pytest.mark.parametrize("beside", [False, True])
def test_expand(name: str, frames: int, height: int, width: int, beside: bool) -> None:
    step = shift_step(name, Direction.FUTURE)
    block = step.fuse if beside else step.refine
    # Far from zero mean: where the variance is taken carelessly, this is where it shows.
    x = random(frames, VARIANTS[name].core_width, height, width) + 5
    side = random(frames, step.arriving, height, width) if beside else None
    shifted = WholeClip(frames, boundary="wrap").shift_lazily(x, Direction.FUTURE)
    joined = shifted.whole() if side is None else torch.cat((shifted.whole(), side), 1)
    expected = block.expand(block.norm(joined))
    folded = folding.gated(block)
    weights = columns(folded.expand, torch.float32), folded.expand_bias
    assert close(expand.expand(shifted, side, *weights), expected)
    assert close(expand.expand(shifted.whole(), side, *weights), expected)


@pytest.mark.parametrize(("name", "frames", "height", "width"), SHAPES)
def test_multiply(name: str, frames: int, height: int, width: int) -> None:
    block = shift_step(name, Direction.PAST).refine
    z = random(frames, 2 * VARIANTS[name].core_width, height, width)
    a, b = plus_identity(z, block.expand_depthwise).chunk(2, 1)
    weight = folding.taps(folding.gated(block).depthwise)
    actual, partial = multiply.multiply(z, weight, pool=True)
    assert close(actual, a * b)
    assert partial is not None
    assert close(partial.sum(1), (a * b).sum((2, 3)))
    assert close(multiply.multiply(z, weight, pool=False)[0], a * b)


@pytest.mark.parametrize(
    ("name", "frames", "height", "width", "scaled"),
    [(*shape, scaled) for shape, scaled in zip((*SHAPES, SHAPES[0]), (False, True, True, True), strict=True)],
)
def test_gate(name: str, frames: int, height: int, width: int, scaled: bool) -> None:
    block = shift_step(name, Direction.PAST).refine
    p = random(frames, VARIANTS[name].core_width, height, width)
    scale = torch.rand(p.shape[:2], device=DEVICE) if scaled else None
    mixed = plus_identity(p if scale is None else p * scale[:, :, None, None], block.mix5, block.mix3)
    a, b = block.gate(mixed).chunk(2, 1)
    expected = a * torch.sigmoid(b)
    folded = folding.gated(block)
    mix, weight = gate.layout(folded.mix, torch.float32), columns(folded.gate, torch.float32)
    actual, partial = gate.gate(p, scale, mix, weight)
    assert close(actual, expected)
    assert close(partial.sum(1), expected.sum((2, 3)))


def test_other_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 1 or 8"):
        gate.layout(torch.zeros(64, 4, 5, 5), torch.float32)


@pytest.mark.parametrize("name", ["deblur-small", "denoise-plus"])
def test_attention(name: str) -> None:
    plain = shift_step(name, Direction.PAST).refine.attention
    x = random(3, VARIANTS[name].core_width, 10, 13)
    partial = x.flatten(2).unflatten(2, (65, 2)).sum(3).transpose(1, 2).contiguous()
    actual = attention.attention(partial, *attention.layout(plain), 130)
    assert close(actual, plain.gate(x)[:, :, 0, 0])


@pytest.mark.parametrize(("name", "frames", "height", "width"), SHAPES)
def test_project(name: str, frames: int, height: int, width: int) -> None:
    block = shift_step(name, Direction.PAST).refine
    channels = VARIANTS[name].core_width
    x, g = random(frames, channels, height, width), random(frames, channels, height, width)
    scale = torch.rand(frames, channels, device=DEVICE)
    shifted = WholeClip(frames, boundary="wrap").shift_lazily(x, Direction.PAST)
    expected = shifted.whole() + block.beta * block.project(g * scale[:, :, None, None])
    folded = folding.gated(block)
    weights = columns(folded.project, torch.float32), folded.project_bias
    for way in (shifted, shifted.whole()):
        assert close(project.project(way, g, scale, *weights), expected)


@pytest.mark.parametrize("direction", Direction)
def test_a_step_of_a_stream(direction: Direction) -> None:
    step = shift_step("denoise-tiny", direction)
    fused = FusedShiftStep(step, torch.float32)
    x = random(3, 48, 3, 5)
    read = []

    class Streaming(WholeClip):
        def shift_lazily(self, x: Tensor, direction: Direction) -> Shifted:
            edge = x[:1, 24:] if direction is Direction.PAST else x[:1]
            shifted = streamed(x[1:], edge, direction, [False, True])
            return Shifted(**{**vars(shifted), "done": lambda: read.append(direction)})

    time = Streaming(3, cuts=[2])
    plain = step(x, time)
    assert close(fused(x, time), plain[1:] if direction is Direction.PAST else plain[:-1])
    assert read == [direction]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(not COMPILED, reason="the interpreter multiplies bfloat16 matrices as integers"),
        ),
    ],
)
@pytest.mark.parametrize("name", ["deblur-small", "denoise-plus"])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    step = shift_step(name, Direction.PAST)
    x = random(1, VARIANTS[name].core_width, 5, 9).to(dtype)
    time = WholeClip(1)
    expected = step(x.float(), time)
    actual = psnr(FusedShiftStep(step, dtype)(x, time), expected)
    # The kernels round less often than the plain modules do.
    assert actual >= psnr(step.to(dtype)(x, time), expected)
    assert actual >= (60 if dtype == torch.float16 else 42)


def test_no_frames() -> None:
    block = FusedGatedBlock(shift_step("denoise-tiny", Direction.PAST).refine, torch.float32)
    assert block(random(1, 48, 4, 6)[:0]).shape == (0, 48, 4, 6)


def test_a_network() -> None:
    network = lively(ShiftNet(replace(VARIANTS["denoise-tiny"], merge=0))).to(DEVICE)
    clip, noise = torch.rand(2, 3, 8, 8, device=DEVICE), torch.full((2, 1, 8, 8), 0.1, device=DEVICE)
    fused = fuse(network)
    assert not any(isinstance(module, GatedBlock | ShiftStep | ResidualBlock) for module in fused.modules())
    assert relative_error(fused(clip, noise) - clip, network(clip, noise) - clip) <= TOLERANCE


@pytest.mark.parametrize(("frames", "channels", "reduction", "choice"), [(2, 14, 1, 0), (2, 40, 4, 1), (1, 36, 4, 2)])
def test_a_residual_block(
    frames: int, channels: int, reduction: int, choice: int, as_shipped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residual.CONVOLVE, "configs", (residual.CONVOLVE.configs[choice],))
    block = ResidualBlock(channels, reduction).requires_grad_(False).to(DEVICE)
    x, slope = random(frames, channels, 5, 19), torch.tensor([0.3], device=DEVICE)
    fused = FusedResidualBlock(block)
    assert close(fused(x, slope) - x, block(x, slope) - x)
    assert fused(x[:0], slope).shape == (0, channels, 5, 19)


def test_channels_of_zeros_change_nothing() -> None:
    network = lively(ShiftNet(VARIANTS["denoise-small"])).requires_grad_(False).to(DEVICE)
    wide = PaddedFrameUNets(network.unets_before)
    convolutions = [module for module in wide.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(count % 8 == 0 for module in convolutions for count in module.weight.shape[:2])
    x = random(1, 14, 8, 12)
    assert close(wide(x) - x, network.unets_before(x) - x)


def moving(frames: int, height: int, width: int, sigma: float) -> Tensor:
    """Texture that moves, with noise, a frame that is brighter than white, and samples that are no numbers."""
    coarse = torch.rand(1, 3, height // 4, width // 4)
    texture = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    clip = torch.stack([texture.roll((t, -2 * t), (1, 2)) for t in range(frames)]) + sigma * torch.randn(
        3, height, width
    )
    clip += sigma * torch.randn_like(clip)
    clip[1] *= 3
    clip[0, :, 5, 6], clip[1, 0, 2, 2], clip[1, 1, 2, 3] = torch.nan, torch.inf, -torch.inf
    return clip.to(DEVICE)


def test_what_is_kept_of_a_frame() -> None:
    clip = moving(2, 24, 40, 0.1)
    layout = motion.Layout(24, 40)
    for frame, kept in zip(clip, motion.keep(clip), strict=True):
        assert len(kept) == layout.size
        for level, expected in enumerate(definition.pyramid(frame)):
            height, width = layout.padded(level)
            luma = kept[layout.level(level) :][: height * width].view(height, width).int()
            y, x = (torch.arange(-motion.BORDER, size - motion.BORDER) for size in (height, width))
            rows, columns = y.clamp(0, len(expected) - 1), x.clamp(0, expected.shape[1] - 1)
            assert torch.equal(luma, expected[rows[:, None], columns])
        samples = kept[layout.level(3) :].view(torch.int16).view(3, 24, 40) / definition.SAMPLE_SCALE
        assert torch.equal(samples, definition._samples(frame))


@pytest.mark.parametrize(
    ("height", "width", "frames", "cuts", "choice"), [(16, 24, 3, (), 0), (8, 16, 4, (2,), 1), (8, 8, 1, (), 1)]
)
def test_merge(
    height: int, width: int, frames: int, cuts: tuple[int, ...], choice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motion.MOTION, "configs", (motion.MOTION.configs[choice],))
    sigma = 10 / 255
    clip, time = moving(frames + 1, height, width, sigma)[:frames], WholeClip(frames, cuts=cuts)
    noise = torch.full((frames, 1, height // 2, width // 2), sigma, device=DEVICE)
    expected, actual = (
        merge(time.window(merge.keep(clip), 2), noise) for merge in (definition.Merge(2), FusedMerge(2))
    )
    assert frames == 1 or expected[0].abs().max() > sigma
    for one, other in zip(actual, expected, strict=True):
        assert (one - other).abs().max() < TOLERANCE


def test_merging_in_a_stream() -> None:
    network = lively(ShiftNet(replace(VARIANTS["denoise-tiny"], merge=1))).to(DEVICE)
    # A graph is captured later than the steady state begins.
    length = 7 if COMPILED else 5
    clip, noise = torch.rand(length, 3, 8, 8, device=DEVICE), torch.full((length, 1, 8, 8), 0.2, device=DEVICE)
    cuts = [number in (2, length - 1) for number in range(length)]
    with torch.inference_mode():
        expected = network(clip, noise, cuts=[2, length - 1])
    network.merger = fuse(network).merger
    assert isinstance(network.merger, FusedMerge)
    stream = Stream(network, block=1, execution="auto" if COMPILED else "steady")
    parts = [stream.push(clip[n : n + 1], noise[n : n + 1], cuts[n : n + 1]) for n in range(length)]
    assert stream.mode == ("graph" if COMPILED else "steady")
    assert (torch.cat([*parts, stream.finish()]) - expected).abs().max() < TOLERANCE


def test_equal_inputs_give_equal_bits() -> None:
    block = FusedGatedBlock(shift_step("denoise-tiny", Direction.PAST).refine, torch.float32)
    x = random(2, 48, 40, 60) if COMPILED else random(1, 48, 3, 5)
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize("module", [align, expand, multiply, gate, project], ids=lambda module: module.KERNEL.name)
def test_every_configuration(module: ModuleType, as_shipped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    step = shift_step("denoise-plus", Direction.PAST)
    fused, x, time = FusedShiftStep(step, torch.float32), random(1, 80, 3, 5), WholeClip(1)
    block, large = fused.refine, random(1, 160, 3, 5)
    runs: dict[ModuleType, Callable[[], Tensor]] = {
        align: lambda: align.align(time.shift_lazily(x, Direction.PAST), fused.offsets, fused.align, past=True),
        expand: lambda: expand.expand(x, None, block.expand_weight, block.expand_bias),
        multiply: lambda: multiply.multiply(large, block.depthwise, pool=True)[0],
        gate: lambda: gate.gate(x, None, block.mix, block.gate_weight)[0],
        project: lambda: project.project(x, x, x[:, :, 0, 0].clone(), block.project_weight, block.project_bias),
    }
    actual = []
    for config in module.KERNEL.configs:
        monkeypatch.setattr(module, "KERNEL", tuning.Kernel(module.KERNEL.function, [config]))
        actual.append(runs[module]())
    for other in actual[1:]:
        assert close(other, actual[0])


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a card, for what is said to run on it."""
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "A card")
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: False)


def test_the_fastest_configuration_is_kept(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [{"BLOCK": 1}, {"BLOCK": 2}, {"BLOCK": 3}]
    ran: list[int] = []

    def run(config: tuning.Config) -> None:
        ran.append(config["BLOCK"])
        if config["BLOCK"] == 3:
            raise tuning.OutOfResources(1, 0, "shared memory")  # type: ignore[attr-defined]

    def timed(run: Callable[[], None], **_: int) -> float:
        run()
        return 1 / ran[-1]

    monkeypatch.setattr("triton.testing.do_bench", timed)
    kernel = tuning.Kernel(attention.KERNEL.function, configs)
    assert kernel.choose(CARD, "5x7", run) == {"BLOCK": 2}
    assert ran == [1, 2, 3]
    assert kernel.choose(CARD, "5x7", run) == {"BLOCK": 2}
    assert tuning.Kernel(attention.KERNEL.function, configs).choose(CARD, "5x7", run) == {"BLOCK": 2}
    assert ran == [1, 2, 3]

    (file,) = tuning.cache_folder().rglob("*.json")
    for damage in ("", "[1]", '{"5x7": {"BLOCK": 9}}', '{"5x7": 2}'):
        file.write_text(damage)
        assert tuning.Kernel(attention.KERNEL.function, configs).choose(CARD, "5x7", run) == {"BLOCK": 2}
    assert ran == [1, 2, 3] * 5
    assert tuning.read(file) == {"5x7": {"BLOCK": 2}}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_without_memory_for_timing_the_first_configuration_is_taken(
    card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(run: Callable[[], None], **_: int) -> float:
        raise torch.OutOfMemoryError("no 256 MB")

    monkeypatch.setattr("triton.testing.do_bench", timed)
    kernel = tuning.Kernel(attention.KERNEL.function, [{"BLOCK": 1}, {"BLOCK": 2}])
    assert kernel.choose(CARD, "5x7", lambda config: None) == {"BLOCK": 1}
    assert not list(tuning.cache_folder().rglob("*.json"))


def test_nothing_is_timed_while_a_graph_is_captured(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: True)
    kernel = tuning.Kernel(attention.KERNEL.function, [{"BLOCK": 1}, {"BLOCK": 2}])
    assert kernel.choose(CARD, "5x7", lambda config: pytest.fail("ran")) == {"BLOCK": 1}


def test_the_first_use_of_a_card_is_told(card: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triton.testing.do_bench", lambda run, **_: 1.0)
    kernel = tuning.Kernel(attention.KERNEL.function, [{"BLOCK": 1}, {"BLOCK": 2}])
    told: list[str] = []
    with tuning.telling(told.append):
        for key in ("5x7", "5x8", "5x7"):
            kernel.choose(CARD, key, lambda config: None)
        tuning.Kernel(attention.KERNEL.function, kernel.configs).choose(CARD, "5x7", lambda config: None)
    kernel.choose(CARD, "5x9", lambda config: None)
    start = "first use on A card, about a minute in all: compiling and timing 2 ways to run attention ("
    assert [text.startswith(start) for text in told] == [True, True]
    assert len(set(told)) == 2, "each says how far it is"


def test_no_graph_is_captured_on_a_device_while_kernels_are_timed_there(
    card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = []

    def timed(run: Callable[[], None], **_: int) -> float:
        with ThreadPoolExecutor() as other:
            free.append(other.submit(device_lock(CARD).acquire, blocking=False).result())
        return 1

    monkeypatch.setattr("triton.testing.do_bench", timed)
    tuning.Kernel(attention.KERNEL.function, [{"BLOCK": 1}, {"BLOCK": 2}]).choose(CARD, "5x7", lambda config: None)
    assert free == [False, False]
    assert device_lock(CARD).acquire(blocking=False)
    device_lock(CARD).release()


def test_a_choice_is_for_a_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    step = shift_step("deblur-tiny", Direction.PAST)
    fused, keys = FusedShiftStep(step, torch.float32), defaultdict(list)
    launch = tuning.Kernel.launch

    def noted(self: tuning.Kernel, like: Tensor, key: str, *arguments: object, **constants: object) -> None:
        keys[self.name].append(key)
        launch(self, like, key, *arguments, **constants)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning.Kernel, "launch", noted)
    for frames in (1, 3, 4):
        fused(random(frames, 48, 2, 3), WholeClip(frames))
    for name, each in keys.items():
        # The second stage of the sums has one configuration.
        if name != "attention":
            assert {key.split()[0] for key in each} == {"1x2x3x48", "4x2x3x48"}, name


def test_contraction_is_asked_for() -> None:
    asked = []

    class Function:
        __name__ = "function"

        def __getitem__(self, grid: object) -> Callable[..., None]:
            return lambda *arguments, **options: asked.append(options)

    tuning.Kernel(Function(), [{"BLOCK": 1}]).launch(torch.empty(0), "", lambda config: (1,))
    assert asked == [{"BLOCK": 1, "enable_fp_fusion": True}]


@pytest.mark.parametrize(
    ("channels", "fits"), [(3, [8, 64, 32]), (8, [8]), (24, [8, 32]), (48, [8, 64, 32]), (80, [8, 64, 32])]
)
def test_tiles_that_only_pad_more_than_others_are_not_tried(
    channels: int, fits: list[int], card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    kernel = tuning.Kernel(attention.KERNEL.function, [{"TILE": tile} for tile in (8, 64, 32)], TILE="C")
    fitting = kernel.fitting({"C": channels})
    assert [config["TILE"] for config in fitting] == fits
    monkeypatch.setattr("triton.testing.do_bench", lambda run, **_: run() or 1.0)
    kernel.choose(CARD, "5x7", lambda config: tried.append(config["TILE"]), fitting)
    assert tried == (fits if len(fits) > 1 else [])


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tuning.write(tmp_path / "file" / "choices.json", {"5x7": {"BLOCK": 1}})
    assert tuning.read(tmp_path / "file" / "choices.json") == {}
