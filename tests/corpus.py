"""A corpus of little films: every container, codec, time base, colour, field and fault that restoring knows.

Each is made by ffmpeg from test cards, the same each time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from films import film

SOUND = ("-f", "lavfi", "-i", "sine=duration=0.4:sample_rate=48000")


@dataclass(frozen=True)
class Entry:
    """A film, and what restoring it to Matroska may change, which it then must say."""

    name: str
    """Of the file; its ending is that of the container."""
    options: tuple[str, ...] = ()
    """ffmpeg's."""
    sound: bool = True
    says: tuple[str, ...] = ()
    """Words of the remarks that are expected, in order; none but these."""
    sizes: dict[str, str] = field(default_factory=dict)
    """Arguments of `film`: size and rate."""

    def make(self, folder: Path) -> Path:
        """The file."""
        inputs = SOUND if self.sound else ()
        return film(folder / self.name, *self.options, frames=10, inputs=inputs, **self.sizes)  # type: ignore[arg-type]


PLACED = "have no timestamp, or a wrong one"
FIELDS = "are flagged as interlaced, but do not look like it"


def entries() -> Iterator[Entry]:
    """All of them."""
    yuv = ("-pix_fmt", "yuv420p")
    for ending in ("mp4", "m4v", "mov", "mkv", "ts", "flv"):
        yield Entry(f"h264.{ending}", (*yuv, "-c:v", "libx264", "-bf", "2", "-c:a", "aac"))
    yield Entry("mpeg2.ts", (*yuv, "-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"))
    yield Entry("mpeg2.mpg", (*yuv, "-c:v", "mpeg2video", "-c:a", "mp2"), says=(PLACED,))
    yield Entry("mpeg4.avi", (*yuv, "-c:v", "mpeg4", "-c:a", "mp3"))
    yield Entry("mpeg4 b.avi", (*yuv, "-c:v", "mpeg4", "-bf", "2", "-c:a", "mp3"), says=(PLACED,))
    yield Entry("mjpeg.avi", ("-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-c:a", "pcm_u8"))
    yield Entry("wmv.wmv", (*yuv, "-c:v", "wmv2", "-c:a", "wmav2"))
    yield Entry("vp8.webm", (*yuv, "-c:v", "libvpx", "-c:a", "libvorbis"))
    yield Entry("vp9.webm", (*yuv, "-c:v", "libvpx-vp9", "-c:a", "libopus"))
    yield Entry("hevc.mkv", ("-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-c:a", "flac"))
    yield Entry("prores.mov", ("-pix_fmt", "yuv422p10le", "-c:v", "prores_ks", "-c:a", "pcm_s24le"))
    yield Entry(
        "dnxhr.mov", ("-pix_fmt", "yuv422p", "-c:v", "dnxhd", "-profile:v", "dnxhr_sq"), sizes={"size": "256x128"}
    )
    yield Entry("ffv1.mkv", (*yuv, "-c:v", "ffv1", "-c:a", "pcm_s16le"))
    yield Entry("late.mkv", (*yuv, "-output_ts_offset", "3600"))
    for rate in ("24000/1001", "30000/1001", "50", "0.5", "1000/7"):
        yield Entry(f"rate {rate.replace('/', ' ')}.mkv", yuv, sound=False, sizes={"rate": rate})
        yield Entry(f"rate {rate.replace('/', ' ')}.mp4", yuv, sound=False, sizes={"rate": rate})
    pause = "settb=1/1000,setpts='N*40+if(gt(N,5),700,0)'"
    for ending in ("mkv", "mp4"):
        vfr = ("-vf", pause, "-fps_mode", "vfr", "-enc_time_base", "1/1000")
        yield Entry(f"pause.{ending}", (*yuv, *vfr), sound=False)
    for matrix, primaries, transfer in (
        (1, 1, 1),
        (6, 6, 6),
        (5, 5, 6),
        (9, 9, 16),
        (9, 9, 18),
        (12, 9, 16),
        (14, 9, 16),
    ):
        tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}"
        # ffmpeg makes no film of full range with the rarer ones.
        for name, number in (("limited", "tv"), *([("full", "pc")] if matrix < 12 else [])):
            filters = ("-vf", f"format=yuv420p10le,{tags}:range={number}", "-c:v", "ffv1")
            yield Entry(f"colour {matrix} {transfer} {name}.mkv", filters, sound=False)
    for location in (1, 2, 3):
        sited = ("-vf", f"format=yuv420p,setparams=chroma_location={location}")
        yield Entry(f"siting {location}.mkv", (*sited, "-c:v", "ffv1"), sound=False)
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
    hdr = (
        "-c:v",
        "libx265",
        "-x265-params",
        f"log-level=error:hdr10=1:colorprim=9:transfer=16:colormatrix=9:{display}",
    )
    yield Entry("hdr10.mkv", ("-pix_fmt", "yuv420p10le", *hdr), sound=False)
    for format in ("yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"):
        yield Entry(f"{format}.mkv", ("-pix_fmt", format, "-c:v", "ffv1"), sound=False)
    for format in ("gray", "yuv411p", "yuv410p", "yuv440p", "yuv444p16le", "gbrp", "gbrp16le"):
        yield Entry(f"{format}.mkv", ("-pix_fmt", format, "-c:v", "ffv1"), sound=False, says=("the picture becomes",))
    for format in ("yuva444p", "gbrap"):
        yield Entry(f"{format}.mkv", ("-pix_fmt", format, "-c:v", "ffv1"), sound=False, says=("transparency",))
    for aspect in ("16/15", "64/45", "4/3"):
        yield Entry(f"aspect {aspect.replace('/', ' ')}.mp4", (*yuv, "-vf", f"setsar={aspect}"), sound=False)
    yield Entry("psf.mkv", (*yuv, "-vf", "setfield=tff", "-x264opts", "tff=1"), says=(FIELDS,))
