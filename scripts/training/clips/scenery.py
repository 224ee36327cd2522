"""What clips are made of: stocks of pictures, and layers cut from them that stand at some depth."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .dead_leaves import box_blur, world
from .motion import Path, Track
from .objects import MARGIN, cutout
from .photographs import Photographs
from .rng import Rng
from .textures import spectral_noise, standardised, texture


class Pool:
    """Textures and scenes kept between clips, since painting them costs more than filming them.

    A clip drawn with a pool depends on the pool's history as well as on the clip's own generator;
    one drawn without, or with a fixed pool, which clips leave as it is, has no history.
    """

    def __init__(
        self,
        generator: torch.Generator,
        *,
        scenes: int = 12,
        tiles: int = 16,
        texels: int = 512,
        device: torch.device | str = "cpu",
        fixed: bool = False,
        calm: float = 0.0,
        photographs: Photographs | None = None,
    ) -> None:
        """texels: side of the periodic pictures; a pixel of a clip takes one to five of them. calm: how
        probably the stock is one of calm scenes, almost without texture, as most footage largely is.
        photographs: what some scenes are cut from, in place of painting them."""
        self.texels = texels
        self.photographs = photographs
        self.fixed = fixed
        self.device = torch.device(device)
        rng = Rng(generator)
        self.calm = calm > 0 and rng.chance(calm)
        self.tiles = [texture(rng, texels).to(self.device) for _ in range(tiles)]
        self.grains = [spectral_noise(rng, texels, rng.uniform(0.0, 1.2)).to(self.device) for _ in range(4)]
        self.scenes = [self._paint(rng) for _ in range(scenes)]

    def _paint(self, rng: Rng) -> Tensor:
        if self.photographs and rng.chance(self.photographs.share):
            return self.photographs.square(rng, self.texels).to(self.device)
        # Few materials a scene: a wall, its paint, a plant.
        few = [rng.choice(self.tiles) for _ in range(rng.integer(2, 5))]
        return world(rng, self.texels, few, self.device, calm=self.calm)

    def refresh(self, rng: Rng) -> None:
        """Repaints one scene, and now and then first replaces a texture."""
        if rng.chance(0.5):
            self.tiles[rng.integer(0, len(self.tiles) - 1)] = texture(rng, self.texels).to(self.device)
            grain = spectral_noise(rng, self.texels, rng.uniform(0.0, 1.2))
            self.grains[rng.integer(0, len(self.grains) - 1)] = grain.to(self.device)
        self.scenes[rng.integer(0, len(self.scenes) - 1)] = self._paint(rng)

    def scene(self, rng: Rng) -> Tensor:
        """One of the scenes (3, N, N), rolled, mirrored and turned at random."""
        picture = rng.choice(self.scenes)
        if rng.chance(0.5):
            picture = picture.transpose(-1, -2)
        if rng.chance(0.5):
            picture = picture.flip(-1)
        return picture


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A picture on a path: a periodic one fills the view, a cut-out covers what it covers."""

    picture: Tensor
    """(3, N, N) opaque, or (4, N, N) with RGB multiplied by the cover; prefiltered for its density."""
    path: Path
    density: float
    """Texels a view pixel."""
    periodic: bool
    wobble: tuple[float, float, float] | None = None
    """A bending of the surface: amplitude in texels, radians a texel, radians a frame."""

    def at(self, times: Tensor, height: int, width: int) -> Tensor:
        """The layer as seen at times (I,): (I, C, height, width), or (1, ...) if it never changes."""
        if self.path.still and self.wobble is None:
            times = times[:1]
        rows, columns = self.path.coordinates(times, height, width, density=self.density)
        if self.wobble is not None:
            amplitude, wave, rate = self.wobble
            swing = (rate * times)[:, None, None]
            rows, columns = (
                rows + amplitude * torch.sin(wave * columns + swing),
                columns + amplitude * torch.sin(wave * rows + 1.3 * swing),
            )
        side = self.picture.shape[-1]
        picture = self.picture
        if self.periodic:
            # A further row and column, equal to the first, joins the far edge to the near one.
            picture = functional.pad(picture[None], (0, 1, 0, 1), mode="circular")[0]
            rows, columns = 2 / side * (rows % side) - 1, 2 / side * (columns % side) - 1
        else:
            rows, columns = 2 / (side - 1) * rows, 2 / (side - 1) * columns
        # All instants as one tall picture: the sampler then needs no copy of the texture for each.
        grid = torch.stack((columns, rows), -1).view(1, -1, width, 2)
        seen = functional.grid_sample(picture[None], grid, align_corners=True)
        return seen.view(-1, len(times), height, width).transpose(0, 1)


