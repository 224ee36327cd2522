"""The noise estimator, on arrays."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.clips import synthetic
from vsgshift.analysis import Level, combined, level, weighted_median

pytestmark = pytest.mark.usefixtures("one_thread")

SIGMAS = (5, 10, 20, 30, 50)


@pytest.fixture(scope="module")
def generated() -> list[NDArray[np.float32]]:
    """Clips (3, 3, 180, 320) on the 8-bit scale, clean."""
    generator = torch.Generator().manual_seed(21)
    pool = synthetic.Pool(generator, scenes=3, tiles=6)
    clips = [synthetic.clip(generator, frames=3, size=(180, 320), pool=pool, speed=6.0) for _ in range(6)]
    return [255 * clip.numpy() for clip in clips]


def with_noise(clip: NDArray[np.float32], sigma: float, *, clipped: bool = False, seed: int = 0) -> NDArray[np.float32]:
    noisy = clip + np.float32(sigma) * np.random.default_rng(seed).standard_normal(clip.shape, np.float32)
    return np.clip(np.round(noisy), 0, 255) if clipped else noisy


def measured(frames: NDArray[np.float32]) -> Level:
    """The noise of the middle one of three RGB frames (3, 3, H, W)."""
    levels = [level(frames[1, c], [frames[0, c], frames[2, c]], black=0, white=255) for c in range(3)]
    return combined(levels, (1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize("size", [(16, 16), (41, 23), (180, 320), (100, 1500), (1200, 90)])
@pytest.mark.parametrize("sigma", [1, 50])
def test_noise_alone(size: tuple[int, int], sigma: float) -> None:
    actual = [
        level(with_noise(np.full(size, 128, np.float32), sigma, seed=seed), black=0, white=255) for seed in range(9)
    ]
    # The smaller the plane, the less there is to average.
    tolerance = 0.3 if min(size) < 20 else 0.12 if min(size) < 80 else 0.04
    assert np.median([each.sigma for each in actual]) == pytest.approx(sigma, rel=tolerance)
    assert all(each.confidence > 0.7 for each in actual)


@pytest.mark.parametrize("clipped", [False, True], ids=["unclipped", "8-bit"])
def test_generated_clips(generated: list[NDArray[np.float32]], clipped: bool) -> None:
    for sigma in SIGMAS:
        actual = [measured(with_noise(clip, sigma, clipped=clipped)) for clip in generated]
        errors = np.array([each.sigma / sigma - 1 for each in actual])
        assert np.median(np.abs(errors)) <= 0.06
        assert errors.min() >= -0.15
        # Fine texture all over the picture that moves looks like noise, but then confidence is low.
        assert all(error <= 0.15 for error, each in zip(errors, actual, strict=True) if each.confidence > 0.6)
        assert sigma < 20 or errors.max() <= 0.15


def test_clean_generated_clips(generated: list[NDArray[np.float32]]) -> None:
    actual = [measured(with_noise(clip, 0, clipped=True)) for clip in generated]
    assert np.median([each.sigma for each in actual]) < 1
    assert all(each.sigma < 2 or each.confidence < 0.5 for each in actual)


def test_confidence_falls_where_texture_hides_the_noise(generated: list[NDArray[np.float32]]) -> None:
    still = np.repeat(generated[0][:1], 3, 0)
    rng = np.random.default_rng(1)
    torn = rng.uniform(0, 255, still.shape).astype(np.float32)
    assert measured(with_noise(still, 10)).confidence > 0.9
    noisy_part = np.concatenate([with_noise(still, 10)[..., :160], torn[..., 160:]], -1)
    assert measured(noisy_part).sigma == pytest.approx(10, rel=0.1)
    assert measured(noisy_part).confidence < 0.6


def test_time_helps_against_texture() -> None:
    texture = np.random.default_rng(2).uniform(50, 200, (180, 320)).astype(np.float32)
    frames = with_noise(np.repeat(texture[None], 2, 0), 8)
    assert level(frames[1], black=0, white=255).sigma > 30
    assert level(frames[1], [frames[0]], black=0, white=255).sigma == pytest.approx(8, rel=0.05)


def test_repeated_frames_do_not_pass_for_clean() -> None:
    noisy = with_noise(np.full((180, 320), 120, np.float32), 10)
    other = with_noise(np.full((180, 320), 120, np.float32), 10, seed=1)
    for neighbours in ([noisy], [noisy, noisy], [noisy, other]):
        assert level(noisy, neighbours, black=0, white=255).sigma == pytest.approx(10, rel=0.05)


def test_letterboxes_and_burnt_skies_do_not_count() -> None:
    picture = with_noise(np.full((180, 320), 120, np.float32), 10, clipped=True)
    picture[:40] = 0
    picture[-40:] = 255
    assert level(picture, black=0, white=255).sigma == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("plane", [np.zeros((90, 160)), np.full((90, 160), 255.0), np.full((5, 160), 9.0)])
def test_nothing_to_measure(plane: NDArray[Any]) -> None:
    assert level(plane, [plane], black=0, white=255) == Level(0.0, 0.0)


def test_samples_that_are_no_numbers_are_left_out() -> None:
    picture = with_noise(np.full((180, 320), 120, np.float32), 10)
    picture[20:60, 50:200] = np.nan
    picture[100:120] = np.inf
    assert level(picture, [picture[::-1]], black=0, white=255).sigma == pytest.approx(10, rel=0.06)


def test_smoothing_is_a_median_by_confidence() -> None:
    sure, unsure = Level(4.0, 0.9), Level(30.0, 0.1)
    assert weighted_median([sure, unsure, unsure]) == 4
    assert weighted_median([Level(9.0, 0.5), sure, Level(5.0, 0.5)]) == 5
    assert weighted_median([Level(0.0, 0.0), unsure]) == 30
    assert weighted_median([Level(0.0, 0.0)]) == 0
