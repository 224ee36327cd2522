"""Any format to what the network takes, and back, by VapourSynth's own resizer.

The network gets RGBS, or GRAYS for GRAY clips, or the same in half precision where that is enough. A frame's matrix,
range and siting may change within a clip, and a resizer converts to one combination of them, so there is a resizer for
each; a cheap filter sends every frame through its own.
"""

from collections.abc import Callable
from itertools import product

from vsgshift.h273 import BT709, usual_matrix
from vsgshift.plugin._bridge import Core, Format, Frame, Node

GRAY8 = 0x10080000
RGBS = 0x21200000
GRAYS = 0x11200000
RGBH = 0x21100000
GRAYH = 0x11100000
MATRICES = (1, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14)
"""Matrices to convert back to, as H.273 numbers them: all that VapourSynth's resizer knows for YUV."""


def check_format(clip: Node) -> None:
    """Raise ValueError for clips that cannot be converted."""
    if not clip.is_constant:
        raise ValueError("the clip's format or size varies; make it constant with resize first")
    kind = clip.format
    if kind.color_family == "UNDEFINED" or (kind.sample_type == "integer" and kind.bits > 16):
        raise ValueError(f"{kind.name} is not supported; convert to 8-16 bit integer, half or float first")


def with_colours(core: Core, clip: Node) -> Node:
    """The clip after Core.remember_props."""
    return core.remember_props(clip, usual_matrix(clip.width, clip.height))


def colour_of(frame: Frame) -> tuple[int, bool, int]:
    """Matrix, full range and chroma siting, as H.273 numbers them, of a frame of `with_colours`."""
    key = frame.int_property("_GShiftColour", BT709)
    return key % 16, key // 16 % 2 == 1, key // 32


def converted_around(core: Core, clip: Node, make: Callable[[Node], Node], *, half: bool = False) -> Node:
    """Apply ``make`` to the clip as RGBS or GRAYS; the result has the clip's format and properties.

    half: as RGBH or GRAYH, if the clip has 8 bits, of which those lose nothing, or is in half precision itself.
    """
    kind = clip.format
    start = with_colours(core, clip)
    half = half and kind.bits == (16 if kind.sample_type == "float" else 8)
    network_format = (GRAYH if half else GRAYS) if kind.color_family == "GRAY" else RGBH if half else RGBS
    direct = kind.id == network_format
    if direct:
        return core.restore_props(make(start), lambda node: {-1: node})
    # What is still wanted of these large frames is kept by who wants it.
    restored = make(core.uncached(core.invoke("resize", "Bicubic", clip=start, format=network_format)))
    return core.restore_props(restored, lambda node: _converters_back(core, node, kind))


def _converters_back(core: Core, node: Node, kind: Format) -> dict[int, Node]:
    def back(*, matrix: int | None = None, full: int | None = None, siting: int | None = None) -> Node:
        return core.invoke("resize", "Bicubic", clip=node, format=kind.id, matrix=matrix, range=full, chromaloc=siting)

    if kind.color_family == "RGB":
        return {-1: back()}
    subsampled = kind.subsampling_w or kind.subsampling_h
    matrices = MATRICES if kind.color_family == "YUV" else (None,)
    sitings = range(6) if subsampled else (None,)
    converters = {}
    for matrix, full, siting in product(matrices, (0, 1), sitings):
        converter = back(matrix=matrix, full=full, siting=siting)
        for key_matrix in (matrix,) if matrix is not None else range(16):
            for key_siting in (siting,) if siting is not None else range(6):
                converters[key_matrix + 16 * full + 32 * key_siting] = converter
    converters[-1] = next(iter(converters.values()))
    return converters
