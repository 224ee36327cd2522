"""The VapourSynth script that does the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsgshift.parameters import PARAMETERS


@dataclass(frozen=True, kw_only=True)
class FilterCall:
    """A call of one of the plugin's functions."""

    task: str
    """"denoise" or "deblur"."""
    options: dict[str, Any]
    """The arguments that are given."""

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments on which the frames depend."""
        return {name: value for name, value in self.options.items() if not PARAMETERS[name].same}

    def source(self, clip: str) -> str:
        """The call as written in a script, of a variable."""
        written = [f"{name}={_literal(value)}" for name, value in self.options.items()]
        return f"core.gshift.{self.task.capitalize()}({', '.join([clip, *written])})"

    def apply(self, clip: Any) -> Any:
        """The clip with the function applied. Raises vapoursynth.Error."""
        from vapoursynth import core

        return getattr(core.gshift, self.task.capitalize())(clip, **self.options)

    def __str__(self) -> str:
        """For people, as "denoise, sigma 8"."""
        words = [self.task]
        if self.task == "denoise" and "sigma" not in self.options:
            words.append("sigma measured")
        shown = {name: value for name, value in self.settings.items() if name != "scenechange"}
        return ", ".join([*words, *(f"{name} {_literal(value).strip("'")}" for name, value in shown.items())])


def _literal(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def source_options(track: int, index: Path) -> dict[str, Any]:
    """BestSource's arguments for a video track, with the index kept in files named for ``index``."""
    # The picture stays as it is stored; how it is to be turned is written in the output, as in the input.
    return {"track": track, "apply_rotation": 0, "cachemode": 4, "cachepath": str(index)}


def script_text(
    *,
    header: Sequence[str],
    file: Path,
    options: dict[str, Any],
    before: Sequence[str] = (),
    filters: Sequence[FilterCall],
    after: Sequence[str] = (),
) -> str:
    """A script that reads a video by BestSource, filters, and gives frames that a Y4M pipe can carry.

    ``header`` are lines of its comment; ``before`` and ``after`` are lines around the filters, which change ``clip``.
    """
    arguments = [repr(str(file)), *(f"{name}={value!r}" for name, value in options.items())]
    lines = [*(f"# {line}" for line in header), "import vapoursynth as vs", ""]
    lines += ["core = vs.core", f"clip = core.bs.VideoSource({', '.join(arguments)})", *before]
    lines += [f"clip = {call.source('clip')}" for call in filters]
    return "\n".join([*lines, *after, "clip.set_output()", ""])
