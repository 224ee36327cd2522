"""Dead leaves: shapes of every size laid over one another, each with its own colour and texture.

The model is the occlusion one of Matheron, with radii distributed as r**-3 so that the picture looks
alike at all scales. Lengths are in texels; a positive distance is outside of the shape.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .palettes import colours
from .rng import Rng
from .textures import spectral_noise

SMALL = 9.0
"""Radius below which leaves are painted all at once."""


def turned(y: Tensor, x: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Coordinates in axes turned by an angle in radians."""
    c, s = math.cos(angle), math.sin(angle)
    return c * y - s * x, s * y + c * x


def ellipse(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Signed distance to a disk, or, to first order, to an ellipse."""
    if rng.chance(0.5):
        return y.hypot(x) - radius
    y, x = turned(y, x, rng.uniform(0.0, math.pi))
    squeeze = rng.uniform(0.3, 1.0)
    return (y.hypot(x / squeeze) - radius) * (0.5 + 0.5 * squeeze)


def rectangle(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Signed distance to a rectangle, often upright, sometimes with round corners."""
    y, x = turned(y, x, rng.uniform(0.0, math.pi) if rng.chance(0.5) else rng.normal(0.03))
    angle = rng.uniform(0.15, 1.4)
    corner = rng.uniform(0.0, 0.4) * radius * min(math.sin(angle), math.cos(angle))
    dy = y.abs() - (radius * math.sin(angle) - corner)
    dx = x.abs() - (radius * math.cos(angle) - corner)
    outside = dy.clamp(min=0).hypot(dx.clamp(min=0))
    return outside + torch.maximum(dy, dx).clamp(max=0) - corner


def polygon(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Signed distance to a convex polygon of three to seven random sides."""
    sides = rng.integer(3, 7)
    start = rng.uniform(0.0, 2 * math.pi)
    distance = torch.full_like(y + x, -1e9)
    for side in range(sides):
        angle = start + 2 * math.pi * (side + rng.uniform(-0.25, 0.25)) / sides
        edge = math.sin(angle) * y + math.cos(angle) * x - radius * rng.uniform(0.4, 0.8)
        distance = torch.maximum(distance, edge)
    return distance


def blob(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Signed distance, to first order, to a star or a wavy blob: its radius goes with the angle."""
    angle = torch.atan2(y, x)
    reach = torch.ones_like(angle)
    if rng.chance(0.3):
        points = rng.integer(3, 8)
        reach = reach + rng.uniform(0.2, 0.45) * torch.cos(points * angle + rng.uniform(0, 6.3))
    else:
        for wave in range(2, 7):
            reach = reach + rng.normal(0.5 / wave) * torch.cos(wave * angle + rng.uniform(0, 6.3))
    return y.hypot(x) - radius * 0.7 * reach.clamp(0.15, 1.4)


def bar(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Distance to a thin stroke with round ends: a wire, a pole, a lane marking, a hair."""
    y, x = turned(y, x, rng.uniform(0.0, math.pi))
    width = rng.log_uniform(0.6, max(0.7, 0.12 * radius))
    return (y.abs() - (radius - width)).clamp(min=0).hypot(x) - width


SHAPES = (ellipse, rectangle, polygon, blob, bar)
"""The shapes; each takes offsets from its centre, (N, 1) and (1, N), and its radius."""


class Canvas:
    """A periodic picture under construction, painted from back to front."""

    def __init__(
        self, rng: Rng, texels: int, tiles: Sequence[Tensor], device: torch.device, *, calm: bool = False
    ) -> None:
        """texels: side of the picture; tiles: (3, N, N) textures, N at least texels; calm: as for `world`."""
        self.rng = rng
        self.texels = texels
        self.tiles = tiles
        # Scenes differ in how rough their surfaces are; within one, surfaces do too.
        self.roughness = rng.log_uniform(0.0015, 0.02) if calm else rng.log_uniform(0.015, 0.16)
        self.softness = rng.choice((1.0, 1.0, 1.5, 2.0))
        self.ramp = torch.linspace(-1.0, 1.0, texels, device=device)
        self.picture = torch.zeros(3, texels, texels, device=device)

    def surface(self, colour: Tensor, height: int, width: int) -> Tensor:
        """A textured, unevenly lit patch (3, height, width) of a colour (3,)."""
        rng, tile = self.rng, self.rng.choice(self.tiles)
        top, left = rng.integer(0, self.texels - height), rng.integer(0, self.texels - width)
        contrast = rng.log_uniform(0.3, 3.0) * self.roughness
        patch = tile[:, top : top + height, left : left + width] * contrast
        if rng.chance(0.5):
            patch = patch + rng.normal(0.08) * self.ramp[:height, None]
            patch = patch + rng.normal(0.08) * self.ramp[:width]
        # Texture is mostly shade, and shade scales a colour more than it shifts it.
        colour = colour.to(patch)[:, None, None]
        return colour + patch * (0.15 + colour)

    def ground(self, colour: Tensor) -> None:
        """Covers everything with one surface."""
        # A ramp would tear where the picture wraps round.
        tile = self.rng.choice(self.tiles)[:, : self.texels, : self.texels]
        colour = colour.to(tile)[:, None, None]
        self.picture = colour + tile * (0.15 + colour) * self.roughness * self.rng.log_uniform(0.5, 2.0)

    def leaf(self, row: float, column: float, radius: float, colour: Tensor) -> None:
        """Lays one leaf of some shape, wrapped round at the edges."""
        side = min(2 * math.ceil(radius) + 4, self.texels)
        top, left = round(row) - side // 2, round(column) - side // 2
        line = torch.arange(side, device=self.picture.device)
        y, x = line[:, None] + (top - row), line[None] + (left - column)
        shape = self.rng.choice(SHAPES, (3.0, 3.0, 2.5, 2.0, 1.2))
        distance = shape(self.rng, y, x, radius)
        softness = self.softness if self.rng.chance(0.9) else 0.3 * radius
        alpha = (0.5 - distance / softness).clamp(0.0, 1.0)
        rows, columns = ((line + top) % self.texels)[:, None], ((line + left) % self.texels)[None]
        below = self.picture[:, rows, columns]
        surface = self.surface(colour, side, side)
        self.picture[:, rows, columns] = torch.lerp(below, surface, alpha)

    def litter(self, rows: Tensor, columns: Tensor, radii: Tensor, colour: Tensor, strength: float) -> None:
        """Lays many small leaves, flat ellipses and boxes, in one go; later ones lie on top.

        rows, columns, radii: (N,), radii under SMALL; colour: (N, 3); strength: of the colour against
        that of the place where the leaf falls, 0 to 1.
        """
        rng, device, count = self.rng, self.picture.device, len(radii)
        reach = math.ceil(float(radii.max())) + 1
        line = torch.arange(-reach, reach + 1, device=device)
        angle = (rng.rand(count, 1, 1) * math.pi).to(device)
        squeeze = (0.25 + 0.75 * rng.rand(count, 1, 1)).to(device)
        boxy = (rng.rand(count, 1, 1) < 0.5).to(device)
        rows, columns, radii = rows.to(device), columns.to(device), radii.to(device)[:, None, None]
        y = line[:, None] - (rows - rows.round())[:, None, None]
        x = line[None] - (columns - columns.round())[:, None, None]
        u, v = angle.cos() * y - angle.sin() * x, (angle.sin() * y + angle.cos() * x) / squeeze
        size = torch.where(boxy, torch.maximum(u.abs(), v.abs()) * 1.4, u.hypot(v))
        alpha = (0.5 + (radii - size) * squeeze / self.softness).clamp(0.0, 1.0)
        at_row = (rows.round().long()[:, None, None] + line[:, None]) % self.texels
        at_column = (columns.round().long()[:, None, None] + line) % self.texels
        position = at_row * self.texels + at_column
        # The topmost leaf of each texel, then its cover and colour.
        order = torch.arange(1, count + 1, device=device)[:, None, None]
        bid = torch.where(alpha > 0, order, 0)
        top = torch.zeros(self.texels**2, dtype=torch.long, device=device)
        top.scatter_reduce_(0, position.flatten(), bid.flatten(), "amax")
        seen = (bid > 0) & (top[position] == order)
        cover = torch.zeros(self.texels**2, device=device)
        cover[position[seen]] = alpha[seen]
        below = self.picture[:, rows.long() % self.texels, columns.long() % self.texels].T
        palette = torch.lerp(below, colour.to(device), strength)
        palette = torch.cat((torch.zeros(1, 3, device=device), palette))
        paint = palette[top].T.reshape(3, self.texels, self.texels)
        tile = rng.choice(self.tiles)[:, : self.texels, : self.texels]
        paint = paint + tile * (0.15 + paint) * self.roughness
        self.picture = torch.lerp(self.picture, paint, cover.view(self.texels, self.texels))


def power_radii(rng: Rng, count: int, low: float, high: float) -> Tensor:
    """Radii (count,) of density r**-3 between low and high, by inversion of the distribution."""
    return (low**-2 + rng.rand(count) * (high**-2 - low**-2)).rsqrt()


def world(rng: Rng, texels: int, tiles: Sequence[Tensor], device: torch.device, *, calm: bool = False) -> Tensor:
    """A periodic scene (3, N, N), gamma-encoded, about [0, 1]: from a bare road to a thicket.

    calm: only a few large things, and next to no texture: a wall, a sky, a face near the camera.

    Octaves of radii are laid from large to small. Under r**-3 each octave covers the same area; here
    that area is drawn for each, since a wall has no leaves of some sizes, and small leaves cluster.
    """
    canvas = Canvas(rng, texels, tiles, device, calm=calm)
    canvas.ground(colours(rng, 1)[0])
    # One palette for the scene, or the picture would have the variety of a fairground.
    palette = colours(rng, 96)
    richness = rng.log_uniform(0.02, 0.3) if calm else rng.choice((0.04, 0.25, 0.7, 1.1), (0.25, 0.3, 0.3, 0.15))
    # Small things mostly differ less from what they lie on than large ones from each other.
    strength = rng.log_uniform(0.1, 1.0)
    crowd = spectral_noise(rng, texels, 1.8)[0]
    threshold = rng.uniform(-1.5, 1.2)
    high = texels / rng.uniform(3.0, 6.0)
    while high > 2.5:
        low = max(high / 2, 1.2)
        emphasis = 2.0 if high > 60 else 1.0 if high > SMALL else 0.6
        cover = richness * emphasis * rng.uniform(0.0, 1.3)
        expected = cover * texels**2 / (2 * math.pi * high * low)
        count = min(int(expected + rng.uniform()), 2500)
        radii = power_radii(rng, count, low, high)
        positions = rng.rand(count, 2) * texels
        if high <= SMALL and count:
            inside = crowd[positions[:, 0].long(), positions[:, 1].long()] > threshold
            radii, positions = radii[inside], positions[inside]
        shades = palette[(rng.rand(len(radii)) * len(palette)).long()]
        if high > SMALL:
            for (row, column), radius, shade in zip(positions.tolist(), radii.tolist(), shades, strict=True):
                canvas.leaf(row, column, radius, shade)
        elif len(radii):
            canvas.litter(positions[:, 0], positions[:, 1], radii, shades, strength)
        high = low
    return canvas.picture


def box_blur(picture: Tensor, size: int) -> Tensor:
    """Mean over a square of size texels, of a periodic (C, N, N) picture."""
    if size < 2:
        return picture
    before, after = (size - 1) // 2, size // 2
    padded = functional.pad(picture[None], (before, after, before, after), mode="circular")
    rows = functional.avg_pool2d(padded, (size, 1), stride=1)
    return functional.avg_pool2d(rows, (1, size), stride=1)[0]
