"""Generated clips: seeded, in range, moving smoothly or not at all, and with nature's spectrum."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.clips import degradations, scenery, synthetic
from training.clips.compression import Quantiser, compressed
from training.clips.motion import Camera, Path, Track, travel
from training.clips.rng import Rng

LUMA = torch.tensor((0.299, 0.587, 0.114))[:, None, None]


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pool() -> synthetic.Pool:
    """A small stock of scenes."""
    return synthetic.Pool(seeded(0), scenes=4, tiles=6, texels=256)


@pytest.fixture(scope="module")
def clips(pool: synthetic.Pool) -> Tensor:
    """(24, 5, 3, 96, 96)."""
    generator = seeded(1)
    return torch.stack([synthetic.clip(generator, frames=5, size=(96, 96), pool=pool) for _ in range(24)])


def backdrop(seed: int, pool: synthetic.Pool) -> scenery.Layer:
    """A layer in focus that fills the view."""
    deep = scenery.Focus(nearness=1.0, aperture=0.0)
    return scenery.background(Rng(seeded(seed)), pool, sharpness=1.0, focus=deep, nearness=1.0)


def amplitude_slope(image: Tensor) -> float:
    """Minus the slope of log amplitude over log frequency of a square image, under a Hann window."""
    side = image.shape[-1]
    window = torch.hann_window(side)
    power = torch.fft.fft2((image - image.mean()) * window * window[:, None]).abs().square()
    line = torch.fft.fftfreq(side) * side
    ring = line[:, None].hypot(line).round()
    radii = torch.arange(2, side // 2 - 6)
    amplitude = torch.stack([power[ring == r].mean() for r in radii]).sqrt().log()
    frequency = radii.log()
    frequency = frequency - frequency.mean()
    return -float((frequency * amplitude).sum() / frequency.square().sum())


def test_same_seed_same_clip() -> None:
    first, again, other = (synthetic.clip(seeded(s), frames=3, size=(32, 40)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_same_history_same_clip_from_a_pool() -> None:
    def third() -> Tensor:
        pool = synthetic.Pool(seeded(2), scenes=2, tiles=3, texels=128)
        generator = seeded(3)
        return [synthetic.clip(generator, frames=2, size=(24, 24), pool=pool) for _ in range(3)][-1]

    assert torch.equal(third(), third())


@pytest.mark.parametrize(("frames", "size"), [(1, (16, 16)), (7, (33, 50)), (2, (1, 1))])
def test_shapes(pool: synthetic.Pool, frames: int, size: tuple[int, int]) -> None:
    assert synthetic.clip(seeded(0), frames=frames, size=size, pool=pool).shape == (frames, 3, *size)
    instants = synthetic.clip(seeded(0), frames=frames, size=size, subframes=3, pool=pool)
    assert instants.shape == (frames, 3, 3, *size)


def test_range(clips: Tensor) -> None:
    assert clips.dtype == torch.float32
    assert clips.isfinite().all()
    assert clips.min() >= 0
    assert clips.max() <= 1


def test_headroom_lets_highlights_exceed_white(pool: synthetic.Pool) -> None:
    generator = seeded(4)
    peaks = [
        float(synthetic.clip(generator, frames=1, size=(64, 64), subframes=2, pool=pool, headroom=4.0).max())
        for _ in range(16)
    ]
    assert 1 < max(peaks) <= 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_clip() -> None:
    here, there = (synthetic.clip(seeded(5), frames=3, size=(64, 64), device=d) for d in ("cpu", "cuda"))
    assert float((here - there.cpu()).abs().mean()) < 1e-3


def test_generator_must_be_on_the_cpu() -> None:
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="CPU"):
        synthetic.clip(Elsewhere(), frames=1, size=(8, 8))  # type: ignore[arg-type]


def test_some_clips_rest_and_most_move(clips: Tensor) -> None:
    change = (clips[:, 1:] - clips[:, :-1]).abs().amax((1, 2, 3, 4))
    assert 1 <= int((change == 0).sum()) <= 12


def test_a_still_layer_is_still(pool: synthetic.Pool) -> None:
    layer = backdrop(9, pool)
    seen = synthetic.render([layer], torch.arange(4.0), (40, 40))
    assert layer.path.still
    assert torch.equal(seen, seen[:1].expand_as(seen))


def test_paths_are_smooth() -> None:
    times = torch.arange(0, 16, 0.05)
    for seed in range(50):
        rng = Rng(seeded(seed))
        path = travel(rng, speed=12.0, frames=16, spot=(0.0, 0.0))
        for track in (path.y, path.x):
            steps = track.at(times).diff() / 0.05
            assert steps.abs().max() < 60
            pauses = track.pause[0] < 16
            # The one corner a path may have is where a thing stops or sets off.
            assert pauses or steps.diff().abs().max() < 2.0


def test_a_whole_pixel_pan_moves_the_picture_by_it(pool: synthetic.Pool) -> None:

    layer = backdrop(11, pool)
    upright = Path(y=Track(start=3.3), x=Track(start=8.1))
    eye = Camera(pan=(2.0, -3.0))
    seen = synthetic.render([replace(layer, path=eye.moves(upright, 1.0))], torch.arange(3.0), (48, 48))
    torch.testing.assert_close(seen[1:, :, 2:, :-3], seen[:-1, :, :-2, 3:], atol=2e-3, rtol=0)


def test_moving_pictures_are_as_sharp_as_still_ones(pool: synthetic.Pool) -> None:
    # A moving layer passes through all positions between pixels, a still one rests at any of them.
    layer = backdrop(12, pool)
    detail = []
    for step in range(8):
        between = Path(y=Track(start=step / 8), x=Track(start=step / 8))
        seen = synthetic.render([replace(layer, path=between)], torch.zeros(1), (96, 96))
        detail.append(float(seen.diff(dim=-1).square().mean()))
    assert max(detail) < 1.35 * min(detail)


def test_spectra_fall_as_nature_s_do(clips: Tensor) -> None:
    slopes = torch.tensor([amplitude_slope((c[2] * LUMA).sum(0)) for c in clips])
    # Photographs have about 1 to 1.3, soft video up to 1.6; some of these clips are out of focus.
    assert 1.0 < float(slopes.median()) < 1.75


def test_gradients_are_heavy_tailed(clips: Tensor) -> None:
    gradient = (clips[:, 2] * LUMA).sum(1).diff(dim=-1)
    assert float(gradient.pow(4).mean() / gradient.square().mean().square()) > 8


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_blur_of_what_rests_is_itself(gamma: float) -> None:
    still = torch.rand(2, 1, 3, 8, 8, generator=seeded(0)).expand(-1, 9, -1, -1, -1)
    blurred, sharp = degradations.blur(still, exposure=0.8, gamma=gamma)
    torch.testing.assert_close(blurred, sharp)
    assert torch.equal(sharp, still[:, 0])


def test_blur_averages_light_and_saturates_after() -> None:
    instants = torch.zeros(1, 5, 3, 1, 1)
    instants[:, 2] = 2.0
    light = degradations.blur(instants, exposure=1.0)[0]
    torch.testing.assert_close(light, torch.full_like(light, (2**2.2 / 5) ** (1 / 2.2)))
    values, sharp = degradations.blur(instants, exposure=0.6, gamma=1)
    torch.testing.assert_close(values, torch.full_like(values, 2 / 3))
    assert sharp.max() == 1


def test_a_short_exposure_is_the_sharp_frame() -> None:
    instants = torch.rand(3, 6, 3, 4, 4, generator=seeded(0))
    blurred, sharp = degradations.blur(instants, exposure=0.1)
    assert torch.equal(blurred, sharp)
    with pytest.raises(ValueError, match="exposure"):
        degradations.blur(instants, exposure=0.0)


def test_noise_has_its_sigma_and_is_not_clipped() -> None:
    clip = torch.zeros(2, 4, 3, 64, 64)
    noisy = degradations.add_noise(clip, torch.tensor((0.1, 0.2)), seeded(0))
    torch.testing.assert_close(noisy.std((1, 2, 3, 4)), torch.tensor((0.1, 0.2)), rtol=0.02, atol=0)
    assert abs(float(noisy.mean())) < 2e-3
    assert noisy.min() < 0
    assert float(degradations.add_noise(clip, 0.05, seeded(1)).std()) == pytest.approx(0.05, rel=0.02)


def test_camera_processing_is_mild_and_often_absent(clips: Tensor) -> None:
    generator = seeded(0)
    seen = [degradations.camera(c, generator) for c in clips]
    changes = torch.stack([(after - before).square().mean().sqrt() for after, before in zip(seen, clips, strict=True)])
    assert 4 <= int((changes == 0).sum()) <= 20
    assert changes.max() < 0.05
    assert all(after.shape == clips[0].shape and after.min() >= 0 and after.max() <= 1 for after in seen)


def test_chroma_subsampling_keeps_luma_and_greys() -> None:
    clip = torch.rand(2, 3, 9, 11, generator=seeded(0))
    out = degradations.chroma_subsampled(clip)
    torch.testing.assert_close((out * LUMA).sum(1), (clip * LUMA).sum(1))
    grey = clip[:, :1].expand_as(clip)
    torch.testing.assert_close(degradations.chroma_subsampled(grey), grey)


def test_compression_is_mild_and_grows_with_the_step(clips: Tensor) -> None:
    losses = []
    for step in (1.5, 5.0, 14.0):
        quantiser = Quantiser(step=step, tilt=1.0, chroma=1.0, dead_zone=0.33, between=1.25)
        out = torch.stack([compressed(c, quantiser) for c in clips])
        losses.append(-10 * float((out - clips).square().mean().log10()))
    assert losses[0] > losses[1] > losses[2] > 28


def test_compression_rounds_each_coefficient_of_a_block() -> None:
    # One 16x16 grey block of one frequency: an amplitude of 2.4 steps comes back as 2.
    wave = torch.cos((torch.arange(16) + 0.5) * torch.pi * 3 / 8)
    amplitude = 2.4 * 0.02 / 32**0.5
    clip = (0.5 + amplitude * wave).expand(1, 3, 16, 16)
    quantiser = Quantiser(step=0.02 * 255, tilt=0.0, chroma=1.0, dead_zone=0.5, between=1.0)
    out = compressed(clip, quantiser)
    torch.testing.assert_close(out - 0.5, (clip - 0.5) * 2 / 2.4, atol=1e-5, rtol=0)


def test_compression_takes_any_size() -> None:
    clip = torch.rand(3, 3, 9, 21, generator=seeded(0))
    fine = Quantiser(step=1e-3, tilt=0.0, chroma=1.0, dead_zone=0.5, between=1.0)
    torch.testing.assert_close(compressed(clip, fine), degradations.chroma_subsampled(clip), atol=1e-4, rtol=0)


def test_clips_of_a_fixed_pool_have_no_history() -> None:
    pool = synthetic.Pool(seeded(2), scenes=2, tiles=3, texels=128, fixed=True)
    first, *_, again = (synthetic.clip(seeded(seed), frames=2, size=(24, 24), pool=pool) for seed in (5, 6, 7, 8, 5))
    assert torch.equal(first, again)


def test_a_shorter_exposure_shows_less_of_the_motion() -> None:
    fixed = synthetic.Pool(seeded(20), scenes=2, tiles=3, texels=128, fixed=True)
    spans = []
    for exposure in (0.2, 1.0):
        instants = synthetic.clip(seeded(21), frames=3, size=(32, 32), subframes=3, exposure=exposure, pool=fixed)
        spans.append(float((instants[:, 2] - instants[:, 0]).abs().mean()))
    assert 0 < spans[0] < spans[1]


def test_a_lens_blurs_what_is_away_from_its_distance() -> None:
    picture = torch.rand(4, 128, 128, generator=seeded(0))
    focus = scenery.Focus(nearness=1.0, aperture=8.0)
    sharp, soft, softer = (
        focus.blur(picture, nearness=depth, density=2.0, most=40).diff(dim=-1).abs().mean() for depth in (1.0, 0.7, 0.4)
    )
    assert sharp > soft > softer
    assert torch.equal(focus.blur(picture, nearness=1.0, density=2.0, most=40), picture)


def test_calm_stocks_are_nearly_without_texture() -> None:
    """By the median of the differences between neighbours, which edges hardly touch."""

    def roughness(calm: float) -> float:
        pools = [synthetic.Pool(seeded(n), scenes=3, tiles=4, texels=256, fixed=True, calm=calm) for n in range(3)]
        clips = [synthetic.clip(seeded(n), frames=1, size=(64, 64), pool=pools[n % 3]) for n in range(18)]
        return float(torch.stack(clips).diff(dim=-1).abs().median())

    assert roughness(1.0) < 0.4 * roughness(0.0)
