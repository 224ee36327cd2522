"""Recipes: strict reading, and the constants of those that ship."""

from pathlib import Path

import pytest

from training.recipe import Recipe, TrainingError, load_recipe

FOLDER = Path(__file__).parents[1] / "scripts" / "recipes"
HEAD = """
name = "it"
network = "denoise-tiny"
training_data = "generated clips"
licence = "MIT"
"""


def read(folder: Path, text: str) -> Recipe:
    """The recipe with this text after the head."""
    path = folder / "recipe.toml"
    path.write_text(HEAD + text)
    return load_recipe(path)


def test_every_recipe_that_ships_is_one() -> None:
    names = {load_recipe(path).name for path in FOLDER.glob("*.toml")}
    assert names == {path.stem for path in FOLDER.glob("*.toml")}
    own = {"tiny-deblur", "tiny-denoise", "fine-denoise", "fine-tune-denoise", "small-deblur", "small-denoise"}
    assert names == own | {"gopro", "gopro-small", "dvd", "dvd-small", "davis", "davis-small"}


@pytest.mark.parametrize(
    ("name", "network", "frames", "crop", "steps"),
    [
        ("gopro", "deblur-plus", 23, 256, 300_000),
        ("gopro-small", "deblur-small", 13, 256, 300_000),
        ("dvd", "deblur-plus", 23, 256, 600_000),
        ("dvd-small", "deblur-small", 13, 256, 600_000),
        ("davis", "denoise-plus", 15, 192, 450_000),
        ("davis-small", "denoise-small", 22, 192, 300_000),
    ],
)
def test_the_authors_recipes_have_the_authors_numbers(
    name: str, network: str, frames: int, crop: int, steps: int
) -> None:
    recipe = load_recipe(FOLDER / f"{name}.toml")
    data, fit = recipe.data, recipe.fit
    assert (recipe.network, data.frames, data.crop, fit.steps) == (network, frames, crop, steps)
    assert (fit.rate, fit.final_rate, fit.betas, fit.weight_decay) == (4e-4, 1e-7, (0.9, 0.99), 0)
    assert (fit.floor, fit.batch, fit.at_once, fit.warmup, fit.hold) == (1e-8, 8, 1, 0, False)
    assert fit.precision == "fp16"
    deblur = recipe.task == "deblur"
    assert fit.clip == (0.01 if deblur else 0.04)
    assert fit.climb_rate == (1.0 if deblur else 1.5)
    assert fit.ends == (1 if deblur else 0)
    assert data.source == ("pairs" if deblur else "frames")
    assert deblur or data.sigma == 50
    assert not data.camera
    assert not data.reversal


def test_sections_are_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, "[data]\ncrop = 64\n[fit]\nsteps = 5\nrate = 1\nbetas = [0.8, 0.9]\n")
    assert (recipe.data.crop, recipe.fit.steps, recipe.fit.rate) == (64, 5, 1.0)
    assert recipe.fit.betas == (0.8, 0.9)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sped = 1", "unknown key sped; known are: name, network"),
        ("[fit]\nsteps = 1\nstep = 2", "unknown key fit.step; known are: fit.steps"),
        ("[fit]\nsteps = 1.5", "fit.steps must be of type int, not 1.5"),
        ("[fit]\nsteps = true", "fit.steps must be of type int"),
        ("[fit]\nsteps = 1\nbetas = [0.9]", "fit.betas must be of type tuple"),
        ('[fit]\nsteps = 1\nprecision = "half"', "fit.precision must be one of float32, bf16, fp16"),
        ("fit = 3", "fit must be a table"),
        ("", "either fit.steps or fit.minutes"),
        ("[fit]\nsteps = 1\nminutes = 1", "either fit.steps or fit.minutes"),
        ("[fit]\nsteps = 1\n[data]\ncrop = 30", "data.crop must be a multiple of 8"),
        ("[fit]\nsteps = 1\nends = 2\n[data]\nframes = 4", "leaves no frame"),
        ("[fit]\nsteps = 1\nbatch = 3\nat_once = 2", "multiple of fit.at_once"),
        ('[fit]\nsteps = 1\n[data]\nsource = "pairs"', "denoising wants"),
        ("[fit]\nsteps = 1\n[data]\nsubframes = [4, 9]", "odd numbers"),
        ("[fit]\nsteps = 1\nclip = 0", "fit.clip must be above zero"),
        ("[fit\nsteps", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(TrainingError) as caught:
        read(tmp_path, text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_keys_and_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text('name = "it"\n')
    with pytest.raises(TrainingError, match="network is missing"):
        load_recipe(tmp_path / "short.toml")
    with pytest.raises(TrainingError, match="cannot read recipe"):
        load_recipe(tmp_path / "none.toml")


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(TrainingError, match="there are: deblur-tiny"):
        Recipe(name="it", network="huge", training_data="", licence="")


def test_the_root_can_be_given_from_outside() -> None:
    recipe = load_recipe(FOLDER / "gopro.toml", root="here", validation_root="there")
    assert (recipe.data.root, recipe.validation.root) == ("here", "there")
