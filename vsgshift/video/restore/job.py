"""A restoration from the first look at the file to the last rename."""

import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vsgshift.errors import ProgramError, VideoError, VsgshiftError
from vsgshift.files import atomic_write
from vsgshift.processes import run
from vsgshift.video.clip import check_file, check_name
from vsgshift.video.encoder import check_codec
from vsgshift.video.pipe import MARK, ScriptFrames, encode, frame_bytes, y4m_header
from vsgshift.video.pixels import USUAL, has_alpha, loses
from vsgshift.video.programs import Programs, make_configured
from vsgshift.video.restore import companions
from vsgshift.video.restore.container import FORMATS, pixel_format
from vsgshift.video.restore.forecast import forecast
from vsgshift.video.restore.machine import answer, examined
from vsgshift.video.restore.mux import check_part, join, tags_left_out
from vsgshift.video.restore.parts import (
    INDEX,
    MOST_FRAMES,
    PART_SECONDS,
    Parts,
    begin,
    kept_size,
    make_way,
    part_size,
    parts_folder,
    remove,
    working_folder,
)
from vsgshift.video.restore.plan import Job, Plan, make_plan
from vsgshift.video.restore.progress import Progress

__all__ = ["Job", "Result", "commands", "is_finished", "restore"]

SCRIPT = "script.vpy"
CONTEXT = 0.02
"""Frames that a stretch needs of its neighbours, of its own, which are not worth a word."""
LATE = 90.0
"""Seconds after which a file that another machine has made is there to be seen, as in NFS with its usual settings."""


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


class NodeError(VideoError):
    """What keeps one node of a cluster from making any frames of the film; others may be able to."""


def restore(job: Job) -> Result:
    """Do the job. Raises VsgshiftError, which says in one line what stands in its way; what is finished is kept."""
    _check_paths(job)
    shared = job.stretch is not None
    with working_folder(job.output, shared=shared) as folder:
        if not shared:
            make_way(folder, resume=job.resume or job.join, force=job.force)
        plan = make_plan(job, folder / INDEX, frames_here=not (job.join or job.cluster))
        with tempfile.TemporaryDirectory() as private:
            sample = Path(private, "sample")
            if not job.join:
                try_encoder(plan, sample)
            try:
                if job.join:
                    result, parts = _made(plan, folder)
                elif job.cluster:
                    result, parts = _encode_there(plan, folder, job.cluster)
                else:
                    result, parts = _encode(plan, folder, sample)
                if not shared:
                    _finish(plan, parts)
            except (VsgshiftError, OSError) as error:
                raise _with_advice(error, folder) from error
    return result


def _with_advice(error: VsgshiftError | OSError, folder: Path) -> VsgshiftError:
    """The error with what to do about it."""
    if isinstance(error, OSError) and not isinstance(error, VsgshiftError):
        # Errors of the system, such as a full disk; one without a file name is of that folder.
        error = VideoError(f"{error.filename or folder}: {error.strerror or error}")
    if getattr(error, "advice", "") or not any(folder.glob("*.mkv")):
        return error
    return VideoError(str(error), advice="what is finished is kept: --resume goes on")


def commands(job: Job) -> str:
    """What `restore` would run, as text: the script, and the commands of a shell. Nothing is left of it."""
    _check_paths(job)
    folder = parts_folder(job.output)
    with tempfile.TemporaryDirectory() as temporary:
        plan = make_plan(job, Path(temporary, INDEX), frames_here=False)
        try_encoder(plan, Path(temporary, "sample"))
    first = Parts(folder, plan.frames, plan.frames).file(0)
    length = f"{job.part} frames" if job.part else f"what takes {PART_SECONDS} seconds"
    script = plan.script().replace(repr(temporary)[1:-1], repr(str(folder))[1:-1])
    pipe = [plan.programs.vspipe, "-c", "y4m", SCRIPT, "-"]
    return (
        f"# {SCRIPT}\n{script}\n"
        f"# For each part ({length}); they are joined with what else the input has\n"
        f"{shlex.join(pipe)} | {shlex.join(plan.encode_command(first))}\n"
    )


def is_finished(job: Job) -> bool:
    """Whether the output is there, newer than its source, and nothing is left of an unfinished run."""
    output, source = job.output, job.source
    if not (output.is_file() and source.is_file()) or output.samefile(source) or parts_folder(output).exists():
        return False
    return output.stat().st_mtime >= source.stat().st_mtime


def _check_paths(job: Job) -> None:
    check_file(job.source)
    output = job.output
    check_name(output)
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


