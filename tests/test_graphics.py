"""Drawn clips: without texture, in whole levels, still or moving by halves of pixels; noise weaker than told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.batches import spoilt
from training.clips.graphics import graphics, titled
from training.clips.rng import Rng, seeded
from training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[1] / "scripts" / "recipes"


def test_drawn_clips_are_flat_and_of_whole_levels() -> None:
    flat, still = [], 0
    for number in range(30):
        clip = graphics(Rng(seeded("drawn", number)), frames=3, size=(40, 56))
        assert clip.shape == (3, 3, 40, 56)
        assert torch.equal((clip * 255).round() / 255, clip)
        assert torch.equal(clip, graphics(Rng(seeded("drawn", number)), frames=3, size=(40, 56)))
        flat.append((clip.diff(dim=-1) == 0).float().mean())
        still += bool((clip[0] == clip[2]).all())
    assert torch.stack(flat).mean() > 0.7
    assert 10 <= still < 30


def test_titles_cover_a_part() -> None:
    clip = torch.rand(3, 3, 64, 64)
    for number in range(20):
        over = titled(Rng(seeded("title", number)), clip)
        assert 0 <= over.min() <= over.max() <= 1
        kept = (over == clip).all(1).float().mean()
        assert 0.1 < kept < 1


def recipe(**data: object) -> Recipe:
    loaded = load_recipe(RECIPES / "tiny-denoise.toml")
    return replace(loaded, data=replace(loaded.data, **data))  # type: ignore[arg-type]


def test_quiet_clips_have_less_noise_than_is_told() -> None:
    clean = torch.full((2, 3, 32, 32), 0.5)
    shares = []
    for step in range(60):
        degraded, told, _ = spoilt((clean, clean), recipe(real=0.0, quiet=1.0, rounded=0.0), step)
        assert told is not None
        shares.append(float((degraded - clean).std() / told.mean()))
    assert max(shares) < 1.05
    assert 20 <= sum(share == 0 for share in shares) <= 40


def test_rounded_clips_are_of_whole_levels_in_range() -> None:
    clean = torch.full((2, 3, 32, 32), 0.99)
    for step in range(5):
        degraded, _, target = spoilt((clean, clean), recipe(real=0.0, quiet=0.0, rounded=1.0), step)
        assert torch.equal((degraded * 255).round() / 255, degraded)
        assert degraded.max() <= 1
        assert target is clean


@pytest.mark.parametrize("coded", [0.0, 1.0])
def test_real_noise_is_told_about_and_drawn_by_the_key(coded: float) -> None:
    clean = torch.rand(4, 3, 1, 1).expand(4, 3, 96, 96).contiguous()
    wanted = recipe(real=1.0, coded=coded, misjudged=(1.0, 1.0))
    for step in range(4):
        degraded, told, target = spoilt((clean, clean), wanted, step)
        again, _, _ = spoilt((clean, clean), wanted, step)
        assert torch.equal(degraded, again)
        assert target is clean
        assert told is not None
        assert told.shape == (4, 1, 96, 96)
        assert 0 <= told.min() <= told.max() <= 3 * recipe().data.sigma / 255
        assert not torch.equal(degraded, clean)
