"""Drawn clips without texture: bars, cartoons, screens with text, ramps; and titles laid over other clips."""

import colorsys
import string

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .rng import Rng

Colour = tuple[int, int, int]
FINE = 2
"""Pixels drawn for each pixel of a clip, along each axis: edges come out smooth, and motion may go by halves."""


def colour(rng: Rng) -> Colour:
    """Fully saturated, saturated, pale, or grey."""
    kind = rng.choice(("corner", "saturated", "pale", "grey"), (0.3, 0.3, 0.2, 0.2))
    if kind == "corner":
        red, green, blue = (255 * rng.integer(0, 1) for _ in range(3))
        return red, green, blue
    if kind == "grey":
        level = rng.integer(0, 255)
        return level, level, level
    saturation = rng.uniform(0.6, 1.0) if kind == "saturated" else rng.uniform(0.05, 0.4)
    red_share, green_share, blue_share = colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(0.2, 1.0))
    return round(255 * red_share), round(255 * green_share), round(255 * blue_share)


def words(rng: Rng) -> str:
    """A line of made-up words."""
    return " ".join(
        "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.integer(1, 9)))
        for _ in range(rng.integer(1, 6))
    )


def write(rng: Rng, draw: ImageDraw.ImageDraw, side: int, *, ink: Colour, lines: int) -> None:
    """Lines of text somewhere in a square."""
    size = FINE * rng.integer(8, 28)
    font = ImageFont.load_default(size)
    left, top = rng.integer(-side // 8, side // 2), rng.integer(-side // 8, 3 * side // 4)
    for number in range(lines):
        draw.text((left, top + number * size * 5 // 4), words(rng), fill=ink, font=font)


def _bars(rng: Rng, draw: ImageDraw.ImageDraw, side: int) -> None:
    width = max(1, round(side / rng.log_uniform(1.0, 24.0)))
    across = rng.chance(0.5)
    for start in range(0, side, width):
        box = (start, 0, start + width - 1, side) if across else (0, start, side, start + width - 1)
        draw.rectangle(box, fill=colour(rng))


def _cartoon(rng: Rng, draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.rectangle((0, 0, side, side), fill=colour(rng))
    outline = colour(rng) if rng.chance(0.3) else (0, 0, 0)
    width = FINE * rng.integer(0, 4)
    for _ in range(rng.integer(1, 14)):
        y, x = rng.uniform(0, side), rng.uniform(0, side)
        size = side * rng.log_uniform(0.04, 0.5)
        if rng.chance(0.5):
            box = (x - size, y - size * rng.uniform(0.3, 1.0), x + size, y + size * rng.uniform(0.3, 1.0))
            draw.ellipse(box, fill=colour(rng), outline=outline, width=width)
        else:
            corners = [(x + rng.normal(size), y + rng.normal(size)) for _ in range(rng.integer(3, 6))]
            draw.polygon(corners, fill=colour(rng), outline=outline, width=max(width, 1))


def _display(rng: Rng, draw: ImageDraw.ImageDraw, side: int) -> None:
    dark = rng.chance(0.4)
    paper = rng.choice(((255, 255, 255), (240, 240, 240), colour(rng)))
    paper, ink = ((30, 30, 30), (230, 230, 230)) if dark else (paper, (0, 0, 0))
    draw.rectangle((0, 0, side, side), fill=paper)
    for _ in range(rng.integer(0, 5)):
        y, x, height, width = (FINE * round(side * rng.uniform(0.02, 0.6) / FINE) for _ in range(4))
        line = colour(rng) if rng.chance(0.5) else None
        draw.rectangle((x, y, x + width, y + height), fill=colour(rng), outline=line, width=FINE)
    for _ in range(rng.integer(1, 4)):
        write(rng, draw, side, ink=ink if rng.chance(0.7) else colour(rng), lines=rng.integer(1, 8))


def _picture(rng: Rng, side: int) -> Image.Image:
    """A square of that many drawn pixels."""
    kind = rng.choice(("flat", "ramp", "bars", "cartoon", "display"), (0.15, 0.1, 0.2, 0.3, 0.25))
    if kind == "ramp":
        ends = np.array((colour(rng), colour(rng)), np.float32)
        along = np.linspace(0, 1, side, dtype=np.float32)[:, None]
        ramp = (ends[0] + along * (ends[1] - ends[0])).round().astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(ramp[:, None], (side, side, 3))))
        return picture.transpose(Image.Transpose.TRANSPOSE) if rng.chance(0.5) else picture
    picture = Image.new("RGB", (side, side), colour(rng))
    draw = ImageDraw.Draw(picture)
    if kind != "flat":
        {"bars": _bars, "cartoon": _cartoon, "display": _display}[kind](rng, draw, side)
    return picture


def _shown(picture: np.ndarray, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """What is seen of a drawn picture that repeats for ever: (channels, H, W) in [0, 1], in steps of 1/255."""
    rows = (top + np.arange(FINE * size[0])) % len(picture)
    columns = (left + np.arange(FINE * size[1])) % len(picture)
    seen = picture[rows[:, None], columns].reshape(size[0], FINE, size[1], FINE, -1).mean((1, 3))
    return torch.from_numpy(seen.round().astype(np.float32) / 255).permute(2, 0, 1)


def _step(rng: Rng) -> tuple[int, int]:
    """Drawn pixels that a picture moves down and to the right a frame: mostly none, as titles and screens do."""
    if rng.chance(0.5):
        return 0, 0
    along = rng.choice(((1, 0), (0, 1), (1, 1)))
    rates = [FINE * rng.integer(-6, 6) if rng.chance(0.7) else rng.integer(-9, 9) for _ in range(2)]
    return along[0] * rates[0], along[1] * rates[1]


def graphics(rng: Rng, *, frames: int, size: tuple[int, int]) -> Tensor:
    """A drawn clip (frames, 3, H, W) in [0, 1], in steps of 1/255: still, or moving by halves of pixels.

    size: (H, W) in pixels.
    """
    side = FINE * (max(size) + 16)
    picture = np.asarray(_picture(rng, side))
    down, right = _step(rng)
    top, left = rng.integer(0, side - 1) // FINE * FINE, rng.integer(0, side - 1) // FINE * FINE
    if not (down or right):
        return _shown(picture, top, left, size).expand(frames, -1, -1, -1)
    return torch.stack([_shown(picture, top + n * down, left + n * right, size) for n in range(frames)])


def titled(rng: Rng, clip: Tensor) -> Tensor:
    """A clip (T, 3, H, W) with text, a logo or black bars laid over it, still or moving; in [0, 1]."""
    size = (clip.shape[2], clip.shape[3])
    if rng.chance(0.25):
        height = rng.integer(1, size[0] // 3)
        clip = clip.clone()
        clip[:, :, :height] = 0
        return clip
    side = FINE * (max(size) + 16)
    cover = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(cover)
    opaque = 255 if rng.chance(0.7) else rng.integer(80, 255)
    ink = rng.choice(((255, 255, 255), (255, 255, 0), colour(rng)))
    if rng.chance(0.4):
        x, y, width = (round(side * rng.uniform(0.1, 0.6)) for _ in range(3))
        draw.rectangle((x, y, x + width, y + width // 3), fill=(*colour(rng), opaque))
    size_of_text = FINE * rng.integer(8, 40)
    font = ImageFont.load_default(size_of_text)
    for _ in range(rng.integer(1, 3)):
        at = (rng.integer(-side // 8, side // 2), rng.integer(0, side - size_of_text))
        edge = FINE * rng.integer(0, 2)
        draw.text(at, words(rng), fill=(*ink, opaque), font=font, stroke_width=edge, stroke_fill=(0, 0, 0, opaque))
    drawn = np.asarray(cover).astype(np.float32)
    drawn[..., :3] *= drawn[..., 3:] / 255
    down, right = _step(rng)
    seen = [_shown(drawn, n * down, n * right, size) for n in range(len(clip) if down or right else 1)]
    laid = torch.stack(seen).to(clip)
    return laid[:, :3] + (1 - laid[:, 3:]) * clip
