"""The parameters of the plugin's functions, each declared once: as a field of `Choices`.

Everything else reads this table: the plugin's C signatures (CMake runs this file), the plugin itself, the options
of the command, and the table of the documentation. A test holds `vsgshift.filters` equal to it.

It runs while the package is built, so it imports the standard library alone.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from vsgshift.plugin._bridge import Node
else:

    class Node:
        """Stands for the bridge's class, which does not exist yet when the package is built."""


WidthHeight = tuple[int, int]
"""Pixels across and down; scripts may give one number for both."""
PlaneLevels = tuple[float, ...]
"""A noise level for each plane; planes that are left out have the last one."""
Planes = tuple[int, ...]
"""Planes by number, 0 first."""


class SceneChange(IntEnum):
    """What splits a clip into scenes, whose frames are not mixed."""

    IGNORE = 0
    """The whole clip is one scene."""
    PROPERTIES = 1
    """The frame properties `_SceneChangePrev` and `_SceneChangeNext`, as scene change filters set them."""
    DETECT = 2
    """Scene changes that the plugin finds; it sets both properties."""


def _parameter(default: Any, doc: str, **more: Any) -> Any:
    """A field of `Choices`; arguments as the attributes of `Parameter`."""
    return field(default=default, metadata={"doc": doc, **more})


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user chooses for `gshift.Deblur` and `gshift.Denoise`, beside the clip."""

    sigma: PlaneLevels | None = _parameter(
        None,
        "standard deviation of the noise on the 8-bit scale, as of RGB; 0 returns the source. A list has a level for "
        "each plane, the last one for those left out, and takes a run of the network for each level that differs. The "
        "bundled model was trained for up to 55",
        within=(0, 255),
        unset="measured frame by frame",
        only="Denoise",
        how=False,
    )
    sigma_map: Node | None = _parameter(
        None,
        "instead of `sigma`, a GRAY clip of the same size and length: the noise of each pixel; an 8-bit map has the "
        "scale and the range of `sigma`, other formats the same share of theirs",
        unset="",
        only="Denoise",
        how=False,
    )
    model: str | None = _parameter(
        None, "a model's name, or a `.safetensors` or `.pth` file", unset="`tiny`", how=False
    )
    strength: float = _parameter(
        1.0, "share of the change that is applied; 0 returns the source untouched", within=(0, 1), how=False
    )
    planes: Planes | None = _parameter(
        None,
        "planes of the clip that are restored, by number; the others are the source's, bit for bit",
        within=(0, 2),
        unset="all",
        how=False,
    )
    scenechange: SceneChange = _parameter(
        SceneChange.PROPERTIES,
        "what splits the clip into scenes, whose frames are not mixed: 0 nothing, 1 the frame properties "
        "`_SceneChangePrev` and `_SceneChangeNext`, 2 scene changes that the filter finds and marks with them",
        within=(0, 2),
        how=False,
    )
    device_id: int | None = _parameter(
        None,
        "number of a CUDA device; -1 is the CPU, -2 Apple's GPU (untested)",
        unset="the first CUDA device, else the CPU",
        how=True,
        same=True,
    )
    fp16: bool | None = _parameter(
        None,
        "half precision; needs a GPU or a CPU with bfloat16 arithmetic (AVX512_BF16 or AMX)",
        unset="on a GPU from compute capability 8.0 on",
        how=True,
    )
    block: int = _parameter(
        4, "frames per run of the network; fewer need less memory", within=(1, 64), how=True, same=True
    )
    tilesize: WidthHeight = _parameter(
        (0, 0),
        "pixels, or width and height, of the tiles in which a picture is restored, overlap included; 0 restores it "
        "whole. For pictures that need more memory than there is; tiles below 200 pixels change the result visibly",
        within=(0, None),
        unset="0",
        how=True,
    )
    overlap: WidthHeight | None = _parameter(
        None,
        "pixels, or across and down, that neighbouring tiles share at least",
        within=(0, None),
        unset="64",
        how=True,
    )
    offload: bool | None = _parameter(
        None,
        "on a GPU, keep what waits for later frames in the host's memory",
        unset="if it would not fit otherwise",
        how=True,
        same=True,
    )
    num_streams: int = _parameter(
        1,
        "positions in the clip that are restored side by side, each with memory of its own; for scripts that show "
        "several at once",
        within=(1, 16),
        how=True,
        same=True,
    )

    @staticmethod
    def read(arguments: Mapping[str, Any]) -> "Choices":
        """The choices of a script, from values as VapourSynth hands them over.

        Raises:
            ValueError: a value that makes sense on no machine. One line, with the range.
        """
        return Choices(**{name: PARAMETERS[name].read(value) for name, value in arguments.items()})


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter, as everything that lists parameters needs it."""

    name: str
    kind: Any
    """The type of its values: float, int, bool, str, WidthHeight, PlaneLevels, Planes, SceneChange or Node."""
    default: Any = None
    doc: str
    """What it means: a summary, then perhaps more after a semicolon or a full stop."""
    how: bool
    """It says how to restore; otherwise what."""
    same: bool = False
    """The result is the same with any value, up to rounding."""
    within: tuple[float, float | None] | None = None
    """The smallest and largest value, both allowed; None for no largest."""
    unset: str = ""
    """What holds if it is left out, in words."""
    only: str = ""
    """The function that has it; empty for both Deblur and Denoise."""

    @property
    def range(self) -> str:
        """Its range in words, empty if there is none."""
        if self.within is None:
            return ""
        least, most = self.within
        return f"{least} or more" if most is None else f"{least} to {most}"

    @property
    def summary(self) -> str:
        """What it means, in brief."""
        return re.split(r"[;.] ", self.doc)[0]

    def read(self, value: Any) -> Any:
        """A value as VapourSynth hands it over, converted and checked. Raises ValueError."""
        numbers = value if isinstance(value, list) else [value]
        if self.kind == WidthHeight and len(numbers) > 2:
            raise ValueError(f"{self.name} has {len(numbers)} values; give one, or width and height")
        if self.kind in (PlaneLevels, Planes) and len(numbers) > 3:
            raise ValueError(f"{self.name} has {len(numbers)} values; give one for each plane at most")
        if self.within is not None:
            for number in numbers:
                self.check(number)
        if self.kind == WidthHeight:
            return numbers[0], numbers[-1]
        if self.kind in (PlaneLevels, Planes):
            return tuple(numbers)
        return self.kind(value) if self.kind in (bool, SceneChange) else value

    def check(self, number: float) -> None:
        """Raise ValueError for a number that is out of range."""
        assert self.within is not None
        least, most = self.within
        if not isfinite(number) or number < least or (most is not None and number > most):
            raise ValueError(f"{self.name}={number:g} is out of range; {self.range}: {self.summary}")


