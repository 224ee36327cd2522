"""What a restoration is to do, and what follows from that and from the film."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vsgshift._version import __version__
from vsgshift.errors import ProgramError, VideoError
from vsgshift.video.encoder import Encoding, Tags, pixel_formats
from vsgshift.video.pixels import Passage, Pixels, passage
from vsgshift.video.programs import Programs
from vsgshift.video.restore.container import Track, has_captions, last_moment, video_track
from vsgshift.video.restore.machine import Machine, answer, encoder, examined
from vsgshift.video.restore.mux import Orientation, Timing
from vsgshift.video.restore.parts import MACHINE, PART_SIZE
from vsgshift.video.restore.probe import Source, probe
from vsgshift.video.script import FilterCall, script_text, source_options
from vsgshift.video.times import UNKNOWN_RATE, clock


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done."""

    source: Path
    output: Path
    filters: tuple[FilterCall, ...]
    """Run one after the other."""
    encoding: Encoding = field(default_factory=Encoding)
    """Of the picture."""
    start: float | None = None
    """Seconds from the beginning; None for it."""
    end: float | None = None
    """Seconds from the beginning; None for the film's end."""
    stated: dict[str, int] = field(default_factory=dict)
    """Frame properties that hold instead of the file's, as `_Matrix`."""
    progressive: bool = False
    """Whether frames are not interlaced, whatever they look like."""
    audio: bool = True
    subtitles: bool = True
    part: int | None = None
    """Frames in a part; a run that is stopped loses at most as many. None for a minute of work, as measured."""
    stretch: tuple[int, int] | None = None
    """Which of how many stretches to make, the first one is 1, beside others who make theirs; None for the whole."""
    join: bool = False
    """Whether to join what such runs have made, and make nothing."""
    cluster: str | None = None
    """The address of a Ray cluster whose nodes make the parts; None for this machine."""
    mixed: bool = False
    """Whether machines may differ in what frames depend on."""
    force: bool = False
    resume: bool = False
    remark: Callable[[str], None] = field(default=lambda text: None, compare=False)
    """Called with lines that the user should read."""

    @property
    def ending(self) -> str:
        """Of the output's name, as .mp4."""
        return self.output.suffix.lower()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known once the source has been opened."""

    job: Job
    programs: Programs
    source: Source
    track: Track
    first: int
    """The first frame wanted."""
    stop: int
    """One after the last."""
    encoding: Encoding
    """The job's, with nothing left open."""
    index: Path
    """What BestSource's index files are named for."""
    machine: Machine
    """On which frames are made."""

    @property
    def frames(self) -> int:
        """How many are wanted."""
        return self.stop - self.first

    @property
    def timing(self) -> Timing:
        """When they are shown."""
        times = self.source.times
        ticks = times.ticks
        end = ticks[self.stop] if self.stop < len(ticks) else ticks[-1] + self._last_duration
        cut = self.job.start is not None or self.job.end is not None
        shown = [*ticks[self.first : self.stop], end]
        return Timing(time_base=times.time_base, shown=shown, cut=cut, jumps=[shift for _, shift in times.jumps])

    @property
    def orientation(self) -> Orientation:
        """How players are to turn the picture."""
        props = self.source.props
        return Orientation(
            rotation=int(props.get("Rotation", 0)),
            flip_vertical=bool(props.get("FlipVertical", 0)),
            flip_horizontal=bool(props.get("FlipHorizontal", 0)),
        )

    @property
    def _last_duration(self) -> int:
        times = self.source.times
        if len(times.ticks) > 1:
            return times.ticks[-1] - times.ticks[-2]
        return max(round(1 / (self.source.fps or UNKNOWN_RATE) / times.time_base), 1)

    @property
    def _rate(self) -> list[str]:
        """The lines that give the clip a rate where the file's own is wrong, for the encoder to budget by."""
        source, times = self.source, self.source.times
        if source.fps and not times.placed and not times.jumps:
            return []
        seen = 1 / (times.step * times.time_base) if times.step else UNKNOWN_RATE
        # Ticks are coarse: a rate that is claimed is exact, if it is about what is seen.
        claims = [rate for rate in (self.track.rate, source.fps) if abs(rate - seen) < seen / 20]
        rate = claims[0] if claims else seen.limit_denominator(1001)
        return [f"clip = clip.std.AssumeFPS(fpsnum={rate.numerator}, fpsden={rate.denominator})"]

    @property
    def pixels(self) -> Pixels:
        """The frames, as they come from the filters."""
        source = self.source
        return Pixels(
            family=source.family,
            format=source.format,
            bits=source.bits,
            is_float=source.is_float,
            size=source.size,
            alpha=source.alpha,
        )

    @property
    def passage(self) -> Passage:
        """How they go through the pipe."""
        assert self.encoding.codec is not None
        return passage(self.pixels, self.encoding.codec, pixel_formats(self.programs.ffmpeg, self.encoding.codec))

    def script(self) -> str:
        """The VapourSynth script."""
        source, through = self.source, self.passage
        after = list(through.after)
        if (self.first, self.stop) != (0, source.frames):
            # After the filters: the frames at its ends have neighbours to draw on.
            after.insert(0, f"clip = clip[{self.first}:{self.stop}]")
            if source.alpha:
                after.insert(1, f"alpha = alpha[{self.first}:{self.stop}]")
        stated = ", ".join(f"{name}={value}" for name, value in self.job.stated.items())
        return script_text(
            header=["Written by vsgshift restore; what runs it is the command that --dry-run prints."],
            file=source.path,
            options=source_options(source.track, self.index),
            # Flags of fields, which are wrong by now, would make resizers treat them apart.
            before=[
                "clip = clip.std.SetFieldBased(0)",
                *self._rate,
                *([f"clip = clip.std.SetFrameProps({stated})"] if stated else []),
                *through.before,
            ],
            filters=self.job.filters,
            after=after,
        )

    def encode_command(self, target: Path) -> list[str]:
        """The command that encodes a part, and reads Y4M from stdin."""
        through = self.passage
        was_rgb = self.source.family == "RGB" and not through.is_rgb
        tags = Tags(self.source.props, was_rgb=was_rgb, is_rgb=through.is_rgb)
        return self.encoding.command(self.programs.ffmpeg, tags, target, filters=through.filters)

    def state(self, part: int, sample: Path | None) -> dict[str, Any]:
        """All that the frames of the output depend on, by the names that the user gave it.

        ``part`` are frames in a part; ``sample`` is a film of one frame, encoded as the others are; None if this
        machine makes none.
        """
        file = self.job.source.stat()
        return {
            "version": __version__,
            "input": str(self.source.path),
            "the input's size": file.st_size,
            "the input's time of change": file.st_mtime_ns,
            PART_SIZE: part,
            "range of frames": [self.first, self.stop],
            "stated": self.job.stated,
            "filters": [{"task": call.task, **call.settings} for call in self.job.filters],
            **asdict(self.encoding),
            MACHINE: self.machine.known | (encoder(self.programs.ffmpeg, sample) if sample else {}),
        }


