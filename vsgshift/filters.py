"""`core.gshift` for typed scripts: the same filters as Python functions that editors and type checkers understand.

An option that is left out, or None, is not handed on: the defaults are the plugin's. VapourSynth is
imported with this module, which `vsgshift.deblur` and its like do when they are first used.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import vapoursynth as vs

from vsgshift.parameters import SceneChange


class DeblurModel(StrEnum):
    """The models for deblurring; those of the authors must be downloaded first."""

    TINY = "tiny"
    GOPRO = "gopro"
    GOPRO_SMALL = "gopro-small"
    DVD = "dvd"
    DVD_SMALL = "dvd-small"


class DenoiseModel(StrEnum):
    """The models for denoising; those of the authors must be downloaded first."""

    TINY = "tiny"
    FINE = "fine"
    DAVIS = "davis"
    DAVIS_SMALL = "davis-small"


def deblur(
    clip: vs.VideoNode,
    *,
    model: DeblurModel | str | os.PathLike[str] | None = None,
    strength: float | None = None,
    planes: int | Sequence[int] | None = None,
    scenechange: SceneChange | None = None,
    device_id: int | None = None,
    fp16: bool | None = None,
    block: int | None = None,
    tilesize: int | tuple[int, int] | None = None,
    overlap: int | tuple[int, int] | None = None,
    offload: bool | None = None,
    num_streams: int | None = None,
) -> vs.VideoNode:
    """Remove motion blur: `core.gshift.Deblur`.

    Args:
        clip: constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float.
        model: a model's name, or a `.safetensors` or `.pth` file. By default `tiny`.
        strength: share of the change that is applied; 0 returns the source untouched. 0 to 1; by default 1.0.
        planes: planes of the clip that are restored, by number; the others are the source's, bit for bit. 0 to 2; by
            default all.
        scenechange: what splits the clip into scenes, whose frames are not mixed: 0 nothing, 1 the frame properties
            `_SceneChangePrev` and `_SceneChangeNext`, 2 scene changes that the filter finds and marks with them. 0
            to 2; by default 1.
        device_id: number of a CUDA device; -1 is the CPU, -2 Apple's GPU (untested). By default the first
            CUDA device, else the CPU.
        fp16: half precision; needs a GPU or a CPU with bfloat16 arithmetic (AVX512_BF16 or AMX). By default on a GPU
            from compute capability 8.0 on.
        block: frames per run of the network; fewer need less memory. 1 to 64; by default 4.
        tilesize: pixels, or width and height, of the tiles in which a picture is restored, overlap included; 0
            restores it whole. For pictures that need more memory than there is; tiles below 200 pixels change the
            result visibly. 0 or more; by default 0.
        overlap: pixels, or across and down, that neighbouring tiles share at least. 0 or more; by default 64.
        offload: on a GPU, keep what waits for later frames in the host's memory. By default if it would not fit
            otherwise.
        num_streams: positions in the clip that are restored side by side, each with memory of its own; for scripts
            that show several at once. 1 to 16; by default 1.

    Returns:
        A clip of the same format, size and length. Its frames keep their properties, and get `GShiftDeblurModel`,
        `GShiftDeblurStrength` and `GShiftDeblurPlanes`.

    Raises:
        vs.Error: VapourSynth does not find the plugin, or an argument makes no sense; one line that says what to do.
    """
    return _call("Deblur", **locals())


def denoise(
    clip: vs.VideoNode,
    *,
    sigma: float | Sequence[float] | None = None,
    sigma_map: vs.VideoNode | None = None,
    model: DenoiseModel | str | os.PathLike[str] | None = None,
    strength: float | None = None,
    planes: int | Sequence[int] | None = None,
    scenechange: SceneChange | None = None,
    device_id: int | None = None,
    fp16: bool | None = None,
    block: int | None = None,
    tilesize: int | tuple[int, int] | None = None,
    overlap: int | tuple[int, int] | None = None,
    offload: bool | None = None,
    num_streams: int | None = None,
) -> vs.VideoNode:
    """Remove noise: `core.gshift.Denoise`.

    Args:
        clip: constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float.
        sigma: standard deviation of the noise on the 8-bit scale, as of RGB; 0 returns the source. A list has a level
            for each plane, the last one for those left out, and takes a run of the network for each level that
            differs. The bundled model was trained for up to 55. 0 to 255; by default measured frame by frame.
        sigma_map: instead of `sigma`, a GRAY clip of the same size and length: the noise of each pixel; an 8-bit
            map has the scale and the range of `sigma`, other formats the same share of theirs.
        model, strength, planes, scenechange, device_id, fp16, block, tilesize, overlap, offload, num_streams: as for
            `deblur`.

    Returns:
        A clip of the same format, size and length. Its frames keep their properties, and get `GShiftDenoiseModel`,
        `GShiftDenoiseStrength`, `GShiftDenoisePlanes` and, unless there is a map, `GShiftDenoiseSigma`: the levels
        that were given, or the one measured for that frame.

    Raises:
        vs.Error: as for `deblur`.
    """
    return _call("Denoise", **locals())


def estimate_noise(clip: vs.VideoNode, *, scenechange: SceneChange | None = None) -> vs.VideoNode:
    """Measure noise: `core.gshift.EstimateNoise`.

    Args:
        clip: as for `deblur`.
        scenechange: as for `deblur`; `SceneChange.DETECT` marks them as well.

    Returns:
        The clip with two frame properties more: `GShiftSigma`, the noise on the scale of `denoise`'s
        `sigma`, and `GShiftSigmaConfidence`, 0 to 1.

    Raises:
        vs.Error: as for `deblur`.
    """
    return _call("EstimateNoise", **locals())


def _call(name: str, **arguments: Any) -> vs.VideoNode:
    if not hasattr(vs.core, "gshift"):
        raise vs.Error("VapourSynth does not find the plugin of vsgshift; run: vsgshift doctor")
    given = {key: value for key, value in arguments.items() if value is not None}
    if isinstance(path := given.get("model"), os.PathLike):
        given["model"] = os.fspath(path)
    return getattr(vs.core.gshift, name)(**given)
