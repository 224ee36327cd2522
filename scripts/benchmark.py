"""Measure this machine: frames per second, memory, and what the bridge costs.

    python scripts/benchmark.py bridge            # cost per frame of a filter that does nothing
    python scripts/benchmark.py speed             # the bare stream beside the filter in VapourSynth
    python scripts/benchmark.py memory            # resident memory at frame 300 and 3,000
    python scripts/benchmark.py latency           # seconds to the first frame, after a seek, one step back
    python scripts/benchmark.py sharing           # beside programs that keep all cores busy, as encoders do
    python scripts/benchmark.py reference         # the table of `vsgshift benchmark`, from the committed reports

All but the last print one JSON object with device, versions, commit and date; `-o FILE` also writes it.
The last writes the table into the package.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import vapoursynth as vs

# Before torch, whose threads then wait as they do in VapourSynth.
import vsgshift.plugin  # noqa: F401
from vsgshift import load_network
from vsgshift.benchmarking import reference
from vsgshift.benchmarking.measures import (
    blank,
    frames_per_second,
    resident,
    restored,
    run_filter,
    run_stream,
    surroundings,
)
from vsgshift.network.variants import Task

core = vs.core
SIZES = {"320x180": (320, 180), "640x360": (640, 360)}
TASKS: tuple[Task, ...] = ("deblur", "denoise")
REPORTS = Path(__file__).parent / "benchmarks"


BRIDGE_SCRIPT = """
import vapoursynth as vs
from vsgshift.plugin import functions

class Identity:
    def request(self, n):
        return [(0, n)]
    def ready(self, n, frames):
        return frames[0, n]
    def close(self):
        pass

functions.deblur = lambda core, clip: core.create_filter("Deblur", clip, [clip], Identity())
vs.core.num_threads = 1
clip = vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length={frames}, keep=True)
clip = {filter}
clip.set_output()
"""
BRIDGE_FILTERS = {"source": "clip", "invert": "clip.std.Invert()", "bridge": "vs.core.gshift.Deblur(clip)"}


def bridge() -> dict[str, object]:
    """Microseconds per 1080p frame through vspipe: the source, std.Invert, a Python filter that does nothing."""
    times: dict[str, list[float]] = {name: [] for name in BRIDGE_FILTERS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            for name, text in BRIDGE_FILTERS.items():
                frames = 5_000 if name == "invert" else 500_000
                script = Path(folder, f"{name}.vpy")
                script.write_text(BRIDGE_SCRIPT.format(frames=frames, filter=text))
                vspipe = Path(sys.executable).with_name("vspipe")
                done = subprocess.run([vspipe, script, "--"], capture_output=True, text=True, check=True)
                seconds = re.search(r"Output \d+ frames in ([\d.]+) seconds", done.stderr)
                assert seconds, done.stderr
                times[name].append(1e6 * float(seconds[1]) / frames)
    result: dict[str, object] = {f"{name}_us": round(median(values), 2) for name, values in times.items()}
    source = median(times["source"])
    for name in ("invert", "bridge"):
        result[f"{name}_overhead_us"] = round(median(times[name]) - source, 2)
    return result


def speed() -> dict[str, object]:
    """Frames per second of the bundled models on RGB float: the bare stream, and through VapourSynth."""
    import torch

    torch.set_flush_denormal(True)
    result: dict[str, object] = {}
    for task in TASKS:
        network = load_network(f"tiny-{task}")
        for size, (width, height) in SIZES.items():
            count = 24
            frames = torch.rand(4, 3, height, width)
            noise = torch.full((4, 1, height, width), 0.1) if task == "denoise" else None

            source = blank(width, height, count)
            bare = partial(run_stream, network, frames, noise, count)
            filtered = partial(run_filter, source, task)
            bare(), filtered()
            rounds = [(frames_per_second(bare), frames_per_second(filtered)) for _ in range(2)]
            stream_fps, filter_fps = (median(values) for values in zip(*rounds, strict=True))
            result[f"tiny-{task} {size}"] = {
                "stream_fps": round(stream_fps, 2),
                "filter_fps": round(filter_fps, 2),
                "ratio": round(filter_fps / stream_fps, 3),
            }
    return result


def memory() -> dict[str, object]:
    """Resident memory while restoring 3,000 frames of 320x180."""
    source = core.std.BlankClip(width=320, height=180, format=vs.YUV420P8, length=3000)
    marks: dict[str, object] = {}
    for n, _ in enumerate(core.gshift.Denoise(source, sigma=10).frames(close=True), start=1):
        if n in (300, 1000, 3000):
            marks[f"frame_{n}_mib"] = round(resident(), 1)
    first, last = float(str(marks["frame_300_mib"])), float(str(marks["frame_3000_mib"]))
    marks["growth_percent"] = round(100 * (last / first - 1), 2)
    return marks


def latency() -> dict[str, object]:
    """Seconds that a previewer waits for one frame: the first one after creation, after seeks, a step back."""
    result: dict[str, object] = {}
    places = random.Random(1)
    for task in TASKS:
        for size, (width, height) in SIZES.items():
            source = blank(width, height, 1000)
            started = time.perf_counter()
            clip = restored(source, task)
            seconds = {"first": [seconds_for(clip, 0, started)], "seek": [], "back": []}
            for _ in range(5):
                n = places.randrange(20, 980)
                seconds["seek"].append(seconds_for(clip, n))
                seconds["back"].append(seconds_for(clip, n - 1))
            result[f"tiny-{task} {size}"] = {f"{name}_s": round(median(each), 2) for name, each in seconds.items()}
    return result


SHARING_SCRIPT = """
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


