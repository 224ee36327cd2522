"""What the way from VapourSynth through Python and back costs, without any work done there."""

import re
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from vsgshift.video.programs import find_vspipe

SCRIPT = """
import vapoursynth as vs
from vsgshift.plugin import functions

class Identity:
    def request(self, n):
        return [(0, n)]
    def ready(self, n, frames):
        return frames[0, n]
    def failed(self, n):
        pass
    def close(self):
        pass

functions.deblur = lambda core, clip: core.create_filter("Deblur", clip, [clip], Identity())
vs.core.num_threads = 1
clip = vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length={frames}, keep=True)
clip = {filter}
clip.set_output()
"""
FILTERS = {"source": "clip", "invert": "clip.std.Invert()", "bridge": "vs.core.gshift.Deblur(clip)"}


def bridge(rounds: int = 5, frames: int = 500_000) -> dict[str, float]:
    """Microseconds per 1080p frame through vspipe: the source, std.Invert, a Python filter that does nothing.

    Args:
        frames: of the clips; std.Invert, which is slow, gets a hundredth.
    """
    times: dict[str, list[float]] = {name: [] for name in FILTERS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, text in FILTERS.items():
                count = max(1, frames // 100) if name == "invert" else frames
                script = Path(folder, f"{name}.vpy")
                script.write_text(SCRIPT.format(frames=count, filter=text))
                done = subprocess.run([find_vspipe(), script, "--"], capture_output=True, text=True, check=True)
                seconds = re.search(r"Output \d+ frames in ([\d.]+) seconds", done.stderr)
                assert seconds, done.stderr
                times[name].append(1e6 * float(seconds[1]) / count)
    result = {f"{name}_us": round(median(values), 2) for name, values in times.items()}
    source = median(times["source"])
    for name in ("invert", "bridge"):
        result[f"{name}_overhead_us"] = round(median(times[name]) - source, 2)
    return result
