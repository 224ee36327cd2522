"""Things that move: cut-out pictures with cover, of shapes a street or a webcam might show.

A cut-out is (4, N, N): RGB already multiplied by the cover, then the cover in [0, 1]. Lengths are in
texels; distances are positive outside.
"""

import math

import torch
from torch import Tensor

from .dead_leaves import blob, box_blur, ellipse, polygon, rectangle, turned
from .palettes import colours
from .rng import Rng
from .textures import glyphs

MARGIN = 8
"""Empty texels around a cut-out, more than any prefilter spreads."""


def stroke(y: Tensor, x: Tensor, start: tuple[float, float], end: tuple[float, float], width: float) -> Tensor:
    """Signed distance to a segment with round ends, of half-width width."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    along = ((y - start[0]) * dy + (x - start[1]) * dx) / max(dy * dy + dx * dx, 1e-6)
    along = along.clamp(0.0, 1.0)
    return (y - start[0] - along * dy).hypot(x - start[1] - along * dx) - width


def limb(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Something like a hand on its arm: a palm, an arm and a few spread fingers."""
    y, x = turned(y, x, rng.uniform(0.0, 2 * math.pi))
    palm = 0.3 * radius
    distance = y.hypot(x * rng.uniform(0.8, 1.3)) - palm
    elbow = (0.9 * radius, rng.normal(0.15 * radius))
    arm = stroke(y, x, (0.0, 0.0), elbow, rng.uniform(0.12, 0.25) * radius)
    distance = torch.minimum(distance, arm)
    fingers = rng.integer(2, 5)
    width = rng.uniform(0.05, 0.09) * radius
    for finger in range(fingers):
        angle = rng.uniform(0.7, 1.2) * (finger - (fingers - 1) / 2) * 0.45
        length = radius * rng.uniform(0.6, 0.9)
        tip = (-length * math.cos(angle), length * math.sin(angle))
        distance = torch.minimum(distance, stroke(y, x, (0.0, 0.0), tip, width))
    return distance


def figure(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Something like a person or a vehicle: two or three plain parts joined."""
    distance = rectangle(rng, y, x, 0.7 * radius)
    for _ in range(rng.integer(1, 2)):
        part = rng.choice((ellipse, rectangle))
        offset = rng.normal(0.35 * radius), rng.normal(0.35 * radius)
        distance = torch.minimum(distance, part(rng, y - offset[0], x - offset[1], 0.4 * radius))
    return distance


def wires(rng: Rng, y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Distance to a few thin lines, side by side or crossed: cables, a fence, spokes, a net."""
    y, x = turned(y, x, rng.uniform(0.0, math.pi))
    spacing = radius * rng.log_uniform(0.08, 0.6)
    width = rng.log_uniform(0.6, max(0.7, 0.1 * spacing))
    ends = torch.maximum(y.abs(), x.abs()) - 0.65 * radius
    lines = ((x / spacing) % 1.0 - 0.5).abs() * spacing - width
    if rng.chance(0.4):
        lines = torch.minimum(lines, ((y / spacing) % 1.0 - 0.5).abs() * spacing - width)
    return torch.maximum(lines, ends)


SHAPES = ((limb, 1.5), (figure, 2.0), (rectangle, 1.5), (ellipse, 1.0), (polygon, 1.0), (blob, 1.5), (wires, 1.0))
"""Outlines of things, and how often each is drawn."""


def cutout(rng: Rng, radius: float, stuff: Tensor, *, margin: int = MARGIN) -> Tensor:
    """A thing (4, N, N) of about the given radius, made of a part of a periodic scene (3, M, M).

    margin: empty texels around it, for what is blurred later.
    """
    radius = min(radius, stuff.shape[-1] / 2 - margin - 1)
    side = 2 * (math.ceil(radius) + margin)
    line = torch.arange(side, device=stuff.device) - (side - 1) / 2
    shape = rng.choice([s for s, _ in SHAPES], [w for _, w in SHAPES])
    distance = shape(rng, line[:, None], line[None], radius)
    edge = torch.maximum(line.abs()[:, None], line.abs()[None]) - (side / 2 - margin)
    cover = (0.5 - torch.maximum(distance, edge)).clamp(0.0, 1.0)
    top, left = rng.integer(0, stuff.shape[-1] - 1), rng.integer(0, stuff.shape[-1] - 1)
    rows = (torch.arange(side, device=stuff.device) + top) % stuff.shape[-1]
    columns = (torch.arange(side, device=stuff.device) + left) % stuff.shape[-1]
    picture = stuff[:, rows[:, None], columns[None]]
    base = colours(rng, 1)[0].to(stuff)[:, None, None]
    if rng.chance(0.6):
        # One material in another scene's pattern: clothes, car bodies, boards.
        contrast = rng.log_uniform(0.15, 1.0)
        picture = base + contrast * (picture - picture.mean((1, 2), keepdim=True))
    if rng.chance(0.12):
        ink = glyphs(rng, 64 * math.ceil(side / 64))[0, :side, :side].to(stuff) / 3.0
        picture = picture + rng.uniform(0.1, 0.4) * ink
    if rng.chance(0.5):
        # Round things turn away from the light towards their edge.
        depth = (-distance / (rng.uniform(0.15, 0.6) * radius)).clamp(0.0, 1.0)
        slant = (rng.normal(0.2) * line[:, None] + rng.normal(0.2) * line[None]) / radius
        picture = picture * (1 - rng.uniform(0.0, 0.5) * (1 - depth).square() + slant)
    return torch.cat((picture.clamp(min=0.0) * cover, cover[None]))


def shadow(cut: Tensor, strength: float) -> Tensor:
    """The soft dark patch (4, N, N) that a cut-out throws on what is behind it."""
    cover = box_blur(box_blur(cut[3:], MARGIN), MARGIN)
    return torch.cat((torch.zeros_like(cut[:3]), strength * cover))
