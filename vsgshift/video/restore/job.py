"""A restoration from the first look at the file to the last rename."""

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

from vsgshift.files import whole
from vsgshift.video.encoder import check_codec
from vsgshift.video.pipe import Frames, frame_bytes, y4m_header
from vsgshift.video.programs import check_file, last_line
from vsgshift.video.restore import parts as kept
from vsgshift.video.restore.container import FORMATS, check_container
from vsgshift.video.restore.errors import RestoreError
from vsgshift.video.restore.mux import join
from vsgshift.video.restore.parts import Parts
from vsgshift.video.restore.plan import Job, Plan, make_plan
from vsgshift.video.restore.progress import Meter
from vsgshift.video.script import y4m_format

__all__ = ["Job", "Result", "commands", "restore"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was done."""

    frames: int
    """Of the output."""
    made: int
    """Of these, in this run."""
    seconds: float
    """For those made."""
    peak: int
    """Bytes of memory that vspipe and ffmpeg took together at most; 0 where the system does not tell."""


def restore(job: Job) -> Result:
    """Do the job.

    Raises:
        RestoreError: in one line, what stands in its way; what is finished is kept.
    """
    _check_paths(job)
    with kept.working_folder(job.output):
        if not job.resume:
            kept.refuse_unfinished(job.output, afresh=job.force)
        plan = make_plan(job, kept.index_name(job.output))
        parts = Parts(job.output, plan.frames, job.part)
        _try_encoder(plan, kept.parts_folder(job.output))
        try:
            kept.begin(job.output, plan.state(), resume=job.resume)
            parts.script.write_text(plan.script(), encoding="utf-8")
            result = _encode(plan, parts)
            _finish(plan, parts)
        except OSError as error:
            told = error if isinstance(error, RestoreError) else _of_the_system(error, parts.folder)
            if not told.advice and len(parts.missing()) < len(parts):
                told = RestoreError(str(told), advice="what is finished is kept: --resume goes on")
            raise told from error
    return result


def _of_the_system(error: OSError, folder: Path) -> RestoreError:
    """What the system refuses, as on a full disk; where it does not say which file, it is one of that folder."""
    return RestoreError(f"{error.filename or folder}: {error.strerror or error}")


def commands(job: Job) -> str:
    """What `restore` would run, as text: the script, and the commands of a shell. Nothing is left behind."""
    _check_paths(job)
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(job, Path(folder) / "index")
        _try_encoder(plan, Path(folder))
    parts = Parts(job.output, plan.frames, job.part)
    pipe = [plan.programs.vspipe, "-c", "y4m", str(parts.script), "-"]
    return (
        f"# {parts.script}\n{plan.script()}\n"
        f"# For each part ({len(parts)}, of up to {parts.size} frames); they are joined with what else the input has\n"
        f"{shlex.join(pipe)} | {shlex.join(plan.ffmpeg(parts.unfinished(0)))}\n"
    )


def _check_paths(job: Job) -> None:
    check_file(job.source)
    output = job.output
    if output.suffix.lower() not in FORMATS:
        raise RestoreError(f"{output}: cannot write that kind of file; name it {', '.join(FORMATS)}")
    if output.is_dir():
        raise RestoreError(f"{output} is a folder; name the file to write")
    if not output.parent.is_dir():
        raise RestoreError(f"there is no folder {output.parent} to write to")
    if output.exists():
        if output.samefile(job.source):
            raise RestoreError("input and output are the same file; give the output another name")
        if not job.force:
            raise RestoreError(f"{output} exists already; --force overwrites it")


def _try_encoder(plan: Plan, folder: Path) -> None:
    """Encode one black frame: what ffmpeg or the kind of file refuses is known before the work, not after it."""
    check_codec(plan.programs.ffmpeg, plan.encoding.codec)
    source, sample = plan.source, folder / f"sample.mkv{kept.UNFINISHED}"
    size = source.width, source.height
    header = y4m_header(y4m_format(source.family, source.is_float, size) or source.format, size)
    done = run(plan.ffmpeg(sample), input=header + b"FRAME\n" + bytes(frame_bytes(header)), capture_output=True)
    if done.returncode:
        raise RestoreError(f"ffmpeg: {last_line(done.stderr, done.returncode)}")
    job = plan.job
    ending = job.output.suffix.lower()
    for remark in check_container(job.source, sample, ending, audio=job.audio, subtitles=job.subtitles):
        job.remark(remark)
    sample.unlink()


def _encode(plan: Plan, parts: Parts) -> Result:
    """Make the parts that are missing."""
    missing = parts.missing()
    done = plan.frames - sum(map(parts.length, missing))
    running: list[Frames] = []
    with Meter(plan.job.source.name, plan.frames, done, lambda: running[-1].processes if running else []) as meter:
        if missing:
            plan.programs.configure()
        for stretch in _stretches(missing):
            with Frames(plan.programs, str(parts.script), first=stretch[0] * parts.size) as frames:
                running.append(frames)
                for number in stretch:
                    frames.encode(parts.length(number), plan.ffmpeg(parts.unfinished(number)), meter.frame)
                    parts.complete(number)
                if stretch[-1] == len(parts) - 1:
                    frames.finish()
        return Result(frames=plan.frames, made=meter.count, seconds=meter.seconds, peak=meter.peak)


def _stretches(numbers: list[int]) -> Iterator[list[int]]:
    """Numbers that follow each other, together."""
    stretch: list[int] = []
    for number in numbers:
        if stretch and number != stretch[-1] + 1:
            yield stretch
            stretch = []
        stretch.append(number)
    if stretch:
        yield stretch


def _finish(plan: Plan, parts: Parts) -> None:
    """Join the parts under another name, then give the file its own."""
    job = plan.job
    files = [(parts.file(number), parts.length(number)) for number in range(len(parts))]
    # Nothing is left of it after an error, since the parts are there.
    with whole(job.output) as target:
        join(
            files,
            job.source,
            target,
            job.output.suffix.lower(),
            plan.timing,
            plan.shape,
            audio=job.audio,
            subtitles=job.subtitles,
        )
    kept.discard(job.output)
