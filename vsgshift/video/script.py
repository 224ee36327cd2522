"""The VapourSynth script that does the work."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A call of one of the plugin's functions."""

    task: str
    """"denoise" or "deblur"."""
    options: dict[str, float | int | str | list[int] | None]
    """Its arguments; None for those that are not given."""

    def __str__(self) -> str:
        given = [f"{name}={_written(value)}" for name, value in self.options.items() if value is not None]
        return f"core.gshift.{self.task.capitalize()}({', '.join(['clip', *given])})"


def _written(value: float | int | str | list[int] | None) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def script_text(
    *,
    header: Sequence[str],
    source: str,
    before: Sequence[str] = (),
    filters: Sequence[Filter],
    after: Sequence[str] = (),
) -> str:
    """A script that reads, filters, and gives frames that a Y4M pipe can carry.

    Args:
        header: lines of the comment at its head.
        source: the call that reads the video.
        before: lines between reading and filtering, which change ``clip``.
        filters: run one after the other.
        after: lines behind them.
    """
    lines = [*(f"# {line}" for line in header), "import vapoursynth as vs", ""]
    lines += ["core = vs.core", f"clip = {source}", *before]
    lines += [f"clip = {call}" for call in filters]
    return "\n".join([*lines, *after, "clip.set_output()", ""])


def conversion(family: str, is_float: bool, size: tuple[int, int]) -> list[str]:
    """The lines that make a clip fit for the pipe: Y4M carries neither RGB nor floating point numbers.

    Args:
        family: YUV, RGB or GRAY.
        is_float: half or single precision.
        size: width and height.
    """
    target = y4m_format(family, is_float, size)
    if target is None:
        return []
    matrix = ", matrix=vs.MATRIX_BT709" if family == "RGB" else ""
    return [f"clip = clip.resize.Bicubic(format=vs.{target}{matrix})"]


def y4m_format(family: str, is_float: bool, size: tuple[int, int]) -> str | None:
    """The name of the format that a clip must become to go through the pipe; None where it can go as it is."""
    if family == "RGB":
        even = all(length % 2 == 0 for length in size)
        return "YUV420P8" if even else "YUV444P8"
    if is_float:
        return "GRAY8" if family == "GRAY" else "YUV444P8"
    return None
