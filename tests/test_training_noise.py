"""Noise as cameras, film and tape leave it: as strong as asked, told as it is, with the structure it is named for."""

import pytest
import torch
from torch import Tensor

from training.clips import noise
from training.clips.encoders import DECODERS, Coding, coded
from training.clips.noise import KINDS, UNCODED, noisy
from training.clips.rng import Rng

SIGMA = 8 / 255


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def ramp() -> Tensor:
    """(12, 3, 64, 96), grey from dark to bright, far from the ends."""
    return torch.linspace(0.2, 0.8, 96).expand(12, 3, 64, 96).contiguous()


def correlation(field: Tensor, down: int, along: int) -> float:
    """Of (T, H, W) with itself so many pixels away."""
    height, width = field.shape[1:]
    moved = field[:, down:, along:] * field[:, : height - down, : width - along]
    return float(moved.mean() / field.square().mean())


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_noise(kind: str, ramp: Tensor) -> None:
    clip = ramp[:4, :, :32, :32]
    (first, told), (again, told_again), (other, _) = (noisy(clip, kind, SIGMA, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert torch.equal(told, told_again)
    assert not torch.equal(first, other)
    assert first.shape == clip.shape
    assert told.shape == (4, 1, 32, 32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", UNCODED)
def test_what_is_told_is_what_is_there_at_each_brightness(kind: str, seed: int, ramp: Tensor) -> None:
    found, told = noisy(ramp, kind, SIGMA, seeded(seed))
    error = found - ramp
    assert float(error.square().mean().sqrt()) == pytest.approx(SIGMA, rel=0.03)
    coarse = noise._coarseness(error)
    for part in (slice(0, 32), slice(32, 64), slice(64, 96)):
        true = coarse * float(error[..., part].square().mean().sqrt())
        assert float(told[..., part].square().mean().sqrt()) == pytest.approx(true, rel=0.1)


def test_coarse_noise_is_told_as_stronger_than_it_is() -> None:
    white = torch.randn(3, 1, 160, 160, generator=seeded(0)).expand(3, 3, 160, 160)
    assert noise._coarseness(white) == 1
    # Means of 2x2 and 3x3: at low frequencies as strong as the white noise, of a half and a third of its deviation.
    for size, least in ((2, 1.5), (3, 2.0)):
        grain = torch.nn.functional.avg_pool2d(white, size, 1)
        assert least < noise._coarseness(grain) < size
    still = torch.nn.functional.avg_pool2d(white[:1], 3, 1).expand(3, 3, 158, 158)
    assert noise._coarseness(still + 0.1 * white[..., :158, :158]) == 1


@pytest.mark.parametrize("kind", UNCODED)
def test_the_clip_is_left_about_as_bright_as_it_is(kind: str, ramp: Tensor) -> None:
    found, _ = noisy(ramp, kind, SIGMA, seeded(1))
    # A tone curve is not straight.
    limit = 0.2 if kind in ("raw", "phone") else 0.05
    assert float((found - ramp).mean().abs()) < limit * SIGMA


def test_none_is_none(ramp: Tensor) -> None:
    for kind in UNCODED:
        found, told = noisy(ramp[:2], kind, 0.0, seeded(0))
        assert float((found - ramp[:2]).abs().max()) < 1e-4
        assert float(told.max()) < 1e-4


def test_what_mosaics_and_grain_and_tapes_leave_is_correlated(ramp: Tensor) -> None:
    luma = {}
    for kind in UNCODED:
        error = noisy(ramp, kind, SIGMA, seeded(2))[0] - ramp
        luma[kind] = error.mean(1)
    assert abs(correlation(luma["white"], 0, 1)) < 0.02
    assert correlation(luma["raw"], 0, 1) > 0.1
    assert correlation(luma["analogue"], 0, 1) > 0.2 + correlation(luma["analogue"], 1, 0)


def test_grain_is_mostly_the_same_in_all_colours_and_tapes_are_colourful(ramp: Tensor) -> None:
    def coloured(kind: str) -> float:
        errors = torch.stack([noisy(ramp, kind, SIGMA, seeded(seed))[0] - ramp for seed in range(6)])
        return float((errors - errors.mean(2, keepdim=True)).square().mean() / errors.square().mean())

    assert coloured("grain") < 0.15 < 0.35 < coloured("analogue")


def test_some_of_gain_noise_stays(ramp: Tensor) -> None:
    error = noisy(ramp, "fixed", SIGMA, seeded(6))[0] - ramp
    mean = float(error.mean(0).square().mean())
    white = noisy(ramp, "white", SIGMA, seeded(6))[0] - ramp
    assert mean > 1.3 * float(white.mean(0).square().mean())


def test_phones_leave_less_where_it_is_flat() -> None:
    texture = 0.5 + 0.15 * torch.randn(8, 1, 64, 32, generator=seeded(0)).expand(8, 3, 64, 32)
    clip = torch.cat((torch.full((8, 3, 64, 32), 0.5), texture.clamp(0.1, 0.9)), -1)
    error = noisy(clip, "phone", SIGMA, seeded(1))[0] - clip
    flat, varied = (float(part.square().mean()) for part in (error[..., 4:28], error[..., 36:60]))
    assert flat < 0.8 * varied


def test_mosaics_interpolate_what_is_flat_to_what_is_flat() -> None:
    level = torch.tensor((0.2, 0.5, 0.7)).view(1, 3, 1, 1)
    for seed in range(4):
        sites = noise._bayer(torch.Size((8, 10)), Rng(seeded(seed)))
        assert torch.equal(sites.sum(1), torch.ones(1, 8, 10))
        for plain in (True, False):
            assert torch.allclose(noise._demosaiced(level * sites, sites, plain=plain), level.expand(1, 3, 8, 10))


def test_tone_curves_have_inverses() -> None:
    shown = torch.linspace(0.01, 0.99, 50)
    for contrast in (1.0, 1.3):
        assert torch.allclose(noise._shown(noise._light(shown, contrast), contrast), shown, atol=1e-4)


@pytest.mark.parametrize("encoder", DECODERS)
@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_encoders_give_every_frame_and_more_of_it_the_better_they_are(encoder: str, size: tuple[int, int]) -> None:
    height, width = size
    clip = torch.linspace(0.2, 0.8, width).expand(7, 3, height, width) + 0.02 * torch.randn(
        7, 3, height, width, generator=seeded(1)
    )
    # Frames differ in brightness, so that one in the place of another would be seen.
    clip = clip + 0.02 * torch.arange(7).view(7, 1, 1, 1)

    def error(quality: float) -> Tensor:
        found = coded(clip, Coding(encoder=encoder, quality=quality, preset="veryfast"))  # type: ignore[arg-type]
        assert found.shape == clip.shape
        return (found - clip).square().mean((1, 2, 3)).sqrt()

    good, bad = (3, 28) if encoder.startswith("libx26") else (2, 28)
    assert float(error(good).max()) < 0.03
    assert float(error(good).mean()) < float(error(bad).mean())


def test_less_is_told_where_an_encoder_has_taken_it(ramp: Tensor) -> None:
    found = noisy(ramp, "white", SIGMA, seeded(0))[0]
    fine, coarse = (
        noise.kept(ramp, found, coded(found, Coding(encoder="libx264", quality=quality))) for quality in (12, 36)
    )
    assert coarse < 0.5 < fine <= 1


def test_unknown_kinds_are_refused(ramp: Tensor) -> None:
    with pytest.raises(ValueError, match="unknown kind of noise 'pink'; there are: white, raw"):
        noisy(ramp, "pink", SIGMA, seeded(0))
