"""What goes into the output beside the picture: each stream as it is, or by the first other way that keeps its content.

A way is tried on a file in memory, with the stream's first packets: what a kind of file refuses is known before the
work, also where only its end would show it.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition, Stream

from vsgshift.errors import VideoError
from vsgshift.video.restore.container import FORMATS, add_copy, opened

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet

BESIDE = {"attachment": ("matroska",), "video": ("matroska", "mp4")}
"""The formats that hold attachments, and a cover picture besides the film."""
TRIED = 4
"""Packets of a stream with which a way is tried."""
SEARCHED = 400
"""Packets of the film among which these are looked for."""
LAYOUTS = {1: "mono", 2: "stereo"}
"""What players take sound for that does not name its channels."""
TEXT = {"subrip", "srt", "mov_text", "ass", "ssa", "webvtt", "text"}
"""Codecs of subtitles that are text."""
WRITTEN_AS = {"matroska": "subrip", "mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
"""How a format holds subtitles that are text."""
LOSSLESS = ("flac", "pcm_s16le")
"""Encoders for sound that no output holds as it is, the first that fits."""


class Copy:
    """A stream of the output that takes the packets of one of the source's as they are."""

    remark = ""
    """What is not as it was, as the end of a sentence."""

    def __init__(self, out: "OutputContainer", stream: Stream) -> None:
        """Add the stream. Raises ValueError or av.FFmpegError if the format does not hold it."""
        self.stream: Any = add_copy(out, stream)

    def take(self, packet: "Packet[Any]") -> Iterator["Packet[Any]"]:
        """What the output gets for a packet, whose times are the output's."""
        packet.stream = self.stream
        yield packet

    def finish(self) -> Iterator["Packet[Any]"]:
        """What it gets after the last one."""
        return iter(())


class NamedChannels(Copy):
    """The same for sound that does not name its channels, which MP4 wants to know."""

    def __init__(self, out: "OutputContainer", stream: Stream) -> None:
        super().__init__(out, stream)
        self.stream.codec_context.layout = LAYOUTS[stream.codec_context.channels]  # type: ignore[attr-defined]


class SameParameters(Copy):
    """The same for sound that Matroska holds under the numbers of WAV, as WMA and ADPCM, which PyAV does not know."""

    def __init__(self, out: "OutputContainer", stream: Stream) -> None:
        self.stream = out.add_mux_stream("pcm_s16le")
        # It filters nothing; setting it up copies all parameters of a stream.
        BitStreamFilterContext("null", stream, self.stream)
        self.stream.time_base = stream.time_base


class Reencoded(Copy):
    """Sound that no output holds, kept without loss in another form."""

    def __init__(self, out: "OutputContainer", stream: Any, codec: str) -> None:
        sound = stream.codec_context
        deep = sound.format is not None and sound.format.bytes > 2
        if codec == "pcm_s16le" and deep:
            codec = "pcm_s24le"
        self._source = sound
        self.stream = out.add_stream(codec, rate=sound.sample_rate)
        context = self.stream.codec_context
        context.format = "s32" if deep else "s16"
        context.layout = LAYOUTS.get(sound.channels, sound.layout.name)
        self._resampler = AudioResampler(format=context.format, layout=context.layout, rate=sound.sample_rate)
        self.remark = f"is converted from {sound.name} to {codec}, without loss"

    def take(self, packet: "Packet[Any] | None") -> Iterator["Packet[Any]"]:
        for frame in self._source.decode(packet):
            for resampled in self._resampler.resample(frame):
                yield from self.stream.encode(resampled)

    def finish(self) -> Iterator["Packet[Any]"]:
        yield from self.take(None)
        for resampled in (*self._resampler.resample(None), None):
            yield from self.stream.encode(resampled)


class Rewritten(Copy):
    """Subtitles that are text, in the form that the output holds."""

    def __init__(self, out: "OutputContainer", stream: Any) -> None:
        source = stream.codec_context
        if source.name not in TEXT:
            raise ValueError(f"{source.name} is no text")
        self._source = source
        source.open(strict=False)
        codec = WRITTEN_AS[out.format.name]
        self.stream = out.add_stream(codec, time_base=stream.time_base)
        self.stream.codec_context.subtitle_header = source.subtitle_header
        styles = ", without its styles" if source.name in ("ass", "ssa") else ""
        self.remark = f"is converted from {source.name} to {codec}{styles}"

    def take(self, packet: "Packet[Any]") -> Iterator["Packet[Any]"]:
        subtitle = self._source.decode2(packet)
        if subtitle is None or not len(subtitle):
            return
        written = self.stream.codec_context.encode_subtitle(subtitle)
        written.pts, written.dts, written.duration = packet.pts, packet.dts, packet.duration
        written.time_base, written.stream = packet.time_base, self.stream
        yield written


