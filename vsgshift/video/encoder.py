"""The ffmpeg command that encodes, and the tags that Y4M does not carry."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vsgshift.errors import VideoError
from vsgshift.h273 import BT709, IDENTITY, UNSPECIFIED
from vsgshift.processes import run

FULL_RANGE = 1
"""VapourSynth's number for it in `_Range`."""
QUALITY = {"libx264": 16, "libx265": 18, "libsvtav1": 24, "libaom-av1": 20, "libvpx-vp9": 20}
"""The CRF if none is asked for: hard to tell from the restored frames."""
PARAMETERS = {
    "libx264": ("-x264-params", "mastering-display", "cll"),
    "libx265": ("-x265-params", "master-display", "max-cll"),
}
"""By encoder: ffmpeg's option for its own parameters, and their names of a mastering display and of a light level."""
FILTERS = ("-vf", "-filter:v", "-filter")
"""ffmpeg's options for filters."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the restored frames are encoded."""

    codec: str | None = None
    """ffmpeg's name of the encoder; None to choose one by the file's ending and the bits of the source."""
    crf: float | None = None
    """Quality; None for the default of the encoder."""
    preset: str | None = None
    options: tuple[str, ...] = ()
    """Further options for ffmpeg, as it takes them."""

    def completed(self, ending: str, bits: int) -> "Encoding":
        """The same with what was left open chosen, for a file's ending and the bits of a sample.

        H.264 plays everywhere, but with more than 8 bits hardly anywhere: HEVC does. WebM holds neither.
        """
        codec = self.codec or ("libvpx-vp9" if ending == ".webm" else "libx264" if bits == 8 else "libx265")
        return replace(self, codec=codec, crf=QUALITY.get(codec) if self.crf is None else self.crf)

    def command(
        self, ffmpeg: str, tags: "Tags", target: Path, *, filters: str = "", container: str = "matroska"
    ) -> list[str]:
        """ffmpeg's command, which reads Y4M from stdin, applies filters and tags, and writes a file in a container."""
        assert self.codec is not None
        command = [ffmpeg, "-y", "-loglevel", "error", "-f", "yuv4mpegpipe", "-i", "-"]
        own, parameters, options = self._split()
        siting = _knows_siting(ffmpeg)
        chain = [*([filters] if filters else []), *own, tags.filters(siting=siting)]
        command += ["-vf", ",".join(chain), "-c:v", self.codec]
        command += [] if siting else ["-chroma_sample_location", str(tags.siting)]
        if self.crf is not None:
            command += ["-crf", f"{self.crf:g}"]
            # Without it VP9 takes the CRF as an upper limit, together with a bit rate.
            command += ["-b:v", "0"] if self.codec == "libvpx-vp9" else []
        command += ["-preset", self.preset] if self.preset else []
        written = tags.encoder_options(self.codec, parameters)
        return [*command, *written, *options, "-f", container, str(target)]

    def _split(self) -> tuple[list[str], list[str], list[str]]:
        """Filters, parameters of the encoder, and further options: ffmpeg would take the last of each, without ours."""
        parameters = PARAMETERS[self.codec][0] if self.codec in PARAMETERS else ""
        joined: dict[str, list[str]] = {word: [] for word in (*FILTERS, parameters)}
        others: list[str] = []
        words = iter(self.options)
        for word in words:
            if word in joined:
                joined[word] += [value for value in (next(words, ""),) if value]
            else:
                others.append(word)
        return [value for word in FILTERS for value in joined[word]], joined[parameters], others