def _kind(hint: Any) -> Any:
    """The type of a field's values, None apart."""
    return hint if hint == WidthHeight else next((kind for kind in get_args(hint) if kind is not type(None)), hint)


def _unset(default: Any) -> str:
    return f"{default:d}" if isinstance(default, IntEnum) else str(default)


_HINTS = get_type_hints(Choices)
PARAMETERS = {
    each.name: Parameter(
        name=each.name,
        kind=_kind(_HINTS[each.name]),
        default=each.default,
        **{"unset": _unset(each.default), **each.metadata},
    )
    for each in fields(Choices)
}
"""All parameters but the clip, by name, in the order of the functions' arguments."""
CLIP = Parameter(
    name="clip", kind=Node, doc="constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float", how=False
)
HOW = tuple(each for each in PARAMETERS.values() if each.how)
"""Those that say how to restore, not what."""


# ---- The plugin's functions ----------------------------------------------------------------------------------------

_C_TYPES = {
    str: "data",
    float: "float",
    int: "int",
    bool: "int",
    SceneChange: "int",
    WidthHeight: "int[]",
    PlaneLevels: "float[]",
    Planes: "int[]",
    Node: "vnode",
}
_CLIP = "clip:vnode;"


def _arguments(names: Iterable[str]) -> str:
    """The signature of optional arguments, in VapourSynth's notation."""
    return "".join(f"{name}:{_C_TYPES[PARAMETERS[name].kind]}:opt;" for name in names)


def parameters_of(function: str) -> tuple[Parameter, ...]:
    """The parameters of "Deblur" or "Denoise" beside the clip, in order."""
    return tuple(each for each in PARAMETERS.values() if each.only in ("", function))


FUNCTIONS = {
    "Deblur": (_CLIP + _arguments(each.name for each in parameters_of("Deblur")), _CLIP),
    "Denoise": (_CLIP + _arguments(each.name for each in parameters_of("Denoise")), _CLIP),
    "EstimateNoise": (_CLIP + _arguments(["scenechange"]), _CLIP),
    "Version": ("", "any"),
    "DeviceProperties": (_arguments(["device_id"]), "any"),
    "Models": ("", "any"),
}
"""Arguments and results of the plugin's functions, in VapourSynth's notation."""


def rows_in_c() -> str:
    """The functions as rows of a table in C: name, arguments, result."""
    return "".join(f'{{"{name}", "{takes}", "{gives}"}},\n' for name, (takes, gives) in FUNCTIONS.items())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(rows_in_c())