def make_plan(job: Job, index: Path, *, frames_here: bool) -> Plan:
    """Look at the film, and decide; ``index`` is what BestSource's index files are named for, ``frames_here`` whether
    this machine makes frames, so that the plan tells what they depend on.

    Raises VideoError if the film cannot be restored, or not in this stretch; MissingProgramError.
    """
    programs = Programs.find()
    track = video_track(job.source)
    with examined(job.filters if frames_here else ()) as examination:
        source = probe(job.source, track.index, index, job.stated, progressive=job.progressive)
        machine = Machine()
        # If that failed, the filters will say why.
        with suppress(ProgramError):
            machine = answer(examination)
    if track.aspect:
        # The container's word goes before the codec's, as in players.
        source.props.update(_SARNum=track.aspect.numerator, _SARDen=track.aspect.denominator)
    first = 0 if job.start is None else source.times.first_from(job.start)
    stop = source.frames if job.end is None else source.times.first_from(job.end)
    if first >= stop:
        last = float(source.times.seconds(source.frames - 1))
        raise VideoError(f"there is no frame between --start and --end; the last one is at {last:.3f} s")
    encoding = job.encoding.completed(job.ending, source.bits)
    for remark in _remarks(job, source, track, encoding):
        job.remark(remark)
    return Plan(
        job=job,
        programs=programs,
        source=source,
        track=track,
        first=first,
        stop=stop,
        encoding=encoding,
        index=index,
        machine=machine,
    )


def _remarks(job: Job, source: Source, track: Track, encoding: Encoding) -> Iterator[str]:
    """What is not as the user may think."""
    assert encoding.codec is not None
    if lost := Tags(source.props).lost(encoding.codec):
        yield lost
    if has_captions(job.source, track.index):
        yield "closed captions in the picture are not carried over"
    if source.dynamic:
        yield "dynamic HDR metadata (Dolby Vision, HDR10+) is not carried over"
    if source.size != track.size:
        across, down = track.size
        now = f"{source.width}x{source.height}"
        yield f"the picture is {across}x{down}, which its format does not divide; it becomes {now}"
    if source.flagged:
        yield "frames are flagged as interlaced, but do not look like it; they are restored as progressive"
    if source.combed > 1:
        seen = f"{source.combed} frames look interlaced, the first at {source.combed_at:.1f} s"
        yield f"{seen}, but are not flagged; if they are, deinterlace the film first"
    times = source.times
    if not times.stamped and not source.fps:
        yield f"the film says neither when its frames are shown nor at what rate; {UNKNOWN_RATE} frames/s are taken"
    if times.placed:
        frames = f"{times.placed} of {source.frames} frames have no timestamp, or a wrong one"
        yield f"{frames}; they are placed between the others"
    if times.jumps:
        at = [clock(times.seconds(number)) for number, _ in times.jumps]
        where = f"{', '.join(at[:3])}{f' and {len(at) - 3} times more' if len(at) > 3 else ''}"
        yield f"the clock of the film is set anew at {where}; what follows is shown right after what comes before"
    ends = float((times.ticks[-1] + times.step) * times.time_base)
    # A film may well have more sound than pictures; what is missing lacks both.
    if track.end - ends > max(2.0, track.end / 20) and track.end - (last := last_moment(job.source)) > 2:
        claim = f"the film should last until {track.end:.0f} s, but ends at {max(last, ends):.0f} s"
        yield f"{claim}; is the file complete?"
