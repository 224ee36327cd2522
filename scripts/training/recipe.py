"""Recipes: everything that decides what a training makes, read from one TOML file."""

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vsgshift.network import VARIANTS, Variant

Source = Literal["generated", "pairs", "frames", "videos"]
Precision = Literal["float32", "bf16", "fp16"]


class TrainingError(ValueError):
    """What keeps a training from starting or going on, in one line."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where clips come from, and how they are cut and spoilt."""

    source: Source = "generated"
    """"generated" on the device as needed; "pairs" of blurred and sharp PNG folders (GoPro, DVD);
    "frames", folders of clean pictures (DAVIS); "videos", a folder of video files."""
    root: str = ""
    """Folder of the footage; nothing for generated clips."""
    frames: int = 7
    """Frames per clip."""
    context: int = 0
    """Frames more at each end of a clip that are merged onto the others and go no further; for networks that merge."""
    crop: int = 96
    """Height and width of training clips, pixels."""
    sigma: float = 50.0
    """Noise standard deviations are drawn from 0 to this, on the 8-bit scale; for denoising."""
    sigma_power: float = 1.0
    """They are `sigma` times a uniform number to this power: with 1 uniform, above 1 small ones are more frequent."""
    real: float = 0.0
    """Fraction of clips whose noise is not white but that of cameras, film and tapes (`training.clips.noise`), or which
    an encoder has been at; for denoising."""
    coded: float = 0.5
    """Fraction of those that a real encoder has been at."""
    misjudged: tuple[float, float] = (0.8, 2.0)
    """What the noise map of such noise is multiplied by, at least and at most: more than
    there is, since noise that is correlated is stronger where the picture is coarse."""
    quiet: float = 0.0
    """Fraction of clips with less noise than the noise map says, half of them without any; for denoising."""
    rounded: float = 0.0
    """Fraction of noisy clips that are cut off at 0 and 1 and rounded to 8 bits; for denoising."""
    subframes: tuple[int, int] = (7, 23)
    """Fewest and most instants averaged into a blurred frame, odd numbers; for deblurring without pairs."""
    camera: bool = False
    """Whether inputs now and then pass through a camera's processing, chroma subsampling and compression."""
    reversal: bool = True
    """Whether half of the clips run backwards."""
    hard: float = 0.0
    """Fraction of cuts that are the most blurred of four; for deblurring."""
    workers: int = 4
    """Processes per training process that read footage; 0 reads in the training process."""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """How generated clips are made. Lengths in pixels, times in frames."""

    pool: int = 32
    """Clips that each item of a batch is cut from; a new one replaces the oldest."""
    reuse: int = 14
    """Steps from one new clip to the next."""
    chapter: int = 16
    """Clips that are made of the same stock of scenes."""
    scenes: int = 4
    """Scenes in a stock."""
    texels: int = 512
    """Side of a scene; about four times the crop or more."""
    calm: float = 0.0
    """Fraction of stocks whose scenes are calm, almost without texture: what is hard for denoising."""
    graphics: float = 0.0
    """Fraction of clips that are drawn without texture (bars, cartoons, screens); as many others bear a title."""
    photographs: str = ""
    """Folder of photographs that scenes are cut from; painted ones alone if empty."""
    photographed: float = 0.8
    """Fraction of scenes that are cut from photographs, if there are any."""
    without: tuple[str, ...] = ()
    """Sets of photographs left out, to judge by: what comes before "__" in their files' names."""
    view: float = 1.5
    """Side of generated clips, relative to the crop: room for cuts that differ."""
    speeds: tuple[float, float] = (12.0, 12.0)
    """Speeds of the fastest things in the slowest and the fastest clips, pixels per frame."""
    sharp: float = 0.15
    """Fraction of nearly sharp clips in deblurring, which teach to leave sharp footage alone."""
    visible: float = 36.0
    """Blurred clips nearer to their sharp ones than this (PSNR in dB) count as nearly sharp."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Loss, optimiser and schedule. Defaults are the authors' where they state any."""

    steps: int = 0
    """Length of the whole training in steps; or 0, with `minutes`."""
    minutes: float = 0.0
    """Length of the whole training in minutes, all its slices together; or 0, with `steps`."""
    batch: int = 8
    """Clips per step, over all processes."""
    at_once: int = 1
    """Clips that one process runs together; gradients of the rest of its share are added up."""
    precision: Precision = "float32"
    """Of the network's arithmetic; weights, loss and optimiser are float32 throughout."""
    floor: float = 1e-8
    """Added to the mean squared error in the loss. A larger one keeps nearly clean clips from ruling."""
    ends: int = 0
    """Frames at each end of a clip that the loss leaves out."""
    lattice: float = 0.0
    """How many times the power of errors that repeat every 4 pixels is added to the MSE in the loss."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """With "muon", the kernels of ungrouped convolutions but the first and last train by Muon."""
    kernel_rate: float = 6e-3
    """Muon's learning rate at the start; it takes the course of `rate`."""
    rate: float = 4e-4
    """Learning rate at the start."""
    final_rate: float = 1e-7
    """Learning rate at the end of the cosine."""
    warmup: int = 0
    """Steps over which the learning rate climbs to its start."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decay rates."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    climb_rate: float = 1.0
    """Learning rate of the core's decoder-side shift blocks, relative to the rest."""
    clip: float = 0.5
    """Largest norm of the gradient."""
    adaptive_clip: float = 0.0
    """The norm is also kept under this multiple of its recent median; 0 for no such limit."""
    average: float = 0.999
    """Decay of the averaged (EMA) weights, per step."""
    hold: bool = True
    """Whether the ends of a clip are held; otherwise the network's published boundary rule."""
    output_scale: float = 1.0
    """Of the last convolution's initial weights; with 0 the untrained network changes nothing."""
    gate: float = 0.0
    """Initial weight of what each gated block adds to its main path (beta)."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Clips apart from training, restored by the averaged weights."""

    every: int = 1000
    """Steps from one validation to the next; there is one at the end of the schedule as well."""
    clips: int = 8
    """How many."""
    frames: int = 7
    """Frames of each."""
    size: int = 128
    """Height and width, pixels; a multiple of 8."""
    sigmas: tuple[float, ...] = (10.0, 30.0, 50.0)
    """Noise of the clips, in turn, on the 8-bit scale; for denoising."""
    root: str = ""
    """Footage laid out like the training's; generated clips where there is none."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training."""

    name: str
    """Of the weights: the run leaves `<name>.safetensors`."""
    network: str
    """A name from `vsgshift.network.VARIANTS`."""
    training_data: str
    """What the weights' metadata say of the data."""
    licence: str
    """What the weights' metadata say of their licence."""
    seed: int = 1
    """Of the initial weights and of everything drawn later."""
    initial: str = ""
    """Weights to start from: a model's name or a file, for the same network. Random ones if empty."""
    half: bool = False
    """Whether the weights are written as float16."""
    state: Literal["exact", "compact"] = "exact"
    """An exact state goes on bit for bit, on a CPU; a compact one rounds the averaged weights to 16 bits and the
    optimiser's moments to bfloat16, for 10 bytes a parameter in place of 16."""
    save_minutes: float = 2.0
    """Minutes from one writing of the state to the next."""
    data: Data = field(default_factory=Data)
    generated: Generated = field(default_factory=Generated)
    fit: Fit = field(default_factory=Fit)
    validation: Validation = field(default_factory=Validation)

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise TrainingError(f"recipe {self.name}: {complaint}")

    @property
    def variant(self) -> Variant:
        """The network's widths, depths and rules."""
        return VARIANTS[self.network]

    @property
    def task(self) -> Literal["deblur", "denoise"]:
        """What the network does."""
        return self.variant.task

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Keys in which a training saved by another recipe (`dataclasses.asdict`) would go on differently."""
        mine, theirs = _flat(dataclasses.asdict(self)), _flat(other)
        free = (
            "validation.",
            "save_minutes",
            "state",
            "half",
            "data.root",
            "data.workers",
            "generated.photographs",
            "fit.at_once",
            "initial",
        )
        keys = [key for key in mine.keys() | theirs.keys() if not key.startswith(free)]
        return sorted(key for key in keys if mine.get(key) != theirs.get(key))


POSITIVE = (
    *("data.frames", "data.sigma_power", "fit.floor", "fit.batch", "fit.rate", "fit.kernel_rate", "fit.climb_rate"),
    *("fit.clip", "generated.pool", "generated.reuse", "generated.chapter", "generated.scenes", "generated.speeds"),
    *("validation.every", "validation.frames", "validation.clips", "number of validation.sigmas"),
)
SHARES = (
    *("data.hard", "data.real", "data.coded", "data.quiet", "data.rounded"),
    *("generated.sharp", "generated.calm", "generated.photographed", "generated.graphics"),
)


def _complaints(recipe: Recipe) -> typing.Iterator[str]:
    """What a recipe says that cannot be, one by one."""
    data, fit, generated, check = recipe.data, recipe.fit, recipe.generated, recipe.validation
    if not recipe.name or not recipe.name.replace("-", "").replace("_", "").isalnum():
        yield f"name {recipe.name!r} must be letters, digits, '-' and '_'"
    if recipe.network not in VARIANTS:
        yield f"unknown network {recipe.network!r}; there are: {', '.join(VARIANTS)}"
        return
    if (fit.steps > 0) == (fit.minutes > 0):
        yield "give the length of the training as either fit.steps or fit.minutes"
    if recipe.task == "denoise" and data.source == "pairs":
        yield "data.source 'pairs' is blurred and sharp footage; denoising wants 'frames', 'videos' or 'generated'"
    for name, size in (("data.crop", data.crop), ("validation.size", check.size)):
        if size < recipe.variant.multiple or size % recipe.variant.multiple:
            yield f"{name} must be a multiple of {recipe.variant.multiple} for {recipe.network}, not {size}"
    if data.context < 0 or (data.context and (not recipe.variant.merge or not fit.hold)):
        yield f"data.context = {data.context} is for networks that merge frames, with fit.hold, and at least 0"
    if data.frames <= 2 * fit.ends or fit.ends < 0:
        yield f"data.frames = {data.frames} leaves no frame beside fit.ends = {fit.ends} at both ends"
    fewest, most = data.subframes
    if not (3 <= fewest <= most and fewest % 2 and most % 2):
        yield f"data.subframes must be two odd numbers of 3 and more, the smaller first, not {list(data.subframes)}"
    if fit.at_once < 1 or fit.batch % fit.at_once:
        yield f"fit.batch = {fit.batch} must be a multiple of fit.at_once = {fit.at_once}"
    if fit.at_once > 1 and not fit.hold and recipe.variant.boundary == "wrap":
        yield f"{recipe.network} wraps clips round: use fit.at_once = 1, or fit.hold = true"
    values = _flat(dataclasses.asdict(recipe))
    values |= {"generated.speeds": generated.speeds[0], "number of validation.sigmas": len(check.sigmas)}
    yield from (f"{name} must be above zero" for name in POSITIVE if values[name] <= 0)
    if generated.texels < 64 or generated.view < 1:
        yield "generated.texels must be 64 or more and generated.view 1 or more"
    if generated.speeds[0] > generated.speeds[1]:
        yield "generated.speeds must be the smaller and the larger one"
    if not 0 <= fit.average < 1 or not all(0 <= values[name] <= 1 for name in SHARES):
        yield "fit.average must be in [0, 1); shares of clips in [0, 1]"


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots; tuples as lists, as JSON gives them back."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = list(value) if isinstance(value, tuple) else value
    return out


def load_recipe(
    path: Path, *, root: str | None = None, validation_root: str | None = None, photographs: str | None = None
) -> Recipe:
    """The recipe in a TOML file; every key has a default but name, network, training_data and licence.

    root, validation_root, photographs: folders in place of the file's `data.root`, `validation.root` and
        `generated.photographs`.

    Raises:
        TrainingError: no such file, not TOML, a key that recipes do not have, or a value of the wrong
            type or out of its range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrainingError(f"recipe {path} is not TOML: {error}") from error
    folders = (
        ("data", "root", root),
        ("validation", "root", validation_root),
        ("generated", "photographs", photographs),
    )
    for section, key, folder in folders:
        if folder and isinstance(table.setdefault(section, {}), dict):
            table[section][key] = folder
    recipe = _build(Recipe, table, str(path), "")
    assert isinstance(recipe, Recipe)
    return recipe


