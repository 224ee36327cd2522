"""`core.gshift` for typed scripts: the same filters as Python functions that editors and type checkers understand.

An option that is left out, or None, is not handed on: the defaults are the plugin's. VapourSynth is
imported with this module, which `vsgshift.deblur` and its like do when they are first used.
"""

import os
from enum import IntEnum, StrEnum
from typing import Any

import vapoursynth as vs


class SceneChange(IntEnum):
    """What parts a clip into scenes, whose frames are not mixed."""

    IGNORE = 0
    """The whole clip is one scene."""
    PROPERTIES = 1
    """The frame properties `_SceneChangePrev` and `_SceneChangeNext`, as scene change filters set them."""
    DETECT = 2
    """Those, and changes that the plugin finds by itself."""


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
    DAVIS = "davis"
    DAVIS_SMALL = "davis-small"


def deblur(
    clip: vs.VideoNode,
    *,
    model: DeblurModel | str | os.PathLike[str] | None = None,
    strength: float | None = None,
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
        clip: of constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float.
        model: a model, the name of an imported one, or a .safetensors or .pth file; by default `tiny`.
        strength: 0 to 1, share of the change that is applied; by default 1.
        scenechange: what parts the clip into scenes.
        device_id: number of a CUDA device, -1 is the CPU; by default the first GPU, else the CPU.
        fp16: half precision; needs a GPU or a CPU with half precision arithmetic. By default off.
        block: 1 to 64, frames per run of the network; fewer need less memory.
        tilesize: pixels, or width and height, of the tiles in which a picture is restored, overlap included;
            0 or left out restores it whole. For pictures that need more memory than there is otherwise;
            tiles below 200 pixels change the result visibly.
        overlap: pixels, or across and down, that tiles have in common at least; by default 64.
        offload: on a CUDA device, let what waits for later frames wait in the host's memory. By default where
            it would not fit the device otherwise.
        num_streams: 1 to 16, places of the clip that are restored side by side, each with a state of its own; by
            default 1. For scripts that show several places of one filter at once; nothing to gain in one order.

    Returns:
        A clip of the same format, size, length and frame properties.

    Raises:
        vs.Error: VapourSynth does not find the plugin, or an argument makes no sense; one line that
            says what to do.
    """
    return _call(
        "Deblur",
        clip,
        model=None if model is None else os.fspath(model),
        strength=strength,
        scenechange=scenechange,
        device_id=device_id,
        fp16=fp16,
        block=block,
        tilesize=tilesize,
        overlap=overlap,
        offload=offload,
        num_streams=num_streams,
    )


def denoise(
    clip: vs.VideoNode,
    *,
    sigma: float | None = None,
    sigma_map: vs.VideoNode | None = None,
    model: DenoiseModel | str | os.PathLike[str] | None = None,
    strength: float | None = None,
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
        clip: of constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float.
        sigma: 0 to 255, standard deviation of the noise on the 8-bit scale; 0 gives the source. By
            default it is measured.
        sigma_map: instead of `sigma`, a GRAY clip of the same size and length: the noise of each pixel.
        model, strength, scenechange, device_id, fp16, block, tilesize, overlap, offload, num_streams: as for `deblur`.

    Returns:
        A clip of the same format, size, length and frame properties.

    Raises:
        vs.Error: as for `deblur`.
    """
    return _call(
        "Denoise",
        clip,
        sigma=sigma,
        sigma_map=sigma_map,
        model=None if model is None else os.fspath(model),
        strength=strength,
        scenechange=scenechange,
        device_id=device_id,
        fp16=fp16,
        block=block,
        tilesize=tilesize,
        overlap=overlap,
        offload=offload,
        num_streams=num_streams,
    )


def estimate_noise(clip: vs.VideoNode, *, scenechange: SceneChange | None = None) -> vs.VideoNode:
    """Measure noise: `core.gshift.EstimateNoise`.

    Args:
        clip: of constant format and size; YUV, RGB or GRAY; 8-16 bit integer, half or float.
        scenechange: what parts the clip into scenes; `SceneChange.DETECT` marks them as well.

    Returns:
        The clip with two frame properties more: `GShiftSigma`, the noise on the scale of `denoise`'s
        `sigma`, and `GShiftSigmaConfidence`, 0 to 1.

    Raises:
        vs.Error: as for `deblur`.
    """
    return _call("EstimateNoise", clip, scenechange=scenechange)


def _call(name: str, clip: vs.VideoNode, **options: Any) -> vs.VideoNode:
    if not hasattr(vs.core, "gshift"):
        raise vs.Error("VapourSynth does not find the plugin of vsgshift; run: vsgshift doctor")
    function = getattr(vs.core.gshift, name)
    return function(clip, **{key: value for key, value in options.items() if value is not None})
