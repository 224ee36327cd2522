"""A parameter is declared once: the plugin and the typed functions say what the table says."""

import inspect
import os
from collections.abc import Callable, Sequence

import pytest
import vapoursynth as vs

from vsgshift import filters
from vsgshift.cli import parser
from vsgshift.cli.options import chosen_how
from vsgshift.filters import DeblurModel, DenoiseModel
from vsgshift.parameters import (
    CLIP,
    FUNCTIONS,
    HOW,
    PARAMETERS,
    Choices,
    Parameter,
    PlaneLevels,
    Planes,
    SceneChange,
    WidthHeight,
    parameters_of,
)

ACCEPTED = {
    float: float,
    int: int,
    bool: bool,
    SceneChange: SceneChange,
    WidthHeight: int | tuple[int, int],
    PlaneLevels: float | Sequence[float],
    Planes: int | Sequence[int],
    CLIP.kind: vs.VideoNode,
}
"""What a typed function takes for each kind of parameter."""


def test_the_plugin_registers_the_tables_signatures() -> None:
    assert {function.name: function.signature for function in vs.core.gshift.functions()} == {
        name: takes for name, (takes, _) in FUNCTIONS.items()
    }


@pytest.mark.parametrize(
    ("typed", "function", "models"),
    [(filters.deblur, "Deblur", DeblurModel), (filters.denoise, "Denoise", DenoiseModel)],
)
def test_the_typed_functions_take_the_tables_parameters(
    typed: Callable[..., vs.VideoNode], function: str, models: type
) -> None:
    clip, *others = inspect.signature(typed).parameters.values()
    assert (clip.name, clip.annotation) == ("clip", vs.VideoNode)
    table = parameters_of(function)
    assert [other.name for other in others] == [each.name for each in table]
    for other, each in zip(others, table, strict=True):
        accepted = ACCEPTED.get(each.kind, models | str | os.PathLike[str])
        assert (other.kind, other.default) == (other.KEYWORD_ONLY, None), other.name
        assert other.annotation == accepted | None, other.name


def test_their_docstrings_say_what_the_table_says() -> None:
    def sentences(each: Parameter) -> str:
        last = "; ".join(filter(None, (each.range, f"by default {each.unset}" if each.unset else "")))
        return " ".join(filter(None, (f"{each.name}: {each.doc}.", f"{last[:1].upper()}{last[1:]}." if last else "")))

    def arguments(typed: Callable[..., vs.VideoNode]) -> str:
        return " ".join((inspect.getdoc(typed) or "").partition("Args:")[2].partition("Returns:")[0].split())

    shared = [each for each in PARAMETERS.values() if not each.only]
    assert arguments(filters.deblur) == " ".join(map(sentences, (CLIP, *shared)))
    own = [each for each in PARAMETERS.values() if each.only == "Denoise"]
    rest = f"{', '.join(each.name for each in shared)}: as for `deblur`."
    assert arguments(filters.denoise) == " ".join((*map(sentences, (CLIP, *own)), rest))


def test_values_of_a_script_become_choices() -> None:
    assert Choices.read({}) == Choices()
    chosen = Choices.read(
        {"scenechange": 2, "fp16": 1, "offload": 0, "tilesize": [512, 256], "overlap": 32, "block": 64}
    )
    assert chosen == Choices(
        scenechange=SceneChange.DETECT, fp16=True, offload=False, tilesize=(512, 256), overlap=(32, 32), block=64
    )
    assert Choices.read({"sigma": 8.0, "planes": [2, 0]}) == Choices(sigma=(8.0,), planes=(2, 0))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sigma", float("nan"), "sigma=nan is out of range; 0 to 255: standard deviation of the noise"),
        ("strength", 1.5, "strength=1.5 is out of range; 0 to 1: share of the change"),
        ("scenechange", 3, "scenechange=3 is out of range; 0 to 2: what splits the clip"),
        ("block", 0, "block=0 is out of range; 1 to 64: frames per run"),
        ("tilesize", [64, -1], "tilesize=-1 is out of range; 0 or more: pixels"),
        ("overlap", [1, 2, 3], "overlap has 3 values; give one, or width and height"),
        ("sigma", [3, 256], "sigma=256 is out of range; 0 to 255: standard deviation of the noise"),
        ("sigma", [1, 2, 3, 4], "sigma has 4 values; give one for each plane at most"),
        ("planes", [0, 3], "planes=3 is out of range; 0 to 2: planes of the clip"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")) as caught:
        Choices.read({name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [["restore", "in.mp4", "out.mkv"], ["compare", "in.mp4"], ["benchmark"]])
def test_every_parameter_that_says_how_is_an_option_of_the_command(command: list[str]) -> None:
    given = {
        "device_id": ("--device cpu", -1),
        "fp16": ("--fp16", True),
        "block": ("--block 2", 2),
        "tilesize": ("--tilesize 320x240", [320, 240]),
        "overlap": ("--overlap 32", [32]),
        "offload": ("--no-offload", False),
        "num_streams": ("--num-streams 3", 3),
    }
    assert set(given) == {each.name for each in HOW}
    words = " ".join(text for text, _ in given.values()).split()
    assert chosen_how(parser().parse_args([*command, *words])) == {name: value for name, (_, value) in given.items()}
    assert chosen_how(parser().parse_args(command)) == {}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--block 65", "argument --block: 65 is out of range, 1 to 64"),
        ("--num-streams 1.5", "argument --num-streams: 1.5 is no whole number, 1 to 16"),
        ("--strength 2", "argument --strength: 2 is out of range, 0 to 1"),
        ("--device gpu", "argument --device: gpu is no device"),
    ],
)
def test_the_command_checks_ranges_before_anything_is_read(
    words: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["restore", "in.mp4", "out.mkv", *words.split()])
    assert complaint in capsys.readouterr().err
