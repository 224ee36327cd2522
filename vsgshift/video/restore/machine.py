"""What the frames of a restoration depend on besides the job: the machine on which they are made.

torch and the models are looked at by a process of their own, as the filters run in one: `restore` itself stays small.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from vsgshift.processes import Process, run
from vsgshift.video.restore.container import opened
from vsgshift.video.script import FilterCall


@dataclass(frozen=True)
class Machine:
    """What it is."""

    known: dict[str, str] = field(default_factory=dict)
    """By what people call it; two machines that agree in all make the same frames."""
    reach: int = 0
    """Frames on each side that a frame depends on."""


@contextmanager
def examined(filters: Sequence[FilterCall]) -> Iterator[Process | None]:
    """A process that looks at this machine meanwhile, for `answer`; None if no filter is to be run."""
    if not filters:
        yield None
        return
    wanted = [[call.task, call.options.get("model"), call.options.get("device_id")] for call in filters]
    with Process([sys.executable, "-m", __name__, json.dumps(wanted)], stdout=True) as process:
        yield process


def answer(process: Process | None) -> Machine:
    """What `examined` has found. Raises ProgramError if that failed."""
    return Machine(**json.loads(process.communicate())) if process else Machine()


def encoder(ffmpeg: str, sample: Path) -> dict[str, str]:
    """What an ffmpeg and its encoder are, by a frame that it has encoded with the job's options.

    x264 and x265 write their versions and settings into it, the number of threads among them, on which frames depend;
    of others the frame itself must do.
    """
    with opened(sample) as film:
        data = bytes(film.streams.video[0].codec_context.extradata or b"")
        data += b"".join(bytes(packet) for packet in film.demux(video=0))
    banner = re.search(rb"x26[45] [ -~]{40,}", data)
    words = run([ffmpeg, "-hide_banner", "-version"]).decode(errors="replace").split()
    return {
        "ffmpeg": words[2] if len(words) > 2 else "not known",
        "the encoder": banner[0].decode() if banner else _digest(data),
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _answer(wanted: Sequence[tuple[str, str | None, int | None]]) -> Machine:
    import torch

    from vsgshift.doctor.libraries import processor
    from vsgshift.engine.cpu import library
    from vsgshift.plugin.devices import choose, properties
    from vsgshift.weights.catalogue import full_name
    from vsgshift.weights.store import find, read

    known = {"torch": torch.__version__, "VapourSynth": metadata.version("vapoursynth")}
    reach = 0
    for task, model, number in wanted:
        file = find(full_name(model, task))  # type: ignore[arg-type]
        variant, _, name = read(file)
        reach += variant.radius
        known[f"the network for {task}"] = f"{variant.name}, {name}, weights {_digest(file.read_bytes())}"
        device = properties(number)
        if (kind := choose(number).type) == "cuda":
            known["the device"] = f"{device['name']}, {device['compute_capability']}, CUDA {torch.version.cuda}"
            import cupy

            known["the kernels"] = f"triton {metadata.version('triton')}, CuPy {cupy.__version__}"
        elif kind == "cpu":
            build = library.chosen()
            known["the device"] = f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"
            known["the kernels"] = f"{library.built_for()}, {_digest(build.read_bytes()) if build else 'none'}"
        else:
            known["the device"] = f"{kind}, {device['name']}"
    return Machine(known, reach)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vars(_answer(json.loads(sys.argv[1])))))
