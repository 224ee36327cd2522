"""What `core.gshift`'s functions do: check arguments, load the network, build the filter graph."""

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vsgshift._version import __version__
from vsgshift.network.variants import Task
from vsgshift.parameters import PARAMETERS, Choices, SceneChange
from vsgshift.plugin._bridge import Core, Node
from vsgshift.plugin.colour import GRAY8, GRAYS, check_format, converted_around
from vsgshift.plugin.measuring import (
    APPLIED_SIGMA,
    CONFIDENCE,
    MEASURED,
    SIGMA,
    mark_scenes,
    noise_levels,
    smoothed_levels,
)


def deblur(core: Core, clip: Node, **arguments: Any) -> Node:
    """`gshift.Deblur`; parameters as in the documentation. Raises ValueError for arguments that make no sense."""
    return _restored(core, "deblur", clip, Choices.read(arguments))


def denoise(core: Core, clip: Node, **arguments: Any) -> Node:
    """`gshift.Denoise`; parameters as in the documentation. Raises ValueError for arguments that make no sense.

    Without a sigma and a sigma_map each frame's level is measured, and smoothed over its segment.
    """
    choices = Choices.read(arguments)
    if choices.sigma is not None and choices.sigma_map is not None:
        raise ValueError("sigma and sigma_map are both given; give one of them")
    if choices.sigma_map is not None:
        _check_map(clip, choices.sigma_map)
    return _restored(core, "denoise", clip, choices)


def estimate_noise(core: Core, clip: Node, scenechange: int = SceneChange.PROPERTIES) -> Node:
    """`gshift.EstimateNoise`: the clip with two more properties, both floats.

    `GShiftSigma` is the standard deviation of a frame's noise on the 8-bit scale, as Denoise's sigma,
    in RGB; of noise that is stronger at low frequencies, the level that removes it, which is higher.
    `GShiftSigmaConfidence` the share of the picture, 0 to 1, that shows this noise and little
    else. With scenechange=2, `_SceneChangePrev` and `_SceneChangeNext` are set as well.

    Raises ValueError for clips of varying format, and for arguments that make no sense.
    """
    check_format(clip)
    PARAMETERS["scenechange"].check(scenechange)
    if scenechange == SceneChange.DETECT:
        clip = mark_scenes(core, clip)
    levels = noise_levels(core, clip, by_scene=scenechange != SceneChange.IGNORE)
    return core.invoke("std", "CopyFrameProps", clip=clip, prop_src=levels, props=[SIGMA, CONFIDENCE])


def _check_map(clip: Node, sigma_map: Node) -> None:
    if not sigma_map.is_constant or sigma_map.format.color_family != "GRAY":
        raise ValueError("sigma_map must be a GRAY clip of constant format and size")
    clips, maps = (f"{each.width}x{each.height}, {each.num_frames} frames" for each in (clip, sigma_map))
    if clips != maps:
        raise ValueError(f"sigma_map must have the clip's size and length: {clips}, not {maps}")
    check_format(sigma_map)


