"""What sharing a film costs: a stretch's set-up, the join, and a Ray cluster of this machine beside a plain run."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from measuring.settings import Settings
from vsgshift.processes import run
from vsgshift.video.programs import find_ffmpeg
from vsgshift.video.restore.job import Job, restore, work
from vsgshift.video.restore.parts import INDEX, working_folder
from vsgshift.video.restore.plan import make_plan
from vsgshift.video.script import FilterCall

PART = 120
"""Frames in a part; given, since otherwise each run would measure its own."""
SMALL = 64, 48
"""A picture that costs next to nothing."""
LENGTHS = 1000, 11000
"""Frames of two films that are joined; what the longer one takes more is counted."""
RAY = b"/ray/", b"ray::"
"""What stands in the command lines of Ray's processes."""


def sharing(settings: Settings) -> dict[str, Any]:
    """Seconds and MiB, by name; the medians of some rounds."""
    for name, measure in (("stretch", _stretch), ("join", _join), ("cluster", _cluster)):
        settings.add(name, settings.attempt(name, measure))
    figures = {key: value for each in settings.result.values() for key, value in each.items()}
    settings.result.clear()
    settings.result.update(figures)
    return settings.result


def _film(settings: Settings, size: tuple[int, int], frames: int) -> Path:
    file = settings.folder / f"{size[0]}x{size[1]}-{frames}.mkv"
    card = f"testsrc2=size={size[0]}x{size[1]}:rate=25,noise=alls=12:allf=t"
    run([find_ffmpeg(), "-y", "-f", "lavfi", "-i", card, "-frames:v", str(frames), "-preset", "veryfast", file])
    return file


def _job(settings: Settings, source: Path, name: str, **more: Any) -> Job:
    how = {"sigma": 8.0, "model": settings.subjects[0].source, **settings.choices}
    return Job(
        source=source,
        output=settings.folder / name,
        **{"filters": (FilterCall(task="denoise", options=how),), "part": PART, "force": True, **more},
    )


def _stretch(settings: Settings) -> dict[str, float]:
    """Until the first part of a stretch is there, if its frames cost nothing."""
    seconds = []
    job = _job(settings, _film(settings, SMALL, 300), "stretch.mkv")
    with working_folder(job.output) as folder:
        plan = make_plan(job, folder / INDEX, frames_here=True)
        for number in range(settings.rounds):
            began = time.monotonic()
            next(work(plan, folder, 1, [100 + number]))
            seconds.append(time.monotonic() - began)
    return {"stretch_setup_s": round(median(seconds), 1)}


def _join(settings: Settings) -> dict[str, float]:
    """Checking and joining, for a thousand frames of a small picture."""
    seconds = []
    for frames in LENGTHS:
        job = _job(settings, _film(settings, SMALL, frames), "join.mkv", filters=(), stretch=(1, 1))
        restore(job)
        began = time.monotonic()
        restore(_job(settings, job.source, "join.mkv", filters=(), join=True))
        seconds.append(time.monotonic() - began)
    return {"join_ms_per_frame": round(1000 * (seconds[1] - seconds[0]) / (LENGTHS[1] - LENGTHS[0]), 3)}


def _cluster(settings: Settings) -> dict[str, Any]:
    """Two films in turns by a plain run and by `--cluster local`.

    What the longer one takes more gives the pace; what the shorter one takes more in a cluster is Ray's start and end,
    and the set-up of a stretch.
    """
    lengths = PART, settings.frames or 10 * PART
    films = [_film(settings, settings.sizes[0], frames) for frames in lengths]
    seconds: dict[str | None, dict[Path, list[float]]] = {None: {}, "local": {}}
    hashes: dict[Path, set[str]] = {}
    memory = 0.0
    for _ in range(settings.rounds):
        for film in films:
            for address, taken in seconds.items():
                job = _job(settings, film, "cluster.mkv", cluster=address)
                with _most_memory() as most:
                    began = time.monotonic()
                    restore(job)
                    taken.setdefault(film, []).append(time.monotonic() - began)
                memory = max(memory, *most)
                hashes.setdefault(film, set()).add(hashlib.sha256(job.output.read_bytes()).hexdigest())
    if any(len(each) > 1 for each in hashes.values()):
        raise ValueError("the files differ")
    plain, local = ([median(taken[film]) for film in films] for taken in seconds.values())
    paces = [(lengths[1] - lengths[0]) / (long - short) for short, long in (plain, local)]
    return {
        "plain_fps": round(paces[0], 2),
        "cluster_fps": round(paces[1], 2),
        "cluster_overhead": round(paces[0] / paces[1] - 1, 3),
        "plain_120_frames_s": round(plain[0], 1),
        "cluster_120_frames_s": round(local[0], 1),
        "ray_memory_mib": round(memory),
        "sha256_of_both": hashes[films[1]].pop(),
    }


@contextmanager
def _most_memory() -> Iterator[list[float]]:
    """The most that Ray's processes take meanwhile, in MiB; what they share counts once."""
    over, most = threading.Event(), [0.0]

    def look() -> None:
        while not over.wait(1):
            taken = 0
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    line = (folder / "cmdline").read_bytes()
                    if any(mark in line for mark in RAY):
                        words = (folder / "smaps_rollup").read_text().partition("\nPss:")[2].split()
                        taken += int(words[0]) if words else 0
            most[0] = max(most[0], taken / 1024)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()
