"""Whether the filter works on a device at all, and the fast way: seconds, before anything that takes longer."""

import logging
import time
from typing import Any

import numpy as np
import torch
import vapoursynth as vs

from measuring.equality import exact
from measuring.networks import load
from measuring.settings import Settings
from vsgshift.benchmark.measures import restored
from vsgshift.plugin._bridge import Frame
from vsgshift.plugin.restorer import Restorer
from vsgshift.plugin.schedule import Push
from vsgshift.streaming import Stream, TiledStream

SIZE = 96, 64
LENGTH = 60
LEAST_PSNR = 60.0
"""In dB, of half precision against single on the CPU."""


class _Warnings(logging.Handler):
    """Keeps the warnings that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def smoke(settings: Settings) -> dict[str, Any]:
    """The first network through the filter on the device, in half precision on a GPU, beside the CPU's result.

    A failure, unless: fused kernels run, on a GPU a graph is replayed, and the
    result is the CPU's. Each line is there as soon as it is known.
    """
    warnings = _Warnings()
    logging.getLogger("vsgshift").addHandler(warnings)
    try:
        for name, check in (("fused", _fused), ("filter", _filtered)):
            settings.add(name, settings.attempt(name, check))
    finally:
        logging.getLogger("vsgshift").removeHandler(warnings)
        settings.add("warnings", warnings.lines)
    return settings.result


def _fused(settings: Settings) -> dict[str, Any]:
    started = time.perf_counter()
    network = load(settings.subjects[0], settings.device, torch.float16 if _cuda(settings) else torch.float32)
    # What an engine puts in place of the plain blocks comes from its own modules.
    engines = {type(module).__module__.split(".")[2] for module in network.modules() if "engine" in str(type(module))}
    if engines != {settings.device.type}:
        raise RuntimeError(f"the fused kernels of {settings.device.type} do not run; see the warnings")
    return {"seconds": round(time.perf_counter() - started, 2)}


def _filtered(settings: Settings) -> dict[str, Any]:
    cuda = _cuda(settings)
    subject = settings.subjects[0]
    source = _moving(*SIZE, LENGTH)
    modes: list[str] = []
    push = Restorer._push

    def recording(self: Restorer, block: Push[Frame]) -> None:
        push(self, block)
        assert isinstance(self.stream, Stream | TiledStream)
        if isinstance(self.stream, Stream):
            modes.append(self.stream.mode)

    def run(device_id: int, fp16: bool) -> np.ndarray[Any, Any]:
        clip = restored(source, subject.variant.task, model=subject.source, device_id=device_id, fp16=fp16)
        return np.stack([np.stack([np.asarray(f[p]) for p in range(3)]) for f in clip.frames(close=True)])

    Restorer._push = recording  # type: ignore[method-assign, assignment]
    try:
        with exact():
            started = time.perf_counter()
            actual = run(settings.device.index if cuda else -1, fp16=cuda)
            seconds = time.perf_counter() - started
    finally:
        Restorer._push = push  # type: ignore[method-assign, assignment]
    expected = run(-1, fp16=False)
    error = float(np.square(actual.astype(np.float64) - expected).mean())
    psnr = 99.0 if not error else min(99.0, float(-10 * np.log10(error)))
    row = {"modes": [*dict.fromkeys(modes)], "psnr": round(psnr, 2), "seconds": round(seconds, 2)}
    settings.add("filter", row)
    if not psnr >= LEAST_PSNR:
        raise RuntimeError(f"the filter's frames are not those of the CPU: PSNR {psnr:.1f} dB, under {LEAST_PSNR}")
    if cuda and modes[-1] != "graph":
        raise RuntimeError(f"no CUDA graph was replayed: the stream is {modes[-1]}")
    return row


def _moving(width: int, height: int, length: int) -> vs.VideoNode:
    """Stripes that move, in RGB float."""
    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGBS, length=length, keep=True)
    x, y = np.meshgrid(np.arange(width), np.arange(height))

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(out[plane]), 0.5 + 0.4 * np.sin(0.3 * (x + 2 * n) + 0.1 * plane * y))
        return out

    return blank.std.ModifyFrame(blank, paint)


def _cuda(settings: Settings) -> bool:
    return settings.device.type == "cuda"
