"""A restoration from the first look at the file to the last rename."""

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vsgshift.errors import ProgramError, VideoError, VsgshiftError
from vsgshift.files import atomic_write
from vsgshift.processes import run
from vsgshift.video.clip import check_file
from vsgshift.video.encoder import check_codec
from vsgshift.video.pipe import MARK, ScriptFrames, encode, frame_bytes, y4m_header
from vsgshift.video.programs import configure, is_configured
from vsgshift.video.restore import companions
from vsgshift.video.restore.container import FORMATS
from vsgshift.video.restore.mux import check_part, join, tags_left_out
from vsgshift.video.restore.parts import INDEX, Parts, begin, make_way, parts_folder, remove, working_folder
from vsgshift.video.restore.plan import Job, Plan, make_plan
from vsgshift.video.restore.progress import Progress

__all__ = ["Job", "Result", "commands", "restore"]

SCRIPT = "script.vpy"


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
    """Bytes of memory that vspipe and ffmpeg took together at most; 0 if the system does not tell."""


def restore(job: Job) -> Result:
    """Do the job.

    Raises:
        VsgshiftError: in one line, what stands in its way; what is finished is kept.
    """
    _check_paths(job)
    with working_folder(job.output) as folder:
        make_way(folder, resume=job.resume, force=job.force)
        plan = make_plan(job, folder / INDEX)
        parts = Parts(folder, plan.frames, job.part)
        _try_encoder(plan, folder)
        try:
            begin(folder, plan.state())
            result = _encode(plan, parts)
            _finish(plan, parts)
        except (VsgshiftError, OSError) as error:
            raise _with_advice(error, parts) from error
    return result


def _with_advice(error: VsgshiftError | OSError, parts: Parts) -> VsgshiftError:
    """The error with what to do about it."""
    if isinstance(error, OSError) and not isinstance(error, VsgshiftError):
        # What the system refuses, as on a full disk; without a name it is a file of that folder.
        error = VideoError(f"{error.filename or parts.folder}: {error.strerror or error}")
    if getattr(error, "advice", "") or not any(parts.file(number).exists() for number in range(len(parts))):
        return error
    return VideoError(str(error), advice="what is finished is kept: --resume goes on")


def commands(job: Job) -> str:
    """What `restore` would run, as text: the script, and the commands of a shell. Nothing is left of it."""
    _check_paths(job)
    folder = parts_folder(job.output)
    with tempfile.TemporaryDirectory() as temporary:
        plan = make_plan(job, Path(temporary, INDEX))
        _try_encoder(plan, Path(temporary))
    parts = Parts(folder, plan.frames, job.part)
    script = plan.script().replace(temporary, str(folder))
    pipe = [plan.programs.vspipe, "-c", "y4m", SCRIPT, "-"]
    return (
        f"# {SCRIPT}\n{script}\n"
        f"# For each part ({len(parts)}, of up to {parts.size} frames); they are joined with what else the input has\n"
        f"{shlex.join(pipe)} | {shlex.join(plan.encode_command(parts.file(0)))}\n"
    )


def _check_paths(job: Job) -> None:
    check_file(job.source)
    output = job.output
    if job.ending not in FORMATS:
        raise VideoError(f"{output}: cannot write that kind of file; name it {', '.join(FORMATS)}")
    if output.is_dir():
        raise VideoError(f"{output} is a folder; name the file to write")
    if not output.parent.is_dir():
        raise VideoError(f"there is no folder {output.parent} to write to")
    if output.exists():
        if output.samefile(job.source):
            raise VideoError("input and output are the same file; give the output another name")
        if not job.force:
            raise VideoError(f"{output} exists already; --force overwrites it")


def _try_encoder(plan: Plan, folder: Path) -> None:
    """Encode one black frame: what ffmpeg or the kind of file refuses is known before the work, not after it."""
    assert plan.encoding.codec is not None
    check_codec(plan.programs.ffmpeg, plan.encoding.codec)
    job, sample = plan.job, folder / "sample.partial"
    header = y4m_header(plan.pipe_format, plan.source.size)
    try:
        run(plan.encode_command(sample), data=header + MARK + bytes(frame_bytes(header)))
        check_part(sample, 1)
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error
    for remark in companions.check(job.source, sample, job.ending, audio=job.audio, subtitles=job.subtitles):
        job.remark(remark)
    for remark in tags_left_out(job.source, job.ending):
        job.remark(remark)
    sample.unlink()


def _encode(plan: Plan, parts: Parts) -> Result:
    """Make the parts that are missing, or broken."""
    missing = [number for number in range(len(parts)) if not _is_whole(parts, number)]
    done = plan.frames - sum(map(parts.length, missing))
    # A folder of our own, whatever others may do to the output's: what vspipe runs must be what we wrote.
    with tempfile.TemporaryDirectory() as private, Progress(plan.job.source.name, plan.frames, done) as progress:
        script = Path(private, SCRIPT)
        script.write_text(plan.script(), encoding="utf-8")
        if missing and not is_configured(plan.programs.vspipe):
            configure()
        for stretch in _stretches(missing):
            with ScriptFrames(plan.programs.vspipe, script, first=stretch[0] * parts.size) as frames:
                for number in stretch:
                    count = parts.length(number)
                    with atomic_write(parts.file(number)) as partial:
                        encode(frames, count, plan.encode_command(partial), progress.frame)
                        check_part(partial, count)
                if stretch[-1] == len(parts) - 1:
                    frames.finish()
        return Result(frames=plan.frames, made=progress.count, seconds=progress.seconds, peak=progress.peak)


def _is_whole(parts: Parts, number: int) -> bool:
    """Whether a part is there with all its frames."""
    file = parts.file(number)
    if not file.exists():
        return False
    try:
        check_part(file, parts.length(number))
    except VideoError:
        return False
    return True


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
    files = [parts.file(number) for number in range(len(parts))]
    # Nothing is left of it after an error, since the parts are there.
    with atomic_write(job.output) as target:
        join(
            files,
            job.source,
            target,
            job.ending,
            plan.timing,
            plan.orientation,
            audio=job.audio,
            subtitles=job.subtitles,
        )
    remove(parts.folder)
