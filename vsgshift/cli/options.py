"""Options that several commands have: what is restored, and every parameter of the filters that says how."""

import argparse
import math
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsgshift.errors import CommandError
from vsgshift.h273 import NAMES, PROPERTIES
from vsgshift.parameters import HOW, PARAMETERS, Parameter, WidthHeight

if TYPE_CHECKING:
    from vsgshift.video.script import FilterCall

type Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(
    commands: "Commands",
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Enter a command whose description keeps its lines."""
    keeps = argparse.RawDescriptionHelpFormatter
    parser = commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=keeps)
    parser.set_defaults(run=run)
    return parser


def require(extra: str, *modules: str) -> None:
    """Raise CommandError if one of the modules that an extra brings is missing."""
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        advice = f"install what this needs: pip install 'vsgshift[{extra}]'"
        raise CommandError(f"{error.name} is missing; {advice}") from error


def add_what(parser: argparse.ArgumentParser, *, levels: bool = False) -> "argparse._ArgumentGroup":
    """Enter the options that say what is removed, with ``levels`` several noise levels; see `filter_calls`."""
    parser.set_defaults(usage_error=parser.error)
    group = parser.add_argument_group("what is removed")
    group.add_argument("--denoise", action="store_true", help="noise (this is the default)")
    group.add_argument("--deblur", action="store_true", help="motion blur; with --denoise, after the noise")
    words = "the noise level, 0 to 255 on the 8-bit scale; default: auto, measured"
    if levels:
        group.add_argument("--sigma", type=sigma, nargs="+", metavar="S", help=f"{words}. Several for several versions")
    else:
        group.add_argument("--sigma", type=sigma, metavar="S", help=words)
    group.add_argument(
        "--strength", type=_number(PARAMETERS["strength"]), metavar="F", help=_help(PARAMETERS["strength"])
    )
    group.add_argument("--no-scenes", action="store_true", help="restore across scene changes as well")
    group.add_argument("--model", help="a model's name or file; default: the bundled one")
    return group


def add_how(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Enter an option for each parameter of the filters that says how to restore; see `chosen_how`."""
    group = parser.add_argument_group("how it is computed")
    for each in HOW:
        flag = f"--{each.name.replace('_', '-')}"
        if each.name == "device_id":
            add_device(group)
        elif each.kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=_help(each))
        elif each.kind == WidthHeight:
            group.add_argument(flag, type=pixels, metavar="N[xM]", help=_help(each))
        else:
            group.add_argument(flag, type=_number(each), metavar="N", help=_help(each))
    return group


def add_truth(parser: argparse.ArgumentParser) -> None:
    """Enter the options that say what a film is, where its file says something else; see `stated`."""
    group = parser.add_argument_group("what the film is, where its file says something else")
    for name, words in NAMES.items():
        group.add_argument(f"--{name}", type=partial(_number_of, name), metavar="NAME", help=f"{', '.join(words)}")
    group.add_argument(
        "--progressive", action="store_true", help="its frames are not interlaced, whatever they look like"
    )


def stated(options: argparse.Namespace) -> dict[str, int]:
    """The frame properties that were given by options of `add_truth`."""
    given = {PROPERTIES[name]: getattr(options, name.replace("-", "_")) for name in NAMES}
    return {name: value for name, value in given.items() if value is not None}


def _number_of(what: str, word: str) -> int:
    """The number of a matrix, primaries and so on, from its name or as it is."""
    names = NAMES[what]
    if word in names:
        return names[word]
    if word.isascii() and word.isdigit() and int(word) in names.values():
        return int(word)
    raise argparse.ArgumentTypeError(f"{word} is not known; there are {', '.join(names)}")


def add_device(parser: "argparse._ActionsContainer") -> None:
    """Enter the option --device, whose value is a ``device_id``."""
    words = f"cpu, cuda, a GPU's number, or mps, Apple's, untested; default: {PARAMETERS['device_id'].unset}"
    parser.add_argument("--device", dest="device_id", type=device_number, metavar="NAME", help=words)


def chosen_how(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given by options of `add_how`, by name."""
    given = {each.name: getattr(options, each.name) for each in HOW}
    return {name: value for name, value in given.items() if value is not None}


def filter_calls(options: argparse.Namespace) -> "tuple[FilterCall, ...]":
    """The calls of filters that were chosen by options of `add_what` and `add_how`, in order.

    Noise is removed first, since the camera added it last. Ends the program if options contradict each other.
    """
    from vsgshift.video.script import FilterCall

    denoise = options.denoise or not options.deblur
    if options.sigma is not None and not denoise:
        options.usage_error("--sigma is a noise level; it does not go with --deblur alone")
    if options.model and options.denoise and options.deblur:
        options.usage_error("--model is for one task; it does not go with --denoise and --deblur together")
    # A script may run in another folder.
    is_file = options.model and Path(options.model).is_file()
    what = {
        "sigma": options.sigma,
        "model": str(Path(options.model).absolute()) if is_file else options.model,
        "strength": options.strength,
        # Those that are marked, and those that the filter finds.
        "scenechange": 0 if options.no_scenes else 2,
    }
    given = {name: value for name, value in what.items() if value is not None} | chosen_how(options)
    tasks = (["denoise"] if denoise else []) + (["deblur"] if options.deblur else [])
    return tuple(
        FilterCall(task=task, options={name: given[name] for name in given if name != "sigma" or task == "denoise"})
        for task in tasks
    )


def _help(parameter: Parameter) -> str:
    unset = "off" if parameter.default is False else parameter.unset
    return f"{parameter.doc}; default: {unset}".replace("%", "%%")


def _number(parameter: Parameter) -> Callable[[str], float]:
    """Reads values of a parameter that is a number."""
    assert parameter.within is not None
    least, most = parameter.within
    return partial(_read_number, parameter.kind, least, math.inf if most is None else most)


def _read_number(kind: type[float], least: float, most: float, text: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text} is no {what}, {least:g} to {most:g}") from None
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is out of range, {least:g} to {most:g}")
    return value


def within(least: float, most: float) -> Callable[[str], float]:
    """Reads numbers of a range, both ends included."""
    return partial(_read_number, float, least, most)


def sigma(text: str) -> float | None:
    """A noise level on the 8-bit scale; None if it is to be measured."""
    return None if text == "auto" else within(0, 255)(text)


def count(text: str) -> int:
    """A number of frames."""
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text} is not a number of frames, 1 or more")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Width and height of a picture, as 640x360."""
    if not (match := re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give width and height, as 640x360")
    return int(match[1]), int(match[2])


def pixels(text: str) -> list[int]:
    """One length in pixels, or a length across and down as WxH; 0 is a length."""
    if not re.fullmatch("[0-9]+(x[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no size; a number of pixels, or WxH")
    return [int(number) for number in text.split("x")]


def seconds(text: str) -> float:
    """A time, as 90.5, 1:30.5 or 0:01:30.5."""
    if not (match := re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text)):
        raise argparse.ArgumentTypeError(f"{text} is no time; give seconds, as 90.5, or [h:]m:s, as 1:30.5")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])


def device_number(text: str) -> int:
    """A device's number, as the plugin counts them."""
    if text == "cpu":
        return -1
    if text == "mps":
        return -2
    match = re.fullmatch(r"(?:cuda:)?(\d+)|cuda", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is no device; cpu, cuda, a GPU's number, or mps")
    return int(match[1] or 0)