def _restored(core: Core, task: Task, clip: Node, choices: Choices) -> Node:
    """The clip with the task's network run over it."""
    check_format(clip)
    runs = _runs(clip, choices)

    # torch takes seconds to import: not before the cheap checks.
    import torch

    from vsgshift.engine import prepared, runs_compiled
    from vsgshift.plugin import devices
    from vsgshift.plugin.capacity import Demand, figures, fit
    from vsgshift.plugin.free_memory import PROMISES, free_memory
    from vsgshift.plugin.memory import share_one_heap
    from vsgshift.plugin.restorer import Options, Restorer
    from vsgshift.plugin.streams import StreamPool
    from vsgshift.streaming.tiles import Tiling
    from vsgshift.weights import load_network
    from vsgshift.weights.catalogue import full_name

    device = devices.choose(choices.device_id)
    if device.type == "cpu":
        share_one_heap()
    dtype = devices.precision(device, choices.fp16)
    model = full_name(choices.model, task)
    network = load_network(model, device=device, dtype=dtype)
    if network.variant.task != task:
        right = "Deblur" if network.variant.task == "deblur" else "Denoise"
        raise ValueError(f"model {model} is made for gshift.{right}; the default model here is tiny")
    tiling = Tiling.chosen(choices.tilesize, choices.overlap)
    if tiling is not None:
        tiling.check(network.variant)
    if choices.scenechange == SceneChange.DETECT:
        clip = mark_scenes(core, clip)
    if choices.strength == 0 or not runs:
        return clip

    demand = Demand(
        network=network,
        size=(clip.height, clip.width),
        device=device,
        dtype=dtype,
        block=choices.block,
        tiling=tiling,
        threads=core.num_threads,
        fused=runs_compiled(network),
        streams=choices.num_streams,
        runs=len(runs),
    )
    free = free_memory(device)
    if free is not None:
        free = PROMISES.left(device, free, demand.shared())
    demand = fit(demand, choices.offload, free=free)
    name = task.capitalize()
    fast = prepared(network, lambda text: core.log("information", f"{name}: {text}"))
    by_scene = choices.scenechange != SceneChange.IGNORE
    props = core.invoke("std", "BlankClip", width=1, height=1, length=1, format=GRAY8, keep=1)
    levels = None
    if choices.sigma_map is not None:
        # What the samples of a map stand for does not depend on its frame properties.
        ranges = ["_Range", "_ColorRange"]
        levels = core.invoke("std", "RemoveFrameProps", clip=choices.sigma_map, props=ranges)
        levels = core.uncached(core.invoke("resize", "Bicubic", clip=levels, format=GRAYS, range_in=1))
    elif task == "denoise" and choices.sigma is None:
        levels = noise_levels(core, clip, by_scene=by_scene, every=MEASURED)
        levels = smoothed_levels(core, levels, by_scene=by_scene)

    def run(sigma: float | None) -> Node:
        options = Options(
            device=device,
            block=demand.block,
            strength=choices.strength,
            scenechange=by_scene,
            float_source=clip.format.sample_type == "float",
            sigma=None if sigma is None else sigma / 255,
            tiling=tiling,
            offload=demand.offload,
            needs=figures(demand),
        )

        def make(node: Node) -> Node:
            def restorer() -> Restorer:
                return Restorer(core, name, fast, node, levels, props, options)

            count = choices.num_streams
            inputs = [node] if levels is None else [node, levels]
            processor = restorer() if count == 1 else StreamPool(restorer, count)
            shared = demand.shared()
            PROMISES.add(device, (demand.needed() - shared) // len(runs) + shared, shared, processor)
            return core.create_filter(name, node, inputs, processor)

        # Half the bytes between the graph and the card.
        return converted_around(core, clip, make, half=device.type == "cuda" and dtype == torch.float16)

    restored = _combined(core, clip, {run(sigma): planes for sigma, planes in runs.items()})
    applied: dict[str, str | float | Sequence[float] | None] = {
        f"GShift{name}Model": network.name,
        f"GShift{name}Strength": choices.strength,
        f"GShift{name}Planes": sorted(set().union(*runs.values())),
        APPLIED_SIGMA: choices.sigma,
    }
    restored = core.invoke("std", "SetFrameProps", clip=restored, **applied)
    if levels is None or choices.sigma_map is not None:
        return restored
    return core.invoke("std", "CopyFrameProps", clip=restored, prop_src=levels, props=[APPLIED_SIGMA])


def _runs(clip: Node, choices: Choices) -> dict[float | None, set[int]]:
    """The planes that each run of the network restores, by the run's sigma; None if that is no constant.

    Raises ValueError for planes that the clip does not have.
    """
    count = clip.format.num_planes
    planes = set(range(count) if choices.planes is None else choices.planes)
    has = f"the clip is {clip.format.name}, with {count} plane{'s' if count > 1 else ''}"
    if missing := [plane for plane in planes if plane >= count]:
        raise ValueError(f"planes has {missing[0]}; {has}")
    if choices.sigma is None:
        return {None: planes}
    if len(choices.sigma) > count:
        raise ValueError(f"sigma has {len(choices.sigma)} values; {has}")
    sigmas = [choices.sigma[min(plane, len(choices.sigma) - 1)] for plane in range(count)]
    by_sigma: dict[float | None, set[int]] = {}
    for plane in sorted(planes):
        if sigmas[plane]:
            by_sigma.setdefault(sigmas[plane], set()).add(plane)
    return by_sigma


def _combined(core: Core, clip: Node, restored: dict[Node, set[int]]) -> Node:
    """Each plane from the clip that has it restored, else from the source."""
    count = clip.format.num_planes
    origin = {plane: node for node, planes in restored.items() for plane in planes}
    if len(restored) == 1 and len(origin) == count:
        return next(iter(restored))
    return core.invoke(
        "std",
        "ShufflePlanes",
        clips=[origin.get(plane, clip) for plane in range(count)],
        planes=list(range(count)),
        colorfamily=clip.format.id >> 28,
        prop_src=clip,
    )


def version(core: Core) -> dict[str, str | int]:
    """`gshift.Version`: version, those of the libraries, what the CPU's kernels are built for, where the package is."""
    import torch

    from vsgshift.engine.cpu import library

    def installed(*distributions: str) -> str:
        for distribution in distributions:
            try:
                return metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
        return "not installed"

    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "cupy": installed("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        "numpy": installed("numpy"),
        "vapoursynth": installed("vapoursynth"),
        "cpu_kernels": library.built_for(),
        "path": str(Path(__file__).parent.parent),
    }


def device_properties(core: Core, device_id: int | None = None) -> dict[str, str | int]:
    """`gshift.DeviceProperties`: name, memory in bytes and compute capability of a device."""
    from vsgshift.plugin import devices

    return devices.properties(device_id)


def models(core: Core) -> dict[str, list[str] | list[int]]:
    """`gshift.Models`: names, tasks, variants, licences, and 1 where installed, as lists of one order."""
    from vsgshift.weights import MODELS

    known = list(MODELS.values())
    return {
        "name": [model.name for model in known],
        "task": [str(model.task) for model in known],
        "variant": [model.variant.name for model in known],
        "licence": [model.licence for model in known],
        "installed": [int(model.installed) for model in known],
    }