@dataclass(frozen=True, kw_only=True)
class Focus:
    """How a lens renders depth: sharp at one distance, softer away from it."""

    nearness: float
    """Of what is sharp, on the scale of layers' nearness: 0.4 far to 1.5 near."""
    aperture: float
    """Pixels of blur for each unit of nearness away from that; 0 for a lens that shows all depths sharp."""

    @staticmethod
    def draw(rng: Rng) -> "Focus":
        """A deep one mostly; else one that keeps the near, the far or something between."""
        aperture = rng.log_uniform(1.5, 12.0) if rng.chance(0.25) else 0.0
        return Focus(nearness=rng.uniform(0.4, 1.5), aperture=aperture)

    def blur(self, picture: Tensor, *, nearness: float, density: float, most: int) -> Tensor:
        """A layer's picture as seen out of focus, its spread no larger than ``most`` texels."""
        size = min(round(self.aperture * density * abs(nearness - self.nearness)), most)
        return box_blur(box_blur(picture, size), size)


DEFOCUS = 40
"""Texels that a cut-out may spread by when out of focus."""


def prefiltered(rng: Rng, pool: Pool, picture: Tensor, *, density: float, sharpness: float) -> Tensor:
    """A picture (3 or 4, N, N) fit to be sampled once a pixel, with its finest texture put back.

    A mean over a pixel's texels stands for the sensor's area. Taken here once, rather than after the warp, it costs
    little, and a still layer comes out as soft as a moving one. What is painted in texels loses its grain by it, and
    real surfaces have grain at every distance, so some is added at the pixel's scale; it sticks to the surface.
    """
    size = max(1, round(density * sharpness))
    picture = box_blur(picture, size)
    grain = standardised(box_blur(rng.choice(pool.grains), size))[:, : picture.shape[1], : picture.shape[2]]
    cover = picture[3:] if len(picture) == 4 else torch.ones_like(picture[:1])
    # Photographs come with most of their grain.
    calm = pool.calm or (pool.photographs is not None and rng.chance(0.7))
    amount = rng.log_uniform(0.0002, 0.004) if calm else rng.log_uniform(0.001, 0.05)
    return torch.cat((picture[:3] + amount * grain * (0.15 * cover + picture[:3]), picture[3:]))


def background(rng: Rng, pool: Pool, *, sharpness: float, focus: Focus, nearness: float) -> Layer:
    """A layer that fills the view."""
    density = rng.log_uniform(1.2, 4.5)
    picture = prefiltered(rng, pool, pool.scene(rng), density=density, sharpness=sharpness)
    picture = focus.blur(picture, nearness=nearness, density=density, most=DEFOCUS)
    path = Path(
        y=Track(start=rng.uniform(0.0, 1e3)),
        x=Track(start=rng.uniform(0.0, 1e3)),
        angle=Track(start=rng.normal(0.2)),
        shear=rng.normal(0.1),
    )
    return Layer(picture=picture, path=path, density=density, periodic=True)


def screen(rng: Rng, pool: Pool, *, sharpness: float, focus: Focus, nearness: float) -> Layer:
    """A periodic layer with holes: hedges, walls with gaps, the near side of a street."""
    base = background(rng, pool, sharpness=sharpness, focus=Focus(nearness=nearness, aperture=0.0), nearness=nearness)
    noise = spectral_noise(rng, pool.texels, rng.uniform(1.6, 2.6)).to(pool.device)
    cover = (0.5 + rng.log_uniform(10.0, 60.0) * (noise - rng.uniform(0.2, 1.2))).clamp(0.0, 1.0)
    cover = box_blur(cover, max(1, round(base.density * sharpness)))
    picture = torch.cat((base.picture * cover, cover))
    return replace(base, picture=focus.blur(picture, nearness=nearness, density=base.density, most=DEFOCUS))


def thing(rng: Rng, pool: Pool, path: Path, *, pixels: float, sharpness: float, focus: Focus, nearness: float) -> Layer:
    """A cut-out that many pixels across, on a path."""
    density = rng.uniform(1.6, 3.0)
    density = min(density, (pool.texels - 20) / pixels)
    margin = MARGIN + (DEFOCUS if focus.aperture else 0)
    picture = cutout(rng, density * pixels / 2, pool.scene(rng), margin=margin)
    picture = prefiltered(rng, pool, picture, density=density, sharpness=sharpness)
    picture = focus.blur(picture, nearness=nearness, density=density, most=DEFOCUS)
    bends = rng.chance(0.25) and not path.still
    wobble = (rng.uniform(0.5, 4.0), rng.log_uniform(0.01, 0.08), rng.normal(0.25)) if bends else None
    return Layer(picture=picture, path=path, density=density, periodic=False, wobble=wobble)
