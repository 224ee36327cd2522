"""A restoration from the first look at the file to the last rename."""

import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import run
from typing import Any

from vsgshift._version import __version__
from vsgshift.restoring import parts as kept
from vsgshift.restoring.encoder import Colour, Encoding, aspect, check_codec, default_codec, default_crf, knows_siting
from vsgshift.restoring.errors import RestoreError
from vsgshift.restoring.meter import Meter
from vsgshift.restoring.mux import FORMATS, Shape, Timing, Track, check_container, join, video_track
from vsgshift.restoring.parts import Parts
from vsgshift.restoring.pipe import Frames
from vsgshift.restoring.programs import Programs, last_line
from vsgshift.restoring.script import Filter, conversion, script_text
from vsgshift.restoring.source import UNKNOWN_RATE, Source, check_file, probe, source_call

MACHINE = ("device_id", "block")
"""Options of the filters that say how it is computed, not what: a run may go on with others."""
PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done."""

    source: Path
    output: Path
    filters: tuple[Filter, ...]
    """Run one after the other."""
    scenes: bool = True
    """Mark scene changes before."""
    start: float | None = None
    """Seconds from the beginning; None for it."""
    end: float | None = None
    """Seconds from the beginning; None for the film's end."""
    codec: str | None = None
    """None: by the ending and the bits of the source."""
    crf: float | None = None
    """None: the default of the codec."""
    preset: str | None = None
    options: tuple[str, ...] = ()
    """For ffmpeg."""
    audio: bool = True
    subtitles: bool = True
    part: int = kept.PART_FRAMES
    """Frames in a part; a run that is stopped loses at most as many."""
    force: bool = False
    resume: bool = False
    remark: Callable[[str], None] = field(default=lambda text: None, compare=False)
    """Called with lines that the user should read."""


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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is known once the source has been looked at."""

    job: Job
    programs: Programs
    source: Source
    first: int
    """The first frame wanted."""
    stop: int
    """One behind the last."""
    encoding: Encoding

    @property
    def frames(self) -> int:
        return self.stop - self.first

    @property
    def timing(self) -> Timing:
        stamps = self.source.timestamps
        end = stamps[self.stop] if self.stop < len(stamps) else stamps[-1] + self._last_duration
        shown = [*stamps[self.first : self.stop], end]
        cut = self.job.start is not None or self.job.end is not None
        return Timing(time_base=self.source.time_base, shown=shown, cut=cut)

    @property
    def _last_duration(self) -> int:
        stamps = self.source.timestamps
        if len(stamps) > 1:
            return stamps[-1] - stamps[-2]
        return max(round(1 / (self.source.fps or UNKNOWN_RATE) / self.source.time_base), 1)

    def script(self) -> str:
        """The VapourSynth script."""
        source, parts = self.source, kept.parts_folder(self.job.output)
        size = source.width, source.height
        after = conversion(source.family, source.is_float, size)
        if (self.first, self.stop) != (0, source.frames):
            # Behind the filters: the frames at its ends have neighbours to draw on.
            after.insert(0, f"clip = clip[{self.first}:{self.stop}]")
        rate = [] if source.fps else [f"clip = clip.std.AssumeFPS(fpsnum={UNKNOWN_RATE})"]
        return script_text(
            header=["Written by vsgshift restore; what runs it is the command that --dry-run prints."],
            source=source_call(source.path, source.track, parts / "index"),
            before=rate,
            filters=self.job.filters,
            after=after,
            scenes=self.job.scenes and bool(self.job.filters),
        )

    def ffmpeg(self, target: Path, container: str = "matroska") -> list[str]:
        """The command that encodes a part."""
        colour = Colour(self.source.props, is_rgb=self.source.family == "RGB")
        tags = [colour.filters(siting=knows_siting(self.programs.ffmpeg)), *aspect(self.source.props)]
        return self.encoding.command(self.programs.ffmpeg, ",".join(tags), colour, str(target), container)

    def state(self) -> dict[str, Any]:
        """All that the frames of the output depend on, by the names that the user gave it."""
        told = self.job.source.stat()
        filters = [
            {"task": call.task, **{key: value for key, value in call.options.items() if key not in MACHINE}}
            for call in self.job.filters
        ]
        return {
            "version": __version__,
            "input": str(self.source.path),
            "the input's size": told.st_size,
            "the input's time of change": told.st_mtime_ns,
            "frames of a part": self.job.part,
            "range of frames": [self.first, self.stop],
            "filters": filters,
            "the models' files": [_model_file(call) for call in self.job.filters],
            "marking of scene changes": self.job.scenes,
            **asdict(self.encoding),
            "ffmpeg": self.programs.ffmpeg,
        }


def _model_file(call: Filter) -> list[int] | None:
    """Size and time of change of a model that is a file."""
    model = call.options.get("model")
    if not isinstance(model, str) or not Path(model).is_file():
        return None
    told = Path(model).stat()
    return [told.st_size, told.st_mtime_ns]


def restore(job: Job) -> Result:
    """Do the job.

    Raises:
        RestoreError: in one line, what stands in its way; what is finished is kept.
    """
    _check_paths(job)
    with kept.working_folder(job.output):
        if not job.resume:
            kept.refuse_unfinished(job.output, afresh=job.force)
        plan = _plan(job, kept.index_name(job.output))
        parts = Parts(job.output, plan.frames, job.part)
        _try_encoder(plan, kept.parts_folder(job.output))
        kept.begin(job.output, plan.state(), resume=job.resume)
        parts.script.write_text(plan.script(), encoding="utf-8")
        result = _encode(plan, parts)
        _finish(plan, parts)
    return result


def commands(job: Job) -> str:
    """What `restore` would run, as text: the script, and the commands of a shell. Nothing is left behind."""
    _check_paths(job)
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(job, Path(folder) / "index")
        _try_encoder(plan, Path(folder))
    parts = Parts(job.output, plan.frames, job.part)
    pipe = [plan.programs.vspipe, "-c", "y4m", str(parts.script), "-"]
    return (
        f"# {parts.script}\n{plan.script()}\n"
        f"# {plan.frames} frames, {len(parts)} parts of up to {parts.size}, joined with what else the input has\n"
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


def _plan(job: Job, index: Path) -> _Plan:
    programs = Programs.find()
    track = video_track(job.source)
    source = probe(job.source, track.index, index)
    if source.interlaced:
        raise RestoreError(
            f"{job.source} is interlaced; deinterlace it first, as with: "
            f"ffmpeg -i {shlex.quote(str(job.source))} -vf bwdif -c:v ffv1 -c:a copy progressive.mkv"
        )
    first = 0 if job.start is None else source.first_from(job.start)
    stop = source.frames if job.end is None else source.first_from(job.end)
    if first >= stop:
        length = (source.timestamps[-1] - source.timestamps[0]) * source.time_base
        raise RestoreError(f"there is no frame between --start and --end; the last one is at {float(length):.3f} s")
    codec = job.codec or default_codec(job.output.suffix.lower(), source.bits)
    crf = default_crf(codec) if job.crf is None else job.crf
    encoding = Encoding(codec=codec, crf=crf, preset=job.preset, options=job.options)
    for remark in (Colour(source.props).lost(codec), *_remarks(source, track)):
        if remark:
            job.remark(remark)
    return _Plan(job=job, programs=programs, source=source, first=first, stop=stop, encoding=encoding)


def _remarks(source: Source, track: Track) -> Iterator[str]:
    """What is not as the user may think."""
    if source.dynamic:
        yield "dynamic HDR metadata (Dolby Vision, HDR10+) is not carried over"
    if (source.width, source.height) != track.size:
        across, down = track.size
        now = f"{source.width}x{source.height}"
        yield f"the picture is {across}x{down}, which its format does not divide; it becomes {now}"
    length = float((source.timestamps[-1] - source.timestamps[0]) * source.time_base)
    if track.seconds - length > max(2.0, track.seconds / 20):
        told = f"the film should last {track.seconds:.0f} s, but its picture ends at {length:.0f} s"
        yield f"{told}; is the file complete?"


def _try_encoder(plan: _Plan, folder: Path) -> None:
    """Encode one grey frame: what ffmpeg or the kind of file refuses is known before the work, not after it."""
    check_codec(plan.programs.ffmpeg, plan.encoding.codec)
    source, sample = plan.source, folder / f"sample.mkv{kept.UNFINISHED}"
    kind = "gray" if source.family == "GRAY" else "yuv420p"
    header = (
        f"YUV4MPEG2 C{'mono' if kind == 'gray' else '420'} W{source.width // 2 * 2} H{source.height // 2 * 2} F25:1\n"
    )
    pixels = (source.width // 2 * 2) * (source.height // 2 * 2)
    frame = b"FRAME\n" + bytes([128]) * (pixels if kind == "gray" else pixels * 3 // 2)
    done = run(plan.ffmpeg(sample), input=header.encode() + frame, capture_output=True)
    if done.returncode:
        raise RestoreError(f"ffmpeg: {last_line(done.stderr, done.returncode)}")
    job = plan.job
    ending = job.output.suffix.lower()
    for remark in check_container(job.source, sample, ending, audio=job.audio, subtitles=job.subtitles):
        job.remark(remark)
    sample.unlink()


def _encode(plan: _Plan, parts: Parts) -> Result:
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


def _finish(plan: _Plan, parts: Parts) -> None:
    """Join the parts under another name, then give the file its own."""
    job, props = plan.job, plan.source.props
    shape = Shape(
        rotation=int(props.get("Rotation", 0)),
        flip_vertical=bool(props.get("FlipVertical", 0)),
        flip_horizontal=bool(props.get("FlipHorizontal", 0)),
    )
    files = [(parts.file(number), parts.length(number)) for number in range(len(parts))]
    with _partial(job.output) as target:
        join(
            files,
            job.source,
            target,
            job.output.suffix.lower(),
            plan.timing,
            shape,
            audio=job.audio,
            subtitles=job.subtitles,
        )
        kept.flush(target)
        target.replace(job.output)
    kept.discard(job.output)


@contextmanager
def _partial(output: Path) -> Iterator[Path]:
    """A name for what is not whole yet; nothing is left of it after an error, since the parts are there."""
    target = output.with_name(output.name + PARTIAL)
    try:
        yield target
    finally:
        target.unlink(missing_ok=True)
