"""Which frames count, and that the network is run over them as the protocol says."""

from dataclasses import dataclass, field

import pytest
import torch
from standin import lively, relative_error
from torch import Tensor

from evaluation import memory
from evaluation.errors import EvaluationError
from evaluation.frames import Noisy, Stack
from evaluation.protocols import Full, Published, evenly_spaced, overlap
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.streaming import restore

CPU = torch.device("cpu")


@dataclass
class Recorded(Stack):
    """Frames that remember which of them were read."""

    frames: Tensor
    seen: set[int] = field(default_factory=set)

    def read(self, span: range) -> Tensor:
        self.seen |= set(span)
        return super().read(span)


@pytest.fixture(scope="module")
def deblurring() -> ShiftNet:
    torch.manual_seed(1)
    return lively(ShiftNet(VARIANTS["deblur-tiny"]))


@pytest.fixture(scope="module")
def denoising() -> ShiftNet:
    torch.manual_seed(2)
    return lively(ShiftNet(VARIANTS["denoise-tiny"]))


def noise_map(clip: Tensor, sigma: float) -> Tensor:
    return torch.full((len(clip), 1, *clip.shape[2:]), sigma / 255)


def assert_same_change(actual: Tensor, expected: Tensor, source: Tensor) -> None:
    assert actual.shape == expected.shape
    assert relative_error(actual - source, expected - source) <= 1e-5


@pytest.mark.parametrize(
    ("variant", "length", "spans"),
    [
        ("deblur-plus", 52, [(2, 50)]),
        ("deblur-plus", 99, [(2, 50)]),
        ("deblur-plus", 100, [(2, 50), (50, 98)]),
        ("deblur-small", 100, [(2, 98)]),
        ("deblur-small", 195, [(2, 98)]),
        ("deblur-small", 196, [(2, 98), (98, 194)]),
        ("deblur-tiny", 100, [(2, 98)]),
        ("denoise-plus", 5, [(2, 3)]),
        ("denoise-small", 104, [(2, 102)]),
        ("denoise-small", 105, [(2, 52), (52, 103)]),
        ("denoise-plus", 254, [(2, 127), (127, 252)]),
    ],
)
def test_frames_that_the_authors_restore(variant: str, length: int, spans: list[tuple[int, int]]) -> None:
    assert Published().spans(VARIANTS[variant], length) == [range(*span) for span in spans]


@pytest.mark.parametrize(
    ("variant", "length", "complaint"),
    [
        ("deblur-plus", 51, "needs 52 frames"),
        ("deblur-small", 99, "needs 100 frames"),
        ("denoise-small", 4, "4 frames"),
    ],
)
def test_clips_too_short_for_the_authors_are_refused(variant: str, length: int, complaint: str) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        Published().spans(VARIANTS[variant], length)


