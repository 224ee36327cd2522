"""A picture: crops before and after at 100 %, and below them the most telling region, enlarged."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsgshift.errors import VideoError
from vsgshift.files import atomic_write
from vsgshift.video.compare.pairs import Pair, Picture
from vsgshift.video.compare.region import Box, most_telling

if TYPE_CHECKING:
    from PIL.Image import Image as Sheet

LARGEST = 480, 640
"""Height and width of a crop, if the frame has as many pixels."""
ZOOM = 4
"""The region is this many times smaller than the crop, and shown as large, each pixel as a square."""
BACKGROUND, INK, FAINT = (43, 43, 43), (235, 235, 235), (170, 170, 170)
"""Neutral: a tint would make the eye see the opposite one in the pictures."""
GAP, TEXT = 12, 16
LINE = 26
"""Pixels of a line of text."""


def write(file: Path, pairs: Sequence[Pair], names: Sequence[str], title: str) -> None:
    """Write a PNG with one block for each pair, all of one size. Raises VideoError if Pillow is missing; OSError."""
    image, _ = pillow()
    blocks = [_block(pair, names, title) for pair in pairs]
    sheet = image.new("RGB", (blocks[0].width, sum(block.height for block in blocks)), BACKGROUND)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    with atomic_write(file) as partial:
        sheet.save(partial, format="PNG", optimize=True)


def layout(pair: Pair) -> tuple[Box, Box]:
    """The crop of a pair, and the region that is enlarged, which lies in it."""
    frame = pair.before.shape[0], pair.before.shape[1]
    crop = min(LARGEST[0], frame[0]), min(LARGEST[1], frame[1])
    region = most_telling(pair.before, pair.afters[0], (max(1, crop[0] // ZOOM), max(1, crop[1] // ZOOM)))
    return region.around(crop, frame), region


def label(text: str, width: int) -> "Sheet":
    """A strip with a line of text, cut short if it is too long; for a film's head as well. Raises VideoError."""
    image, drawing = pillow()
    strip: Sheet = image.new("RGB", (width, LINE), BACKGROUND)
    drawing.Draw(strip).text((0, 3), text, fill=INK, font_size=TEXT)
    return strip


def _block(pair: Pair, names: Sequence[str], title: str) -> "Sheet":
    image, drawing = pillow()
    crop, region = layout(pair)
    column = max(crop.width, ZOOM * region.width)
    size = len(names) * (column + GAP) + GAP, 3 * LINE + crop.height + ZOOM * region.height + 3 * GAP
    block: Sheet = image.new("RGB", size, BACKGROUND)
    draw = drawing.Draw(block)
    draw.text((GAP, GAP), f"{title}, {pair.time}, frame {pair.number}", fill=FAINT, font_size=TEXT)
    for index, (name, picture) in enumerate(zip(names, (pair.before, *pair.afters), strict=True)):
        left, top = GAP + index * (column + GAP), GAP + LINE
        block.paste(label(name, column), (left, top))
        top += LINE
        block.paste(image.fromarray(crop.cut(picture)), (left, top))
        _outline(draw, region, left - crop.left, top - crop.top)
        top += crop.height + GAP
        draw.text((left, top + 3), f"{100 * ZOOM} % of the marked part", fill=FAINT, font_size=TEXT)
        block.paste(enlarged(region.cut(picture)), (left, top + LINE))
    return block


def enlarged(picture: Picture) -> "Sheet":
    """Each pixel as a square of ZOOM pixels."""
    image, _ = pillow()
    small = image.fromarray(picture)
    large: Sheet = small.resize((ZOOM * small.width, ZOOM * small.height), image.Resampling.NEAREST)
    return large


def _outline(draw: Any, region: Box, left: int, top: int) -> None:
    """A light line with a dark one around it: one of them is seen on any ground."""
    x, y = left + region.left, top + region.top
    for distance, colour in ((2, (0, 0, 0)), (1, (255, 255, 255))):
        corners = (x - distance, y - distance, x + region.width - 1 + distance, y + region.height - 1 + distance)
        draw.rectangle(corners, outline=colour)


def pillow() -> tuple[Any, Any]:
    """Its modules Image and ImageDraw; for the page as well. Raises VideoError if it is missing."""
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise VideoError("pictures need Pillow; install it with: pip install 'vsgshift[compare]'") from error
    return Image, ImageDraw