def sharing() -> dict[str, object]:
    """Frames per second and CPU seconds a frame, alone and beside one busy process for each core."""
    result: dict[str, object] = {}
    for place in ("alone", "shared"):
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAITING}
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range((os.cpu_count() or 1) if place == "shared" else 0)
        ]
        try:
            for _ in range(3):
                for name, settings in WAITING.items():
                    environment = {**os.environ, **settings}
                    command = [sys.executable, "-c", SHARING_SCRIPT]
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                    fps, seconds = map(float, done.stdout.split())
                    rounds[name].append((fps, seconds))
        finally:
            for process in busy:
                process.kill()
                process.wait()
        for name, pairs in rounds.items():
            fps, seconds = (median(values) for values in zip(*pairs, strict=True))
            result[f"{name} {place}"] = {"fps": round(fps, 2), "cpu_s_per_frame": round(seconds, 3)}
    return result


def seconds_for(clip: vs.VideoNode, n: int, started: float | None = None) -> float:
    """Seconds until frame n is there, from now or from an earlier time."""
    started = time.perf_counter() if started is None else started
    clip.get_frame(n).close()
    return time.perf_counter() - started


def origin() -> dict[str, object]:
    """When and of what the figures are."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit or "unknown"}


def write_reference() -> None:
    """Write what is known of other machines' speed into the package."""
    reports = [json.loads(file.read_text()) for file in sorted(REPORTS.glob("*.json"))]
    table = Path(reference.__file__).with_name("reference.json")
    table.write_text(json.dumps(reference.rows(reports), indent=2) + "\n")
    print(table)


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = {"bridge": bridge, "speed": speed, "memory": memory, "latency": latency, "sharing": sharing}
    parser.add_argument("benchmark", choices=[*benchmarks, "reference"])
    parser.add_argument("-o", "--output", type=Path, help="write the JSON here as well")
    arguments = parser.parse_args()
    if arguments.benchmark == "reference":
        write_reference()
        return
    report = {
        "benchmark": arguments.benchmark,
        **origin(),
        **surroundings(),
        "result": benchmarks[arguments.benchmark](),
    }
    text = json.dumps(report, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
