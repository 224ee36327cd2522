"""Colour numbers of ITU-T H.273, as frame properties and files have them, and what holds if a clip has none."""

IDENTITY, BT709, UNSPECIFIED, SMPTE170M, YCGCO = 0, 1, 2, 6, 8
"""Values of `_Matrix`; 1, 2 and 6 stand for the same as primaries and transfer."""


def usual_matrix(width: int, height: int) -> int:
    """The matrix of a clip of this size that does not say: standard definition's up to 1024x576, then BT.709."""
    return SMPTE170M if width <= 1024 and height <= 576 else BT709


def _numbered(words: str) -> dict[str, int]:
    """Names and their numbers, from "name=number" words."""
    return {name: int(number) for name, _, number in (word.partition("=") for word in words.split())}


NAMES = {
    "matrix": _numbered(
        "bt709=1 fcc=4 bt470bg=5 smpte170m=6 smpte240m=7 ycgco=8 bt2020nc=9 bt2020c=10 chroma-derived-nc=12 "
        "chroma-derived-c=13 ictcp=14"
    ),
    "primaries": _numbered(
        "bt709=1 bt470m=4 bt470bg=5 smpte170m=6 smpte240m=7 film=8 bt2020=9 smpte428=10 smpte431=11 smpte432=12 "
        "ebu3213=22"
    ),
    "transfer": _numbered(
        "bt709=1 bt470m=4 bt470bg=5 smpte170m=6 smpte240m=7 linear=8 log100=9 log316=10 iec61966-2-4=11 bt1361e=12 "
        "iec61966-2-1=13 bt2020-10=14 bt2020-12=15 smpte2084=16 smpte428=17 arib-std-b67=18"
    ),
    "range": _numbered("limited=0 full=1"),
    "chroma-location": _numbered("left=0 center=1 topleft=2 top=3 bottomleft=4 bottom=5"),
}
"""Words for the numbers, as x265 and ffmpeg have them; those of range and location are VapourSynth's numbers."""
PROPERTIES = {
    **{"matrix": "_Matrix", "primaries": "_Primaries", "transfer": "_Transfer"},
    **{"range": "_Range", "chroma-location": "_ChromaLocation"},
}
"""The frame property of each."""
