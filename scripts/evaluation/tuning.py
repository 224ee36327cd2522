"""A baseline's best setting, found on the very frames that it is then judged by.

No user could tune so well, since it takes the clean clip. It is the most generous that one can be to
a baseline, and needs no table of settings that somebody chose.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from evaluation.baselines import Baseline, Knob, Setting
from evaluation.frames import Clip, Cropped
from evaluation.metrics import psnr

ROUNDS = 2
"""How often the knobs are gone through."""


def tuned(
    baseline: Baseline, clip: Clip, spans: Sequence[range], size: tuple[int, int], sigma: float | None
) -> Setting:
    """The setting with the highest PSNR, mean over the middle frames of the spans, cropped to H and W.

    For every option, knob by knob, the value goes up or down its ladder as long as that helps.
    """
    middles = [range(span.start + len(span) // 2, span.start + len(span) // 2 + 1) for span in spans]
    source = Cropped(clip.source, size)
    targets = [Cropped(clip.target, size).read(middle) for middle in middles]
    known: dict[tuple[tuple[str, float], ...], float] = {}

    def quality(setting: Setting) -> float:
        key = tuple(setting.items())
        if key not in known:
            frames = pool.map(lambda middle: torch.cat(list(baseline.restore(source, middle, sigma, setting))), middles)
            known[key] = float(psnr(torch.cat(list(frames)), torch.cat(targets)).mean())
        return known[key]

    knobs = baseline.knobs(sigma)
    start = {name: knob.start for name, knob in knobs.items()}
    with ThreadPoolExecutor(max(1, min(len(middles), os.cpu_count() or 1))) as pool:
        tops = [hill_climb(quality, {"option": n, **start}, knobs) for n in range(len(baseline.options))]
    return max(tops, key=lambda setting: known[tuple(setting.items())])


def hill_climb(quality: Callable[[Setting], float], setting: Setting, knobs: dict[str, Knob]) -> Setting:
    """The setting at the top of the hill, as far as going along one knob after the other finds it."""
    for _ in range(ROUNDS if len(knobs) > 1 else 1):
        for name, knob in knobs.items():
            for direction in (knob.step, 1 / knob.step):
                start = setting
                while True:
                    value = min(max(setting[name] * direction, knob.low), knob.high)
                    moved = {**setting, name: value}
                    if value == setting[name] or quality(moved) <= quality(setting):
                        break
                    setting = moved
                if setting is not start:
                    break
    return setting