@dataclass(frozen=True)
class Tags:
    """What the first frame of a film says of its colours and of the shape of its pixels."""

    props: Mapping[str, Any]
    was_rgb: bool = False
    """Whether they are limited range BT.709 that was RGB."""
    is_rgb: bool = False
    """Whether they are RGB still."""

    def filters(self, *, siting: bool) -> str:
        """The ffmpeg filters that tag frames with matrix, primaries, transfer, range, siting and sample aspect ratio;
        the siting only if this ffmpeg's setparams takes it."""
        tags = {
            "colorspace": IDENTITY
            if self.is_rgb
            else BT709
            if self.was_rgb
            else self.props.get("_Matrix", UNSPECIFIED),
            "color_primaries": self.props.get("_Primaries", UNSPECIFIED),
            "color_trc": self.props.get("_Transfer", UNSPECIFIED),
        }
        full = self.is_rgb or (not self.was_rgb and self.props.get("_Range") == FULL_RANGE)
        text = "".join(f":{name}={int(value)}" for name, value in tags.items() if value != UNSPECIFIED)
        # Also if it is not known: the header of the pipe says that they lie in the middle.
        text += f":chroma_location={self.siting}" if siting else ""
        across, down = int(self.props.get("_SARNum", 0)), int(self.props.get("_SARDen", 0))
        aspect = f",setsar={across}/{down}" if across > 0 and down > 0 else ""
        return f"setparams=range={'pc' if full else 'tv'}{text}{aspect}"

    @property
    def siting(self) -> int:
        """Where chroma samples lie, as ffmpeg counts: one more than H.273, and 0 if that is not known."""
        if self.was_rgb or self.is_rgb:
            # VapourSynth has put them at the left.
            return int(self.was_rgb)
        return int(self.props.get("_ChromaLocation", -1)) + 1

    @property
    def mastering(self) -> str | None:
        """The mastering display (SMPTE ST 2086) as x264, x265 and SVT-AV1 write it, in whole units for x265."""
        try:
            xs, ys = self.props["MasteringDisplayPrimariesX"], self.props["MasteringDisplayPrimariesY"]
            white = self.props["MasteringDisplayWhitePointX"], self.props["MasteringDisplayWhitePointY"]
            light = self.props["MasteringDisplayMaxLuminance"], self.props["MasteringDisplayMinLuminance"]
        except KeyError:
            return None
        points = dict(zip("RGB", zip(xs, ys, strict=True), strict=True))
        written = [f"{name}({_units(points[name], 50_000)})" for name in "GBR"]
        return "".join([*written, f"WP({_units(white, 50_000)})", f"L({_units(light, 10_000)})"])

    @property
    def light_level(self) -> str | None:
        """MaxCLL and MaxFALL (CTA-861.3), in candela per square metre."""
        largest, average = (self.props.get(f"ContentLightLevel{name}") for name in ("Max", "Average"))
        return None if largest is None or average is None else f"{int(largest)},{int(average)}"

    def encoder_options(self, codec: str, further: Sequence[str] = ()) -> list[str]:
        """The options with an encoder's own parameters, which write HDR metadata; the user's ``further`` ones
        come last, so that they hold."""
        if codec not in PARAMETERS:
            return []
        option, mastering, light = PARAMETERS[codec]
        words = ["log-level=error"] if codec == "libx265" else []
        if codec == "libx265" and (self.mastering or self.light_level):
            words += ["hdr10=1", "repeat-headers=1"]
        words += [f"{mastering}={self.mastering}"] if self.mastering else []
        words += [f"{light}={self.light_level}"] if self.light_level else []
        words += further
        return [option, ":".join(words)] if words else []

    def lost(self, codec: str) -> str | None:
        """What the encoder does not carry over, for a remark."""
        if codec in PARAMETERS or not (self.mastering or self.light_level):
            return None
        return f"HDR metadata is not carried over with {codec}; libx265 and libx264 do"


def _units(values: Sequence[float], per_one: int) -> str:
    return ",".join(str(round(value * per_one)) for value in values)


@cache
def _knows_siting(ffmpeg: str) -> bool:
    """Whether an ffmpeg's setparams has the option chroma_location."""
    return b"chroma_location" in run([ffmpeg, "-hide_banner", "-h", "filter=setparams"])


@cache
def pixel_formats(ffmpeg: str, codec: str) -> frozenset[str]:
    """Names of the pixel formats that an encoder of an ffmpeg takes; none if it does not say."""
    said = run([ffmpeg, "-hide_banner", "-h", f"encoder={codec}"]).decode(errors="replace")
    match = re.search(r"Supported pixel formats: (.*)", said)
    return frozenset(match[1].split()) if match else frozenset()


def check_codec(ffmpeg: str, codec: str) -> None:
    """Raise VideoError if an ffmpeg has no video encoder of that name."""
    lines = run([ffmpeg, "-hide_banner", "-encoders"]).decode().splitlines()
    if codec not in (line.split()[1] for line in lines if line.startswith(" V") and len(line.split()) > 1):
        raise VideoError(f"this ffmpeg has no video encoder {codec!r}; ffmpeg -encoders lists those it has")