def try_encoder(plan: Plan, sample: Path) -> None:
    """Encode one black frame: what ffmpeg or the kind of file refuses is known before the work, not after it."""
    assert plan.encoding.codec is not None
    check_codec(plan.programs.ffmpeg, plan.encoding.codec)
    job = plan.job
    header = y4m_header(plan.passage.format, plan.passage.size)
    try:
        run(plan.encode_command(sample), data=header + MARK + bytes(frame_bytes(header)))
        check_part(sample, 1)
        for remark in _changed(plan, pixel_format(sample)):
            job.remark(remark)
    except ProgramError as error:
        raise VideoError(f"ffmpeg: {error}") from error
    for remark in companions.check(job.source, sample, job.ending, audio=job.audio, subtitles=job.subtitles):
        job.remark(remark)
    for remark in tags_left_out(job.source, job.ending):
        job.remark(remark)


def _changed(plan: Plan, written: str) -> Iterator[str]:
    """A remark if the output's pixels hold less than the source's; ``written`` is ffmpeg's name of their format."""
    pixels = plan.pixels
    if not loses(pixels.name, written):
        return
    advice = ""
    if plan.encoding.codec != "ffv1" and pixels.subsampling not in USUAL:
        advice = f"; --codec ffv1 keeps it{'' if plan.job.ending in ('.mkv', '.mov') else ', in .mkv'}"
    lost = "the picture's transparency is left out and it" if pixels.alpha and not has_alpha(written) else "the picture"
    yield f"{lost} becomes {written}, from {pixels.name}{advice}"


