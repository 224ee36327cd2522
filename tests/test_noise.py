"""The noise estimator, on arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.clips import synthetic
from vsgshift.analysis import Level, PlaneScale, level, level_to_remove, weighted_median

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


def one_plane(plane: NDArray[Any], neighbours: Sequence[NDArray[Any]] = ()) -> Level:
    """The noise of a grey frame with the frames beside it."""
    return level([plane], [[other] for other in neighbours], [PlaneScale(black=0, white=255, share=1.0)])


def measured(frames: NDArray[np.float32]) -> Level:
    """The noise of the middle one of three RGB frames (3, 3, H, W)."""
    return level(list(frames[1]), [list(frames[0]), list(frames[2])], [PlaneScale(black=0, white=255, share=1 / 3)] * 3)


@pytest.mark.parametrize("size", [(16, 16), (41, 23), (180, 320), (100, 1500), (1200, 90)])
@pytest.mark.parametrize("sigma", [1, 50])
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_noise_alone(size: tuple[int, int], sigma: float, neighbours: int) -> None:
    actual = []
    for seed in range(9):
        frames = with_noise(np.full((3, *size), 128, np.float32), sigma, seed=seed)
        actual.append(one_plane(frames[0], list(frames[1 : 1 + neighbours])))
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
    assert one_plane(frames[1]).sigma > 30
    assert one_plane(frames[1], [frames[0]]).sigma == pytest.approx(8, rel=0.05)


def test_repeated_frames_do_not_pass_for_clean() -> None:
    noisy = with_noise(np.full((180, 320), 120, np.float32), 10)
    other = with_noise(np.full((180, 320), 120, np.float32), 10, seed=1)
    for neighbours in ([noisy], [noisy, noisy], [noisy, other]):
        assert one_plane(noisy, neighbours).sigma == pytest.approx(10, rel=0.05)


def test_motion_is_taken_away() -> None:
    rng = np.random.default_rng(3)
    texture = rng.uniform(50, 200, (260, 420)).astype(np.float32)
    for step in (1, 5, 13):
        clip = np.stack([texture[30 + n * step : 210 + n * step, 40:360] for n in (-1, 0, 1)])
        assert one_plane(clip[1], [clip[0], clip[2]]).sigma < 0.1
        noisy = with_noise(clip, 6)
        assert one_plane(noisy[1], [noisy[0], noisy[2]]).sigma == pytest.approx(6, rel=0.07)


def test_faint_texture_that_moves_between_pixels_is_not_noise() -> None:
    """Its differences from one neighbour alone would be read as 1.4."""
    generator = torch.Generator().manual_seed(5)
    # Five samples a pixel across: a fifth of a pixel from frame to frame.
    fine = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 172, 1700, generator=generator), (13, 26), 1)[0, 0]
    frames = [(128 + 100 * fine[:, start : start + 1600 : 5]).numpy() for start in (0, 1, 2)]
    assert one_plane(frames[1], [frames[0], frames[2]]).sigma < 1
    noisy = with_noise(np.stack(frames), 2.0, seed=3)
    assert one_plane(noisy[1], [noisy[0], noisy[2]]).sigma == pytest.approx(2.0, rel=0.25)


def test_noise_that_an_encoder_has_left_where_the_picture_is_lively_counts_but_not_much_of_it() -> None:
    still = np.full((3, 160, 320), 128, np.float32)
    for sigma, read in ((2.0, 2.0), (12.0, 3.0)):
        frames = still.copy()
        frames[:, :, :160] = with_noise(still[:, :, :160], sigma, seed=4)
        assert one_plane(frames[1], [frames[0], frames[2]]).sigma == pytest.approx(read, rel=0.1)


def test_low_frequencies_count() -> None:
    rng = np.random.default_rng(4)
    blurred = [rng.standard_normal((182, 322)).astype(np.float32) for _ in range(3)]
    for _ in range(2):
        blurred = [np.float32(0.25) * (x[:-1, :-1] + x[1:, :-1] + x[:-1, 1:] + x[1:, 1:]) for x in blurred]
    frames = [120 + 8 * x / x.std() for x in blurred]
    # White noise of 8 / 0.375 gives as much at the lowest frequencies.
    assert 13 < one_plane(frames[1], [frames[0], frames[2]]).sigma < 8 / 0.375


def test_a_few_changes_in_a_still_picture_are_not_noise() -> None:
    still = np.random.default_rng(5).uniform(50, 200, (180, 320)).astype(np.float32)
    for side in (60, 140):
        other = still.copy()
        other[:side, :side] = with_noise(still[:side, :side], 40)
        assert one_plane(still, [other]).sigma < 1


def test_letterboxes_and_burnt_skies_do_not_count() -> None:
    clip = with_noise(np.full((3, 180, 320), 120, np.float32), 10, clipped=True)
    clip[:, :50] = 0
    clip[:, -50:] = 255
    assert one_plane(clip[1]).sigma == pytest.approx(10, rel=0.05)
    assert one_plane(clip[1], [clip[0], clip[2]]).sigma == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("plane", [np.zeros((90, 160)), np.full((90, 160), 255.0), np.full((5, 160), 9.0)])
def test_nothing_to_measure(plane: NDArray[Any]) -> None:
    assert one_plane(plane, [plane]) == Level(0.0, 0.0)


def test_samples_that_are_no_numbers_are_left_out() -> None:
    picture = with_noise(np.full((180, 320), 120, np.float32), 10)
    picture[20:60, 50:200] = np.nan
    picture[100:120] = np.inf
    assert one_plane(picture, [picture[::-1]]).sigma == pytest.approx(10, rel=0.06)


def test_smoothing_is_a_median_by_confidence() -> None:
    sure, unsure = Level(4.0, 0.9), Level(30.0, 0.1)
    assert weighted_median([sure, unsure, unsure]) == 4
    assert weighted_median([Level(9.0, 0.5), sure, Level(5.0, 0.5)]) == 5
    assert weighted_median([Level(0.0, 0.0), unsure]) == 30
    assert weighted_median([Level(0.0, 0.0)]) == 0


def test_the_less_sure_a_level_is_the_more_is_removed_but_not_of_very_low_ones() -> None:
    assert level_to_remove([Level(8.0, 1.0)] * 3) == 8
    assert level_to_remove([Level(8.0, 0.4)] * 3) == pytest.approx(8 * 1.6)
    # Frames that were not measured have no say.
    assert level_to_remove([Level(8.0, 0.4), Level(0.0, 0.0)]) == pytest.approx(8 * 1.6)
    assert level_to_remove([Level(1.0, 0.2)]) == 1
    assert level_to_remove([Level(1.75, 0.2)]) == pytest.approx(1.75 * 1.4)
    assert level_to_remove([Level(0.0, 0.5)]) == level_to_remove([Level(0.0, 0.0)]) == level_to_remove([]) == 0