@pytest.mark.parametrize(("side", "pixels"), [(480, 32), (852, 22), (720, 24), (64, 32), (20, 10)])
def test_how_far_quadrants_reach_over_the_middle(side: int, pixels: int) -> None:
    assert overlap(side) == pixels
    assert (side // 2 + pixels) % 16 == 0 or side // 2 + pixels == side


def test_some_frames_lie_evenly_in_the_clip() -> None:
    assert evenly_spaced(100, 12, 3) == [range(14, 18), range(47, 51), range(81, 85)]
    assert evenly_spaced(10, 10, 3) == [range(0, 3), range(3, 6), range(6, 10)]
    assert evenly_spaced(9, 2, 5) == [range(1, 2), range(6, 7)]
    for length, count, runs in ((377, 24, 3), (109, 24, 3), (50, 49, 7), (5, 4, 3)):
        spans = evenly_spaced(length, count, runs)
        numbers = [n for span in spans for n in span]
        assert len(numbers) == len(set(numbers)) == count
        assert 0 <= min(numbers) <= max(numbers) < length


def test_full_restores_every_frame_as_the_stream_does(denoising: ShiftNet) -> None:
    clip = torch.rand(13, 3, 16, 24)
    spans = Full().spans(denoising.variant, 13)
    actual = torch.cat([piece for span in spans for piece in Full().restore(denoising, Stack(clip), span, 20.0)])
    assert torch.equal(actual, restore(denoising, clip, noise_map(clip, 20.0)))


@pytest.mark.parametrize("length", [9, 14, 40])
def test_some_frames_are_restored_as_among_all(deblurring: ShiftNet, length: int) -> None:
    clip = torch.rand(length, 3, 8, 16)
    whole = restore(deblurring, clip)
    protocol = Full(frames=6, segments=3)
    for span in protocol.spans(deblurring.variant, length):
        source = Recorded(clip)
        actual = torch.cat(list(protocol.restore(deblurring, source, span, None)))
        part = slice(span.start, span.stop)
        assert_same_change(actual, whole[part], clip[part])
        assert source.seen <= set(range(span.start - deblurring.radius, span.stop + deblurring.radius))


def test_chunks_are_fed_with_two_frames_on_either_side(deblurring: ShiftNet) -> None:
    clip = torch.rand(12, 3, 16, 16)
    protocol = Published(chunk=3)
    spans = protocol.spans(deblurring.variant, 12)
    assert spans == [range(2, 5), range(5, 8)]
    for span in spans:
        source = Recorded(clip)
        actual = torch.cat(list(protocol.restore(deblurring, source, span, None)))
        assert source.seen == set(range(span.start - 2, span.stop + 2))
        fed = clip[span.start - 2 : span.stop + 2]
        assert_same_change(actual, deblurring(fed)[2:-2], fed[2:-2])


def test_chunks_of_the_small_network_wrap_around() -> None:
    network = lively(ShiftNet(VARIANTS["deblur-small"]))
    clip = torch.rand(6, 3, 8, 8)
    actual = torch.cat(list(Published(chunk=2).restore(network, Stack(clip), range(2, 4), None)))
    assert_same_change(actual, network(clip)[2:-2], clip[2:-2])
    held = network(clip, cuts=(0,))[2:-2]
    assert relative_error(actual - clip[2:-2], held - clip[2:-2]) > 1e-3


def test_frames_are_cropped_to_fours_and_padded_to_what_the_network_needs(deblurring: ShiftNet) -> None:
    protocol = Published(chunk=1)
    assert protocol.size((23, 30)) == (20, 28)
    with pytest.raises(EvaluationError, match="too small"):
        protocol.size((3, 30))
    clip = torch.rand(5, 3, 23, 30)
    actual = torch.cat(list(protocol.restore(deblurring, Stack(clip), range(2, 3), None)))
    cropped = clip[..., :20, :28]
    padded = torch.nn.functional.pad(cropped, (0, 4, 0, 4), mode="replicate")
    assert_same_change(actual, deblurring(padded)[2:-2, :, :20, :28], cropped[2:-2])


def test_denoising_goes_by_quadrants(denoising: ShiftNet) -> None:
    height, width, sigma = 72, 104, 30.0
    clip = torch.rand(5, 3, height, width)
    actual = torch.cat(list(Published().restore(denoising, Stack(clip), range(2, 3), sigma)))
    assert actual.shape == (1, 3, height, width)
    # 72 / 2 = 36 and 104 / 2 = 52 are 4 over a multiple of 16, so 28 pixels of the other side are seen.
    for rows, seen_rows in ((slice(0, 36), slice(0, 64)), (slice(36, 72), slice(8, 72))):
        for columns, seen_columns in ((slice(0, 52), slice(0, 80)), (slice(52, 104), slice(24, 104))):
            part = clip[..., seen_rows, seen_columns]
            alone = torch.zeros_like(clip)
            alone[..., seen_rows, seen_columns] = denoising(part, noise_map(part, sigma))
            assert_same_change(actual[..., rows, columns], alone[2:3, :, rows, columns], clip[2:3, :, rows, columns])


def test_precision_is_the_authors(monkeypatch: pytest.MonkeyPatch) -> None:
    def precisions() -> dict[str, torch.dtype]:
        return {name: Published().dtype(variant, CPU) for name, variant in VARIANTS.items()}

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: True)
    assert {name for name, dtype in precisions().items() if dtype == torch.float32} == {"denoise-plus"}
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: False)
    assert set(precisions().values()) == {torch.float32}


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_reported_in_one_line(
    error: Exception, deblurring: ShiftNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Tensor:
        raise error

    monkeypatch.setattr(ShiftNet, "forward", fail)
    with pytest.raises(EvaluationError, match=r"7 frames of 16x8 at once; use the full protocol"):
        list(Published(chunk=3).restore(deblurring, Stack(torch.rand(7, 3, 8, 16)), range(2, 5), None))


def test_too_little_memory_is_foreseen(
    deblurring: ShiftNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> None:
        list(Published(chunk=3).restore(deblurring, Stack(torch.rand(7, 3, 8, 16)), range(2, 5), None))

    expected = memory.needed(deblurring.variant, 7, (8, 16), torch.float32)
    monkeypatch.setattr(memory, "installed", lambda device: expected)
    run()
    assert not caplog.records
    monkeypatch.setattr(memory, "installed", lambda device: expected - 1)
    run()
    assert "7 frames of 16x8 at once" in caplog.text
    monkeypatch.undo()
    assert memory.installed(CPU) > 2**28

    # Measured: the growth of resident memory with the frames of a clip, in bytes for each pixel and frame.
    for name, measured in (("deblur-plus", 2000), ("deblur-small", 1600), ("deblur-tiny", 340)):
        assert memory.needed(VARIANTS[name], 1, (80, 80), torch.float32) / 6400 == pytest.approx(measured, rel=0.25)
    gopro = memory.needed(VARIANTS["deblur-small"], 100, (720, 1280), torch.float16)
    # The frames themselves stay in single precision.
    single = memory.needed(VARIANTS["deblur-small"], 100, (720, 1280), torch.float32)
    assert gopro == pytest.approx(single / 2, rel=0.02)
    assert gopro > single / 2


def test_other_failures_pass_unchanged(deblurring: ShiftNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(ShiftNet, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        list(Published(chunk=1).restore(deblurring, Stack(torch.rand(5, 3, 8, 8)), range(2, 3), None))


def test_noise_belongs_to_the_frame() -> None:
    clean = Stack(torch.full((9, 3, 64, 64), 0.5))

    def noise(sigma: float, span: range, *, seed: int = 0, name: str = "a") -> Tensor:
        return Noisy(clean, sigma, seed=seed, name=name).read(span) - 0.5

    whole = noise(20, range(9))
    assert torch.equal(torch.cat((noise(20, range(5, 9)), noise(20, range(5)))), torch.cat((whole[5:], whole[:5])))
    torch.testing.assert_close(noise(40, range(9)), 2 * whole)
    assert float(255 * whole.std()) == pytest.approx(20, rel=0.01)
    assert abs(float(255 * whole.mean())) < 0.3
    others = [noise(20, range(9), seed=1), noise(20, range(9), name="b"), whole.roll(1, 0)]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack((whole.flatten(), other.flatten())))[0, 1])) < 0.02


def test_denoising_without_sigma_is_refused(denoising: ShiftNet) -> None:
    with pytest.raises(EvaluationError, match="sigma"):
        list(Full().restore(denoising, Stack(torch.rand(2, 3, 8, 8)), range(2), None))