def _encode(plan: Plan, folder: Path, sample: Path) -> tuple[Result, Parts]:
    """Make the parts that are missing, or broken: of the film, or of a stretch."""
    job, missing, parts = plan.job, [0], None
    size = job.part or kept_size(folder)
    if job.stretch and size is None:
        size = measured_size(plan, plan.frames * (job.stretch[0] - 1) // job.stretch[1])
    if size:
        parts = begun(plan, folder, size, sample)
        missing = _missing(parts, job)
    numbers = parts.stretch(*job.stretch) if parts and job.stretch else None
    total = plan.frames if parts is None or numbers is None else sum(map(parts.length, numbers))
    left = plan.frames if parts is None else sum(map(parts.length, missing))
    if numbers and (remark := _context(plan, total)):
        job.remark(remark)
    with Progress(job.source.name, total, total - left) as progress, ExitStack() as running:
        frames: ScriptFrames | None = None
        if left:
            frames = running.enter_context(script_frames(plan, missing[0] * (size or 0)))
            first = left if parts is None else sum(map(parts.length, next(_stretches(missing))))
            pace = frames.pace(first)
            if remark := forecast(plan, pace, left, progress.memory()):
                job.remark(remark)
            if parts is None:
                parts = begun(plan, folder, part_size(pace), sample)
                missing = _missing(parts, job)
        assert parts is not None
        # Others may be faster: what is missing is looked for again before each stretch.
        while missing := parts.missing(missing):
            stretch = next(_stretches(missing))
            if frames is None or frames.first != stretch[0] * parts.size:
                running.close()
                frames = running.enter_context(script_frames(plan, stretch[0] * parts.size))
            for _ in make(plan, parts, stretch, frames, progress.frame):
                pass
            running.close()
            frames = None
        result = Result(frames=plan.frames, made=progress.count, seconds=progress.seconds, peak=progress.peak)
        return result, parts


def _encode_there(plan: Plan, folder: Path, address: str) -> tuple[Result, Parts]:
    """Have the parts that are missing, or broken, made by a cluster."""
    from vsgshift.video.restore.cluster import Cluster

    job, kept = plan.job, kept_size(folder)
    if kept:
        # Other options are refused here, not by each node.
        begun(plan, folder, job.part or kept)
    with closing(Cluster(address, plan, folder)) as cluster:
        parts = Parts(folder, plan.frames, job.part or kept or cluster.measured())
        missing = _missing(parts, job)
        left = sum(map(parts.length, missing))
        with Progress(job.source.name, plan.frames, plan.frames - left) as progress:
            for number in cluster.make(parts.size, missing):
                progress.frame(parts.length(number))
            result = Result(frames=plan.frames, made=progress.count, seconds=progress.seconds, peak=progress.peak)
    # Networks may show a new name late.
    ends = time.monotonic() + LATE
    while parts.missing(range(len(parts))) and time.monotonic() < ends:
        time.sleep(1)
    return result, parts


def work(plan: Plan, folder: Path, size: int, numbers: Sequence[int]) -> Iterator[int]:
    """What a node of a cluster does: make parts that follow each other, and give the number of each that is there; if
    none is named, measure and give the frames in a part, at most ``size``.

    Raises VideoError; NodeError if it makes other frames than the others, or none of any film.
    """
    with tempfile.TemporaryDirectory() as private:
        sample = Path(private, "sample")
        try:
            with examined(plan.job.filters) as examination:
                plan = replace(plan, programs=Programs.find())
                try_encoder(plan, sample)
                plan = replace(plan, machine=answer(examination))
            parts = begun(plan, folder, size, sample) if numbers else None
        except (VsgshiftError, OSError) as error:
            raise NodeError(str(error)) from None
        if parts is None:
            yield begun(plan, folder, measured_size(plan, 0, size), sample).size
            return
    with script_frames(plan, numbers[0] * size) as frames:
        yield from make(plan, parts, numbers, frames, lambda: None)


def measured_size(plan: Plan, first: int, most: int = MOST_FRAMES) -> int:
    """Frames in a part, by the pace at which some come from one on; at most ``most``."""
    with script_frames(plan, first) as frames:
        return min(part_size(frames.pace(plan.frames - first)), most)


@contextmanager
def script_frames(plan: Plan, first: int) -> Iterator[ScriptFrames]:
    """The plan's frames from one on."""
    # A folder of our own, whatever others may do to the output's: what vspipe runs must be what we wrote.
    with tempfile.TemporaryDirectory() as private:
        script = Path(private, SCRIPT)
        script.write_text(plan.script(), encoding="utf-8")
        make_configured(plan.programs.vspipe)
        with ScriptFrames(plan.programs.vspipe, script, first=first) as frames:
            yield frames


def make(
    plan: Plan, parts: Parts, numbers: Sequence[int], frames: ScriptFrames, passed: Callable[[], None]
) -> Iterator[int]:
    """Make parts that follow each other, by frames that begin with theirs, as far as no one else has; gives the number
    of each that is there. ``passed`` is called after each frame."""
    behind = False
    for number in numbers:
        if not parts.missing([number]):
            behind = True
            yield number
            continue
        if behind:
            return
        count = parts.length(number)
        with atomic_write(parts.file(number)) as partial:
            encode(frames, count, plan.encode_command(partial), passed)
            check_part(partial, count)
        yield number
    if numbers[-1] == len(parts) - 1 and not behind:
        frames.finish()


def _made(plan: Plan, folder: Path) -> tuple[Result, Parts]:
    """The parts, all of which must have been made. Raises VideoError if not."""
    size = kept_size(folder)
    if size is None:
        raise VideoError("no part of it has been made", advice="make them with --stretch first")
    parts = begun(plan, folder, plan.job.part or size)
    if missing := _missing(parts, plan.job):
        first = missing[0] * parts.size
        raise VideoError(
            f"{len(missing)} of {len(parts)} parts are missing, the first of them from frame {first} on",
            advice="run the same --stretch again for those that have not ended well; what is there is kept",
        )
    return Result(frames=plan.frames, made=0, seconds=0.0, peak=0), parts


def begun(plan: Plan, folder: Path, size: int, sample: Path | None = None) -> Parts:
    """The parts of a run that begins, or goes on as the one before it did.

    ``size`` are frames in one; if that was measured, whoever comes first decides. ``sample``: see `Plan.state`.
    """
    job = plan.job
    mixed = job.mixed or sample is None
    return Parts(folder, plan.frames, begin(folder, plan.state(size, sample), measured=job.part is None, mixed=mixed))


def _missing(parts: Parts, job: Job) -> list[int]:
    """The numbers of the parts that the job asks for and that are not there; broken ones are removed."""
    numbers = parts.stretch(*(job.stretch or (1, 1)))
    for number in numbers:
        file = parts.file(number)
        if file.exists():
            try:
                check_part(file, parts.length(number))
            except VideoError:
                file.unlink(missing_ok=True)
    return parts.missing(numbers)


def _context(plan: Plan, frames: int) -> str:
    """A remark on what a stretch of that many frames costs by its ends, if that is much; else nothing."""
    context = 2 * plan.machine.reach
    if context <= CONTEXT * frames:
        return ""
    fewer = max(int(plan.frames * CONTEXT / context), 1)
    share = context * fewer / plan.frames
    return (
        f"a stretch of {frames} frames needs {context} more of its neighbours, {context / frames:.0%}; "
        f"with N = {fewer} it would be {share:.0%}"
    )


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
