"""How the pixels of frames go through the pipe to the encoder, and what becomes of those that it cannot take.

Y4M carries YUV and GRAY of up to 16 bits. What is more than that goes in disguise, and a filter of ffmpeg restores it:
RGB as the planes of 4:4:4, transparency as a second picture below the first.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

DELIVERY = {"libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "hevc_nvenc", "h264_nvenc", "av1_nvenc"}
"""Encoders for players, most of which take nothing but YUV; RGB is made that for them even where they hold it."""
USUAL = {"410": "420", "440": "444"}
"""Subsampling that neither Y4M nor most encoders know, and what it becomes."""
RGB_DEPTHS, ALPHA_DEPTHS = (8, 9, 10, 12, 14, 16), (8, 9, 10, 12, 16)
"""Bits for which ffmpeg has planar RGB, and planar formats with transparency."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The frames of a film, as they come from the filters."""

    family: str
    """YUV, RGB or GRAY."""
    format: str
    """VapourSynth's name, as YUV420P8."""
    bits: int
    is_float: bool
    size: tuple[int, int]
    """Width and height."""
    alpha: bool = False
    """Whether they are transparent in places."""

    @property
    def subsampling(self) -> str:
        """As "420"; "" of what has none."""
        match = re.fullmatch(r"YUV(4\d\d)P\w+", self.format)
        return match[1] if match else ""

    @property
    def name(self) -> str:
        """ffmpeg's name of the format that holds them, or VapourSynth's where ffmpeg has none."""
        end = f"{self.bits}le" if self.bits > 8 else ""
        if self.is_float:
            return self.format
        if self.family == "RGB":
            return f"{'gbrap' if self.alpha else 'gbrp'}{end}"
        if self.family == "GRAY":
            return f"{'ya' if self.alpha else 'gray'}{end or (8 if self.alpha else '')}"
        return f"yuv{'a' if self.alpha else ''}{self.subsampling}p{end}" if self.subsampling else self.format


@dataclass(frozen=True, kw_only=True)
class Passage:
    """How they go through the pipe."""

    format: str
    """VapourSynth's name of the format in the pipe."""
    size: tuple[int, int]
    """Width and height there."""
    before: tuple[str, ...] = ()
    """Lines of the script before the filters."""
    after: tuple[str, ...] = ()
    """Lines after them."""
    filters: str = ""
    """ffmpeg's, which undo the disguise."""
    is_rgb: bool = False
    """Whether the encoder gets RGB."""


def passage(pixels: Pixels, codec: str, takes: Collection[str]) -> Passage:
    """Choose how frames go to an encoder, by the names of the pixel formats that it takes."""
    before: list[str] = []
    after: list[str] = []
    bits = 16 if pixels.is_float else pixels.bits
    format, is_rgb = pixels.format, False
    if pixels.family == "RGB":
        is_rgb = bits in RGB_DEPTHS and codec not in DELIVERY and _holds_rgb(takes, bits)
        if is_rgb:
            format = f"YUV444P{bits}"
            if pixels.is_float:
                after.append("clip = clip.resize.Bicubic(format=vs.RGB48)")
            after.append("clip = clip.std.ShufflePlanes([1, 2, 0], vs.YUV)")
        else:
            even = all(length % 2 == 0 for length in pixels.size)
            depth = 8 if bits == 8 else 10 if codec in DELIVERY else 16
            format = f"YUV{'420' if even and codec in DELIVERY else '444'}P{depth}"
            after.append(f"clip = clip.resize.Bicubic(format=vs.{format}, matrix=vs.MATRIX_BT709)")
    elif pixels.is_float:
        format = "GRAY16" if pixels.family == "GRAY" else "YUV444P16"
        after.append(f"clip = clip.resize.Bicubic(format=vs.{format})")
    elif pixels.subsampling in USUAL:
        format = f"YUV{USUAL[pixels.subsampling]}P{bits}"
        before.append(f"clip = clip.resize.Bicubic(format=vs.{format})")
    depth = int(re.sub(r".*\D", "", format))
    alpha = pixels.alpha and pixels.family != "GRAY" and depth in ALPHA_DEPTHS and any(map(has_alpha, takes))
    (width, height), filters = pixels.size, f"mergeplanes=0x000102:gbrp{_end(depth)}" if is_rgb else ""
    plain = Passage(format=format, size=pixels.size, before=(*before,), after=(*after,), filters=filters, is_rgb=is_rgb)
    if not alpha:
        return plain
    before.append("alpha = clip.std.PropToClip('_Alpha')")
    after += [
        f"alpha = alpha.resize.Bicubic(format=vs.GRAY{depth}, range_in=1, range=1)",
        "clip = core.std.StackVertical([clip, core.std.ShufflePlanes([alpha, clip, clip], [0, 1, 2], vs.YUV)])",
    ]
    kind = f"gbrap{_end(depth)}" if is_rgb else f"yuva{format[3:6]}p{_end(depth)}"
    halves = f"crop={width}:{height}:0:0[picture];[below]crop={width}:{height}:0:{height}[alpha]"
    filters = f"split[above][below];[above]{halves};[picture][alpha]mergeplanes=0x00010210:{kind}"
    return replace(plain, size=(width, 2 * height), before=(*before,), after=(*after,), filters=filters)


def _end(bits: int) -> str:
    return f"{bits}le" if bits > 8 else ""


def _holds_rgb(takes: Collection[str], bits: int) -> bool:
    """Whether one of the formats holds RGB of that many bits, with transparency or without."""
    if bits == 8:
        return any(re.fullmatch(r"gbra?p|(rgb|bgr)(24|0|a)|0(rgb|bgr)|argb|abgr", name) for name in takes)
    return any(re.fullmatch(rf"gbra?p{bits}[lb]e", name) for name in takes) or (
        bits == 16 and any(re.fullmatch(r"(rgb48|rgba64)[lb]e", name) for name in takes)
    )


def loses(source: str, written: str) -> bool:
    """Whether a pixel format of ffmpeg's holds less than another, or has its chroma elsewhere."""
    kind, bits = _taken_apart(source)
    new_kind, new_bits = _taken_apart(written)
    return kind != new_kind or new_bits < bits or (has_alpha(source) and not has_alpha(written))


def _taken_apart(name: str) -> tuple[str, int]:
    """Family and subsampling of a pixel format, and its bits."""
    if re.match(r"(rgb|bgr|0rgb|0bgr|argb|abgr)", name):
        return "rgb", 16 if re.search("48|64", name) else 8
    match = re.fullmatch(r"(yuv)j?a?(\d{3})p(\d*)(?:[lb]e)?|gbra?(p)(\d*)(?:[lb]e)?|(?:gray|ya)(\d*)(?:[lb]e)?", name)
    if not match:
        return name, 0
    if match[1]:
        return f"yuv{match[2]}", int(match[3] or 8)
    return ("rgb", int(match[5] or 8)) if match[4] else ("gray", int(match[6] or 8))


def has_alpha(name: str) -> bool:
    """Whether a pixel format of ffmpeg's holds transparency."""
    return bool(re.fullmatch(r"yuva4\d\dp.*|gbrap.*|rgba(64[lb]e)?|bgra|argb|abgr|ya(8|16[lb]e)", name))
