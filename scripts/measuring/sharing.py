"""The filter beside programs that keep all cores busy, as encoders do."""

import os
import subprocess
import sys
from statistics import median

SCRIPT = """
import time
import vapoursynth as vs

source = vs.core.std.BlankClip(width=320, height=180, format=vs.RGBS, length=72, keep=True)
clip = vs.core.gshift.Deblur(source)
clip.get_frame(23).close()
started, computed = time.perf_counter(), time.process_time()
for frame in clip[24:].frames(close=True):
    pass
print(48 / (time.perf_counter() - started), (time.process_time() - computed) / 48)
"""
WAITING = {"sleeping": {}, "spinning": {"GOMP_SPINCOUNT": "300000"}}
"""How torch's threads wait: as the plugin has it, and as libgomp has it when nobody says."""


def sharing(rounds: int = 3) -> dict[str, dict[str, float]]:
    """Frames per second and CPU seconds a frame, alone and beside one busy process for each core."""
    result = {}
    for place in ("alone", "shared"):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAITING}
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range((os.cpu_count() or 1) if place == "shared" else 0)
        ]
        try:
            for _ in range(rounds):
                for name, settings in WAITING.items():
                    environment = {**os.environ, **settings}
                    command = [sys.executable, "-c", SCRIPT]
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                    fps, seconds = map(float, done.stdout.split())
                    found[name].append((fps, seconds))
        finally:
            for process in busy:
                process.kill()
                process.wait()
        for name, pairs in found.items():
            fps, seconds = (median(values) for values in zip(*pairs, strict=True))
            result[f"{name} {place}"] = {"fps": round(fps, 2), "cpu_s_per_frame": round(seconds, 3)}
    return result
