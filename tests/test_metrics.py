"""PSNR, flicker and the two SSIMs against numbers worked out by hand and those of scikit-image and scipy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation.metrics import C1, C2, authors_ssim, flicker, psnr, ssim

type Measure = Callable[[Tensor, Tensor], Tensor]


def flat(value: float, *, frames: int = 1, size: tuple[int, int] = (24, 20)) -> Tensor:
    """Frames of one grey."""
    return torch.full((frames, 3, *size), value, dtype=torch.float64)


def chequered(amplitude: float, size: tuple[int, int] = (48, 48)) -> Tensor:
    """A pattern (1, 3, H, W) that is +amplitude and -amplitude by turns: noise whose figures are known."""
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    return (amplitude * (1 - 2 * ((rows + columns) % 2)).double()).expand(1, 3, *size)


def noisy_pair() -> tuple[Tensor, Tensor]:
    """Something with structure and a noisy version of it, both in [0, 1], (2, 3, 33, 46)."""
    y, x = torch.meshgrid(torch.linspace(0, 6, 33), torch.linspace(0, 9, 46), indexing="ij")
    expected = torch.stack([0.5 + 0.4 * torch.sin(x * k) * torch.cos(y + k) for k in (1.0, 1.7, 2.3)])
    expected = torch.stack((expected, 0.6 * expected.flip(-1))).double()
    return (expected + 0.1 * torch.randn(expected.shape)).clamp(0, 1), expected


@pytest.mark.parametrize("levels", [1, 0.3, 20])
def test_psnr_of_a_constant_offset(levels: float) -> None:
    # 0.3 levels would be lost if anything were rounded to 8 bits.
    actual = psnr(flat(0.5 + levels / 255), flat(0.5))
    assert actual.tolist() == pytest.approx([20 * math.log10(255 / levels)], abs=1e-9)


def test_psnr_of_noise_by_hand() -> None:
    assert float(psnr(0.5 + chequered(0.1), flat(0.5, size=(48, 48)))) == pytest.approx(20, abs=1e-9)


def test_psnr_of_gaussian_noise_is_that_of_its_sigma() -> None:
    expected = flat(0.5, size=(400, 400))
    actual = expected + 25 / 255 * torch.randn(expected.shape, dtype=torch.float64)
    assert float(psnr(actual, expected)) == pytest.approx(20 * math.log10(255 / 25), abs=0.03)


def test_each_frame_has_a_psnr_of_its_own() -> None:
    offsets = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert psnr(flat(0.5, frames=2) + offsets, flat(0.5, frames=2)).tolist() == pytest.approx([20, 40], abs=1e-5)


def test_what_is_found_is_clamped_and_equal_frames_are_infinitely_good() -> None:
    actual = torch.cat((flat(1.7), flat(-0.2)))
    expected = torch.cat((flat(1.0), flat(0.0)))
    assert psnr(actual, expected).tolist() == [math.inf, math.inf]
    assert ssim(actual, expected).tolist() == pytest.approx([1, 1], abs=1e-12)


def test_flicker_is_the_change_of_the_error_not_the_error() -> None:
    expected = torch.rand(4, 3, 24, 20, dtype=torch.float64) / 2
    offsets = torch.tensor([0.1, 0.1, 0.3, 0.2], dtype=torch.float64)[:, None, None, None]
    assert flicker(expected + offsets, expected).tolist() == pytest.approx([0, 0.2 * 255, 0.1 * 255], abs=1e-9)
    assert flicker(expected[:1] + 0.1, expected[:1]).shape == (0,)


def test_flicker_of_independent_noise_is_its_sigma_times_the_root_of_two() -> None:
    expected = flat(0.5, frames=2, size=(400, 400))
    actual = expected + 25 / 255 * torch.randn(expected.shape, dtype=torch.float64)
    assert float(flicker(actual, expected)) == pytest.approx(25 * math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("measure", [ssim, authors_ssim])
def test_ssim_of_two_greys_by_hand(measure: Measure) -> None:
    a, b = 0.2, 0.7
    actual = measure(flat(a), flat(b))
    assert actual.tolist() == pytest.approx([(2 * a * b + C1) / (a * a + b * b + C1)], abs=1e-9)


@pytest.mark.parametrize("measure", [ssim, authors_ssim])
def test_ssim_of_noise_on_grey_by_hand(measure: Measure) -> None:
    # The pattern has the mean 0 under the window, so what is left is C2 / (variance + C2).
    actual = measure(0.5 + chequered(0.05), flat(0.5, size=(48, 48)))
    assert actual.tolist() == pytest.approx([C2 / (0.05**2 + C2)], rel=2e-3)


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    actual, expected = noisy_pair()
    pairs = [(expected[n].numpy(), actual[n].numpy()) for n in range(2)]
    assert psnr(actual, expected).tolist() == pytest.approx(
        [metrics.peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs], abs=1e-9
    )
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}
    theirs = [metrics.structural_similarity(*pair, **options) for pair in pairs]
    assert ssim(actual, expected).tolist() == pytest.approx(theirs, abs=1e-9)
    assert all(0.2 < value < 0.9 for value in theirs)


def test_scikit_images_published_check() -> None:
    """0.357959091663361 was computed by IPOL's imdiff for scikit-image's test of a Gaussian window."""
    data = pytest.importorskip("skimage.data")
    camera = data.camera()
    noise = 20.0 * np.random.RandomState(5).randn(*camera.shape)
    noisy = np.clip(camera + noise, 0, 255).astype(np.uint8)
    actual, expected = (torch.from_numpy(image / 255.0).expand(1, 3, -1, -1) for image in (noisy, camera))
    assert float(ssim(actual, expected)) == pytest.approx(0.357959091663361, abs=1e-5)


@pytest.mark.parametrize("size", [(33, 46), (4, 5), (1, 1)])
def test_the_authors_ssim_filters_all_three_axes(size: tuple[int, int]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    actual, expected = (clip[..., : size[0], : size[1]] for clip in noisy_pair())

    def by_definition(x: np.ndarray, y: np.ndarray) -> float:
        def blur(z: np.ndarray) -> np.ndarray:
            return np.asarray(ndimage.gaussian_filter(z, 1.5))

        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        quotient = (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))
        return float(quotient.mean())

    expected_values = [by_definition(actual[n].numpy(), expected[n].numpy()) for n in range(2)]
    assert authors_ssim(actual, expected).tolist() == pytest.approx(expected_values, abs=1e-9)


def test_the_two_ssims_differ() -> None:
    actual, expected = noisy_pair()
    assert (ssim(actual, expected) - authors_ssim(actual, expected)).abs().min() > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_measures_the_same() -> None:
    actual, expected = noisy_pair()
    for measure in (psnr, flicker, ssim, authors_ssim):
        torch.testing.assert_close(measure(actual.cuda(), expected.cuda()).cpu(), measure(actual, expected))


@pytest.mark.parametrize("measure", [psnr, flicker, ssim, authors_ssim])
def test_clips_of_different_shapes_are_refused(measure: Measure) -> None:
    with pytest.raises(ValueError, match="one shape"):
        measure(flat(0.5), flat(0.5, size=(24, 21)))
    with pytest.raises(ValueError, match="one shape"):
        measure(flat(0.5)[0], flat(0.5)[0])


def test_frames_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11x11, not 20x10"):
        ssim(flat(0.5, size=(10, 20)), flat(0.5, size=(10, 20)))
