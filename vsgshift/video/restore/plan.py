"""What a restoration is to do, and what follows from that and from the film."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vsgshift._version import __version__
from vsgshift.parameters import HOW
from vsgshift.video.encoder import Colour, Encoding, aspect, default_codec, default_crf, knows_siting
from vsgshift.video.programs import Programs, deinterlace_first
from vsgshift.video.restore import parts as kept
from vsgshift.video.restore.container import Track, video_track
from vsgshift.video.restore.errors import RestoreError
from vsgshift.video.restore.mux import Shape, Timing
from vsgshift.video.restore.probe import UNKNOWN_RATE, Source, probe, source_call
from vsgshift.video.script import Filter, conversion, script_text

MACHINE = tuple(parameter.name for parameter in HOW if parameter.same)
"""Options of the filters that say how it is computed, not what: a run may go on with others."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done."""

    source: Path
    output: Path
    filters: tuple[Filter, ...]
    """Run one after the other."""
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
class Plan:
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
        """How many are wanted."""
        return self.stop - self.first

    @property
    def timing(self) -> Timing:
        """When they are shown."""
        stamps = self.source.timestamps
        end = stamps[self.stop] if self.stop < len(stamps) else stamps[-1] + self._last_duration
        shown = [*stamps[self.first : self.stop], end]
        cut = self.job.start is not None or self.job.end is not None
        return Timing(time_base=self.source.time_base, shown=shown, cut=cut)

    @property
    def shape(self) -> Shape:
        """How players are to turn the picture."""
        props = self.source.props
        return Shape(
            rotation=int(props.get("Rotation", 0)),
            flip_vertical=bool(props.get("FlipVertical", 0)),
            flip_horizontal=bool(props.get("FlipHorizontal", 0)),
        )

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


def make_plan(job: Job, index: Path) -> Plan:
    """Look at the film, and decide.

    Args:
        job: what is to be done.
        index: what BestSource's index files are named for.

    Raises:
        RestoreError: the film cannot be restored, or not in this stretch.
    """
    programs = Programs.find()
    track = video_track(job.source)
    source = probe(job.source, track.index, index)
    if source.interlaced:
        raise RestoreError(deinterlace_first(job.source))
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
    return Plan(job=job, programs=programs, source=source, first=first, stop=stop, encoding=encoding)


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
