"""Noise as cameras, film and tape leave it, and the noise map that a network is given with it.

Each kind is a field added to a clean clip: what a camera does is done to the noise alone, so that what the network
learns to give back is the clip as it was, no sharper and no softer. Fields are not clipped; the noisy clip is, except
with white noise.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vsgshift.analysis.noise import coarseness

from .encoders import Coding, coded
from .rng import Rng

LEVELS = 24
"""Steps of brightness at which the noise's variance is taken apart."""
LUMA = (0.299, 0.587, 0.114)
SPARSE = 3
"""Of pixels, one in this many each way is read if a few suffice; odd, so that all colours of a mosaic are."""
BLOCK = 16
"""Pixels across the blocks within which noise is found to be coarse or fine."""
CODED = "+coded"
"""Ends the name of a kind that is coded afterwards."""


def noisy(clip: Tensor, kind: str, sigma: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A clip with noise of one kind, whose other properties are drawn.

    Args:
        clip: (T, 3, H, W), gamma-coded RGB in [0, 1], on the CPU.
        kind: one of `KINDS`.
        sigma: RMS of the noise over the clip on its scale, before clipping and coding.
        generator: on the CPU.

    Returns:
        The noisy clip; and (T, 1, H, W), the noise map for the network: at each place the RMS over the three
        colours that such noise has at such a brightness, times its coarseness. Of coded clips it is less by how much
        of the noise the encoder has left.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of noise {kind!r}; there are: {', '.join(KINDS)}")
    name = kind.removesuffix(CODED)
    if name == "white":
        out = clip + sigma * torch.randn(clip.shape, generator=generator)
        level = clip.new_full((len(clip), 1, *clip.shape[2:]), sigma)
    else:
        out = FIELDS[name](clip, sigma, Rng(generator)).add_(clip).clamp_(0, 1)
        level = deviation_map(clip, out - clip)
    if name == kind:
        return out, level * (1.0 if name == "white" else _coarseness(out - clip))
    decoded = coded(out, Coding.draw(generator))
    return decoded, level * kept(clip, out, decoded) * _coarseness(decoded - clip)


def deviation_map(clip: Tensor, noise: Tensor) -> Tensor:
    """At each place, the RMS over the colours that the noise has at such a brightness: (T, 1, H, W).

    clip, noise: (T, 3, H, W); the clip clean.
    """
    clip = clip.clamp(0, 1)
    some = slice(None, None, SPARSE)
    level = (clip[..., some, some] * LEVELS).long().clamp_(max=LEVELS - 1)
    level = (level + LEVELS * torch.arange(3).view(1, 3, 1, 1)).reshape(-1)
    power = noise[..., some, some].square().reshape(-1)
    counts = torch.bincount(level, minlength=3 * LEVELS).float().view(1, 3, LEVELS)
    sums = torch.bincount(level, power, minlength=3 * LEVELS).float().view(1, 3, LEVELS)
    # Neighbouring levels help those that are rare, and the whole those that are not there.
    counts, sums = (F.conv1d(F.pad(x, (1, 1)), torch.tensor((0.25, 0.5, 0.25)).expand(3, 1, 3), groups=3)
                    for x in (counts, sums))  # fmt: skip
    variances = ((sums + 8 * power.mean()) / (counts + 8))[0]
    place = (clip * LEVELS - 0.5).clamp_(0, LEVELS - 1.001)
    lower = place.floor()
    index = lower.long() + LEVELS * torch.arange(3).view(1, 3, 1, 1)
    table = variances.reshape(-1)
    steps = torch.cat((table[1:] - table[:-1], table.new_zeros(1)))
    variance = (table[index] + (place - lower) * steps[index]).mean(1, keepdim=True)
    return _box(variance, 5).sqrt_()


def kept(clip: Tensor, noisy: Tensor, decoded: Tensor) -> float:
    """How much of the noise an encoder has left, in [0, 1]: how much errors change between frames, after over before.

    What the encoder has added to it counts as noise, as it is to be removed likewise.
    """
    before, after = noisy.clamp(0, 1) - clip, decoded - clip
    if len(clip) > 1:
        before, after = before.diff(dim=0), after.diff(dim=0)
    return min(_rms(after) / max(_rms(before), 1e-12), 1.0)


def _coarseness(noise: Tensor) -> float:
    """`vsgshift.analysis.noise.coarseness` of noise (T, 3, H, W) in luma, without what stays from frame to frame."""
    luma = _luma(noise)
    if len(luma) > 1:
        luma = luma.diff(dim=0)
    height, width = (size // BLOCK * BLOCK for size in luma.shape[-2:])
    blocks = luma[..., :height, :width].unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    return coarseness(blocks.reshape(-1, BLOCK, BLOCK).numpy())


def raw(clip: Tensor, sigma: float, rng: Rng) -> Tensor:
    """Sensor noise: shot, read and row noise of a Bayer mosaic, demosaiced, balanced, made vivid and tone mapped.

    The tone curve, steepest in the dark, leaves it a little darker in the mean.
    """
    contrast = rng.uniform(1.0, 1.4)
    light = _light(clip.clamp(0, 1), contrast)
    gains = torch.tensor((rng.uniform(1.3, 2.4), 1.0, rng.uniform(1.3, 2.6))).view(1, 3, 1, 1)
    read = rng.log_uniform(0.002, 0.1)
    sites = _bayer(clip.shape[-2:], rng)
    signal = (light / gains * sites).sum(1, keepdim=True)
    mosaic = (signal + read).sqrt_().mul_(rng.randn(len(clip), 1, *clip.shape[2:]))
    mosaic.add_(rng.uniform(0.0, 0.3) * math.sqrt(read) * rng.randn(len(clip), 1, clip.shape[2], 1))
    noise = _vivid(_demosaiced(mosaic * sites * gains, sites, plain=rng.chance(0.5)), rng.uniform(0.0, 0.6))
    some = (..., slice(None, None, SPARSE), slice(None, None, SPARSE))

    def strength(gain: float) -> float:
        """Of a sample, once it is tone mapped."""
        return _rms(_shown(light[some] + gain * noise[some], contrast) - clip[some])

    gain = sigma / max(_rms(noise), 1e-12)
    for _ in range(4):
        gain *= min(max(sigma / max(strength(gain), 1e-12), 0.1), 10.0)
    return _shown(light.add_(noise, alpha=gain), contrast).sub_(clip)


def phone(clip: Tensor, sigma: float, rng: Rng) -> Tensor:
    """Sensor noise that the camera has smoothed where the picture is flat, most of all in colour, and sharpened."""
    before = sigma * rng.uniform(1.2, 2.0)
    noise = raw(clip, before, rng)
    shown = _luma(clip + noise)
    mean = _box(shown, 5)
    varies = _box(shown.square(), 5) - mean.square()
    flat = _rms(_luma(noise)) ** 2 / varies.clamp_(min=1e-9)
    keep = 1 - rng.uniform(0.4, 0.9) * flat.clamp_(max=1)
    luma = _luma(noise)
    colours = _box(noise - luma, rng.choice((3, 5, 7)))
    low = _box(luma, 5)
    luma = low + keep * (luma - low)
    luma = luma + rng.uniform(0.2, 1.5) * (luma - _box(luma, 3))
    return _scaled(luma + rng.uniform(0.5, 1.0) * colours, sigma)


def grain(clip: Tensor, sigma: float, rng: Rng) -> Tensor:
    """Film grain, 1 to 3 pixels across: strongest at some brightness between black and white, the same in all colours
    for the most part."""
    spread = rng.uniform(1.0, 3.0) / 2.355
    field = _spread(rng.randn(len(clip), 1, *clip.shape[2:]), spread, spread)
    field = field + rng.uniform(0.1, 0.5) * _spread(rng.randn(*clip.shape), spread, spread)
    peak, floor = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.6)
    luma = _luma(clip)
    distance = torch.where(luma < peak, (peak - luma) / peak, (luma - peak) / (1 - peak))
    return _scaled(field * (floor + (1 - floor) * (1 - distance.square())), sigma)


def analogue(clip: Tensor, sigma: float, rng: Rng) -> Tensor:
    """Noise of tapes and analogue captures: smeared along lines, colours more than luma, with lines that are off."""
    frames, _, height, width = clip.shape
    along, down = rng.uniform(0.5, 1.8), rng.uniform(0.0, 0.5)
    luma = _spread(rng.randn(frames, 1, height, width), down, along)
    luma = luma + rng.uniform(0.0, 0.3) * rng.randn(frames, 1, height, 1)
    chroma = _spread(rng.randn(frames, 2, height, width), rng.uniform(0.4, 1.2), rng.uniform(2.0, 6.0))
    chroma = rng.uniform(1.2, 2.6) * (chroma + rng.uniform(0.0, 0.5) * rng.randn(frames, 2, height, 1))
    red, blue = 0.713 * chroma[:, :1], 0.564 * chroma[:, 1:]
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    dark = rng.uniform(-0.3, 0.5)
    return _scaled(torch.cat((red, green, blue), 1).add_(luma) * (1 - dark * _luma(clip)), sigma)


def fixed(clip: Tensor, sigma: float, rng: Rng) -> Tensor:
    """Noise of a gain turned high: partly new in each frame, partly a pattern of pixels and columns that stays."""
    _, colours, height, width = clip.shape
    share = rng.uniform(0.1, 0.5)
    pattern = rng.randn(1, colours, height, width) + rng.uniform(0.0, 0.7) * rng.randn(1, 1, 1, width)
    field = rng.randn(*clip.shape).mul_(math.sqrt(1 - share)).add_(math.sqrt(share) * pattern)
    floor = rng.uniform(0.2, 1.0)
    return _scaled(field.mul_((floor + (1 - floor) * clip.clamp(0, 1)).sqrt_()), sigma)


FIELDS: Mapping[str, Callable[[Tensor, float, Rng], Tensor]] = {
    "raw": raw,
    "phone": phone,
    "grain": grain,
    "analogue": analogue,
    "fixed": fixed,
}
"""What is added to a clip (T, 3, H, W), by kind: its RMS is about the sigma."""
UNCODED = ("white", *FIELDS)
KINDS = (*UNCODED, *(kind + CODED for kind in UNCODED))
"""What `noisy` knows: kinds of noise, and the same coded by a real encoder."""


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def _scaled(field: Tensor, sigma: float) -> Tensor:
    """The field, changed in place, with an RMS of sigma."""
    return field.mul_(sigma / max(_rms(field), 1e-12))


def _luma(clip: Tensor) -> Tensor:
    """(T, 1, H, W)."""
    return LUMA[0] * clip[:, :1] + LUMA[1] * clip[:, 1:2] + LUMA[2] * clip[:, 2:]


def _vivid(clip: Tensor, amount: float) -> Tensor:
    """The clip with its colours further from its luma, as a camera's colour matrix makes them."""
    return clip.mul_(1 + amount).sub_(amount * _luma(clip) / (1 + amount))


def _box(clip: Tensor, side: int) -> Tensor:
    """Means of squares of an odd side; the border goes on."""
    return _weighed(clip, (1 / side,) * (side // 2 + 1), mode="replicate")


def _weighed(clip: Tensor, weights: Sequence[float], *, mode: str) -> Tensor:
    """Sums over columns and over rows by symmetrical weights, given from the middle on."""
    reach = len(weights) - 1
    for axis, pad in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        length = clip.shape[axis]
        padded = F.pad(clip, pad, mode=mode)
        clip = clip * weights[0]
        for step, weight in enumerate(weights[1:], 1):
            clip.add_(padded.narrow(axis, reach - step, length), alpha=weight)
            clip.add_(padded.narrow(axis, reach + step, length), alpha=weight)
    return clip


def _spread(field: Tensor, down: float, along: float) -> Tensor:
    """White noise of deviation 1 under a Gaussian of two deviations in pixels; its own deviation stays 1."""
    for axis, deviation in ((2, down), (3, along)):
        reach = math.ceil(2.5 * deviation)
        weights = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(1, reach + 1)]
        norm = math.sqrt(1 + 2 * sum(weight**2 for weight in weights))
        length = field.shape[axis]
        padded = torch.cat((field.narrow(axis, length - reach, reach), field, field.narrow(axis, 0, reach)), axis)
        field = field / norm
        for step, weight in enumerate(weights, 1):
            field.add_(padded.narrow(axis, reach - step, length), alpha=weight / norm)
            field.add_(padded.narrow(axis, reach + step, length), alpha=weight / norm)
    return field


def _bayer(size: torch.Size, rng: Rng) -> Tensor:
    """1 where a mosaic has a colour, else 0: (1, 3, H, W), beginning anywhere."""
    height, width = size
    top, left = rng.integer(0, 1), rng.integer(0, 1)
    rows = ((torch.arange(height) + top) % 2)[:, None].bool()
    columns = ((torch.arange(width) + left) % 2)[None].bool()
    return torch.stack((~rows & ~columns, rows ^ columns, rows & columns))[None].float()


def _demosaiced(mosaic: Tensor, sites: Tensor, *, plain: bool) -> Tensor:
    """A mosaic (T, 3, H, W), zero where a colour is missing, interpolated.

    plain: each colour from itself alone; otherwise red and blue from their differences to green.
    """
    padded = F.pad(mosaic[:, 1:2], (1, 1, 1, 1), mode="reflect")
    around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    green = mosaic[:, 1:2] + 0.25 * around
    sparse = mosaic[:, ::2] if plain else mosaic[:, ::2] - green * sites[:, ::2]
    others = _weighed(sparse, (1.0, 0.5), mode="reflect")
    if not plain:
        others += green
    return torch.cat((others[:, :1], green, others[:, 1:]), 1)


def _curve(x: Tensor, contrast: float) -> Tensor:
    """An S from [0, 1] to itself, whose inverse is that of 1 / contrast."""
    return x.clamp(1e-6, 1.0).reciprocal_().sub_(1).pow_(contrast).add_(1).reciprocal_()


def _light(shown: Tensor, contrast: float) -> Tensor:
    """Linear light of values in [0, 1]: the inverse of `_shown`."""
    value = _curve(shown, 1 / contrast)
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055).pow_(2.4))


def _shown(light: Tensor, contrast: float) -> Tensor:
    """Values in [0, 1] of linear light (IEC 61966-2-1, and an S on top); more than white is white."""
    light = light.clamp(0, 1)
    value = torch.where(light <= 0.0031308, light * 12.92, light.pow(1 / 2.4).mul_(1.055).sub_(0.055))
    return _curve(value, contrast)