def _build(kind: type, table: Any, file: str, prefix: str) -> Any:
    """A dataclass from a table, refusing what it does not know."""
    if not isinstance(table, dict):
        raise TrainingError(f"{file}: {prefix.rstrip('.')} must be a table of keys")
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise TrainingError(f"{file}: unknown key {prefix}{key}; known are: {', '.join(prefix + k for k in hints)}")
    for item in dataclasses.fields(kind):
        undefaulted = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if undefaulted and item.name not in table:
            raise TrainingError(f"{file}: {prefix}{item.name} is missing")
    return kind(**{key: _value(hints[key], value, file, prefix + key) for key, value in table.items()})


def _value(hint: Any, value: Any, file: str, key: str) -> Any:
    """A TOML value as the type a field wants."""
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, file, f"{key}.")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise TrainingError(f"{file}: {key} must be one of {', '.join(arguments)}, not {value!r}")
    if origin is tuple:
        ellipsis = len(arguments) == 2 and arguments[1] is Ellipsis
        if isinstance(value, list) and (ellipsis or len(value) == len(arguments)):
            kinds = [arguments[0]] * len(value) if ellipsis else arguments
            return tuple(_value(kind, part, file, key) for kind, part in zip(kinds, value, strict=True))
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    hint_text = str(hint) if arguments else hint.__name__
    raise TrainingError(f"{file}: {key} must be of type {hint_text}, not {value!r}")