type Way = Callable[["OutputContainer", Any], Copy]


AS_IT_IS: tuple[Way, ...] = (Copy, NamedChannels, SameParameters)
OTHERWISE: dict[str, tuple[Way, ...]] = {
    "audio": tuple(partial(Reencoded, codec=codec) for codec in LOSSLESS),
    "subtitle": (Rewritten,),
}


def way(film: Path, stream: Stream, ending: str) -> Way | None:
    """How a stream of sound or subtitles of a film goes into a kind of file; None if it does not.

    It is changed only if that loses nothing but styles, and if no kind of file that we write holds it as it is.
    """
    format = FORMATS[ending]
    for each in AS_IT_IS:
        if _fits(film, stream, format, each):
            return each
    if stream.type == "audio" and any(_fits(film, stream, "matroska", each) for each in AS_IT_IS):
        return None
    return next((each for each in OTHERWISE[stream.type] if _fits(film, stream, format, each)), None)


def _fits(film: Path, stream: Stream, format: str, add: Way) -> bool:
    """Whether a file of a format can be written with a stream's first packets in it."""
    try:
        with opened(film) as source, av.open(io.BytesIO(), "w", format=format) as trial:
            own = source.streams[stream.index]
            copy = add(trial, own)
            trial.start_encoding()
            count = 0
            with suppress(av.EOFError):
                for number, packet in enumerate(source.demux()):
                    if count == TRIED or number == SEARCHED:
                        break
                    if packet.stream_index == own.index and packet.size and packet.pts is not None:
                        count += 1
                        packet.dts = packet.pts
                        for written in copy.take(packet):
                            trial.mux_one(written)
            for written in copy.finish():
                trial.mux_one(written)
    except (av.FFmpegError, OSError, ValueError, KeyError, VideoError):
        return False
    return True


def chosen(film: Any, *, audio: bool, subtitles: bool) -> tuple[list[Stream], list[str]]:
    """The streams that are wanted besides the picture, and remarks on those that are left out."""
    streams: list[Stream] = []
    remarks: list[str] = []
    pictures = 0
    for stream in film.streams:
        kind = stream.type
        if kind == "video":
            if stream.disposition & Disposition.attached_pic:
                streams.append(stream)
            else:
                pictures += 1
                remarks += [f"stream {stream.index} is a further video; it is left out"] if pictures > 1 else []
        elif (kind == "audio" and audio) or (kind == "subtitle" and subtitles) or kind == "attachment":
            streams.append(stream)
        elif kind not in ("audio", "subtitle") and not (kind == "data" and film.chapters()):
            # If there are chapters, MP4 has a data stream with their names.
            remarks.append(f"stream {stream.index} is {kind}; it is left out")
    return streams, remarks


def check(source: Path, sample: Path, ending: str, *, audio: bool, subtitles: bool) -> list[str]:
    """Find out early whether a kind of file can hold a sample from the encoder and the film's other streams.

    Returns remarks on what is left out, or not as it was. Raises VideoError if it cannot hold one of the streams.
    """
    with opened(source) as film, opened(sample) as encoded:
        if not _fits(sample, encoded.streams.video[0], FORMATS[ending], Copy):
            name = encoded.streams.video[0].codec_context.name
            raise VideoError(
                f"a {ending} file cannot hold {name} video; choose another --codec, or .mkv for the output"
            )
        streams, remarks = chosen(film, audio=audio, subtitles=subtitles)
        for stream in streams:
            name = stream.codec_context.name if stream.codec_context else "of a codec that is not known"
            if stream.type in ("audio", "subtitle"):
                form = way(source, stream, ending)
                if form is None:
                    leave = "audio" if stream.type == "audio" else "subtitles"
                    raise VideoError(
                        f"a {ending} file cannot hold stream {stream.index} ({name}); "
                        f"choose another ending, as .mkv, or leave it out with --no-{leave}"
                    )
                with av.open(io.BytesIO(), "w", format=FORMATS[ending]) as trial:
                    remark = form(trial, stream).remark
                remarks += [f"stream {stream.index} {remark}"] if remark else []
            elif FORMATS[ending] not in BESIDE[stream.type]:
                what = "a cover picture" if stream.type == "video" else "an attachment"
                remarks.append(f"stream {stream.index} is {what}, which {ending} files do not hold; it is left out")
    return remarks
