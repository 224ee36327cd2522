"""Clips as real encoders leave them: H.264, H.265, MPEG-2 and motion JPEG, coded and decoded in this process."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import torch
from av.video.codeccontext import VideoCodecContext
from torch import Tensor
from torch.nn import functional

from .rng import Rng

Encoder = Literal["libx264", "libx265", "mpeg2video", "mjpeg"]
DECODERS: Mapping[Encoder, str] = {"libx264": "h264", "libx265": "hevc", "mpeg2video": "mpeg2video", "mjpeg": "mjpeg"}
RATE = 25
"""Frames a second, for the encoders."""
SIDE, SMALLEST = 32, 96
"""Pixels: sides of what is coded are multiples of the one, and at least the other."""


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How a clip is coded; always 4:2:0 in 8 bits."""

    encoder: Encoder
    quality: float
    """The CRF of H.264 and H.265; the quantiser, from 1, of MPEG-2 and motion JPEG. Smaller is better."""
    preset: str = "medium"
    """Of x264 and x265."""
    tune: str = ""
    """Of x264 and x265: "grain", "film" and the like; none if empty."""

    @staticmethod
    def draw(generator: torch.Generator) -> "Coding":
        """What footage usually has: H.264 more often than all others together."""
        rng = Rng(generator)
        encoder = rng.choice(tuple(DECODERS), weights=(5, 2, 1, 1))
        if encoder == "libx264":
            preset, tune = rng.choice(("veryfast", "fast", "medium")), rng.choice(("", "", "", "grain"))
            return Coding(encoder=encoder, quality=rng.uniform(16, 28), preset=preset, tune=tune)
        if encoder == "libx265":
            return Coding(encoder=encoder, quality=rng.uniform(18, 30), preset="superfast")
        return Coding(encoder=encoder, quality=rng.integer(2, 7))

    def options(self) -> dict[str, str]:
        """For the encoder; one thread, so that the same clip always becomes the same one."""
        if self.encoder in ("mpeg2video", "mjpeg"):
            quantiser = {"qmin": f"{self.quality:.0f}", "qmax": f"{self.quality:.0f}"}
            return quantiser | ({"bf": "2", "g": "15"} if self.encoder == "mpeg2video" else {})
        options = {"crf": f"{self.quality:g}", "preset": self.preset} | ({"tune": self.tune} if self.tune else {})
        if self.encoder == "libx265":
            options["x265-params"] = "pools=none:frame-threads=1:ctu=32:log-level=none"
        return options


def coded(clip: Tensor, coding: Coding) -> Tensor:
    """The clip (T, 3, H, W) after coding and decoding; float32 on the CPU, of 8 bits, in [0, 1].

    Values beyond [0, 1] are clipped first.
    """
    height, width = clip.shape[-2:]
    # Of small pictures, and of those that are not whole coding units, x265 writes beyond its memory.
    below, beside = (max(-length % SIDE, SMALLEST - length) for length in (height, width))
    padded = functional.pad(clip.detach().float().cpu(), (0, beside, 0, below), mode="replicate")
    pixels = (padded.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    decoded = torch.stack(list(_decoded(pixels, coding)))
    assert len(decoded) == len(clip), f"{coding} gave {len(decoded)} frames of {len(clip)}"
    return decoded.permute(0, 3, 1, 2)[..., :height, :width].float() / 255


def _decoded(pixels: Tensor, coding: Coding) -> Iterator[Tensor]:
    """Frames (H, W, 3) of bytes, of (T, H, W, 3)."""
    encoder = _context(coding.encoder, "w")
    encoder.height, encoder.width = pixels.shape[1:3]
    # Motion JPEG has no other range than the full one.
    encoder.pix_fmt = "yuvj420p" if coding.encoder == "mjpeg" else "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(RATE), Fraction(1, RATE)
    encoder.options = coding.options()
    decoder = _context(DECODERS[coding.encoder], "r")

    def frames() -> Iterator[av.VideoFrame | None]:
        for number, picture in enumerate(pixels.numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=encoder.pix_fmt)
            frame.pts, frame.time_base = number, encoder.time_base
            yield frame
        yield None

    for frame in frames():
        for packet in encoder.encode(frame):
            for got in decoder.decode(packet):
                yield torch.from_numpy(got.to_ndarray(format="rgb24"))
    for got in decoder.decode(None):
        yield torch.from_numpy(got.to_ndarray(format="rgb24"))


def _context(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    """Of one thread."""
    context = av.CodecContext.create(name, mode)
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    return context
