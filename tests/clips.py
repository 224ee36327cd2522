"""Small clips for the filter, and what their frames hold."""

import numpy as np
import torch
import vapoursynth as vs
from numpy.typing import NDArray
from torch import Tensor

core = vs.core


def moving(frames: int = 20, width: int = 24, height: int = 16, format: int = vs.RGBS) -> vs.VideoNode:
    """A clip of noise, in which every frame differs; YUV is BT.709."""
    blank = core.std.BlankClip(width=width, height=height, length=frames, format=vs.RGBS)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), np.random.default_rng(3 * n + plane).random((height, width), np.float32))
        return out

    clip = core.std.ModifyFrame(blank, blank, paint)
    if format == vs.RGBS:
        return clip
    yuv = core.get_video_format(format).color_family != vs.RGB
    return clip.resize.Bicubic(format=format, matrix=1 if yuv else None)


def samples(frame: vs.VideoFrame) -> list[NDArray[np.float64]]:
    """The planes of a frame."""
    return [np.asarray(frame[plane]).astype(np.float64) for plane in range(frame.format.num_planes)]


def max_abs_diff(a: vs.VideoFrame, b: vs.VideoFrame) -> float:
    """The largest difference of two samples in one place."""
    return max(float(np.abs(x - y).max()) for x, y in zip(samples(a), samples(b), strict=True))


def as_tensor(clip: vs.VideoNode) -> Tensor:
    """An RGBS clip as (T, 3, H, W)."""
    return torch.stack([torch.from_numpy(np.stack([np.asarray(f[p]) for p in range(3)])) for f in clip.frames()])


def own_props(frame: vs.VideoFrame) -> dict[str, object]:
    """The properties of a frame, without those that say what the filters did to it."""
    return {key: value for key, value in frame.props.items() if not key.startswith(("GShiftDeblur", "GShiftDenoise"))}
