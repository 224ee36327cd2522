"""The picture's format, colours, shape and orientation come through as they were, or with a remark."""

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from films import FFMPEG, NEEDS_PROGRAMS, decoded, film, frame_props

from vsgshift.cli import main
from vsgshift.errors import VideoError
from vsgshift.video import encoder
from vsgshift.video.compare.pairs import Comparison
from vsgshift.video.encoder import Encoding
from vsgshift.video.pixels import Pixels, loses, passage
from vsgshift.video.restore.job import Job, restore

pytestmark = [*NEEDS_PROGRAMS, pytest.mark.usefixtures("probed_here")]
LOSSLESS = Encoding(codec="ffv1")


def copied(source: Path, ending: str = ".mkv", **options: Any) -> tuple[Path, list[str]]:
    """The film as it comes out, and remarks."""
    output = source.with_name(f"{source.stem} out{ending}")
    remarks: list[str] = []
    restore(Job(source=source, output=output, filters=(), force=True, remark=remarks.append, **options))
    return output, remarks


def pixel_format(file: Path) -> str | None:
    with av.open(str(file)) as opened:
        return opened.streams.video[0].codec_context.pix_fmt


def remuxed(source: Path, target: Path, *before: str, after: tuple[str, ...] = ()) -> Path:
    """The film in another file, with options of ffmpeg before and after its name."""
    command = [str(FFMPEG), "-y", "-loglevel", "error", *before, "-i", str(source), "-c", "copy", *after, str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.mark.parametrize(
    "format",
    ["yuv420p", "yuv422p10le", "yuv444p16le", "yuv411p", "gray", "gray12le", "gbrp", "gbrp10le", "gbrp16le",
     "yuva420p", "yuva422p10le", "yuva444p16le", "gbrap", "gbrap16le"],
)  # fmt: skip
def test_a_lossless_codec_keeps_every_sample(format: str, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "-vf", f"format={format}", "-c:v", "ffv1", frames=3)
    if "a" in format.removeprefix("gray"):
        # So that transparency is not the same everywhere.
        fading = "format=rgba64le,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='X*1000'"
        source = film(tmp_path / "film.mkv", "-vf", f"{fading},format={format}", "-c:v", "ffv1", frames=3)
    output, remarks = copied(source, encoding=LOSSLESS, part=2)
    assert decoded(output, format) == decoded(source, format)
    assert loses(str(pixel_format(source)), str(pixel_format(output))) is False
    assert remarks == []


@pytest.mark.parametrize(
    ("format", "options", "becomes", "says"),
    [
        ("gbrp16le", {}, "yuv420p10le", "the picture becomes yuv420p10le, from gbrp16le; --codec ffv1 keeps it"),
        ("yuv444p16le", {}, "yuv444p12le", "the picture becomes yuv444p12le, from yuv444p16le; --codec ffv1 keeps it"),
        (
            "gbrap", {}, "yuv420p",
            "the picture's transparency is left out and it becomes yuv420p, from gbrap; --codec ffv1 keeps it",
        ),
        ("yuv440p", {}, "yuv444p", "the picture becomes yuv444p, from yuv440p"),
        ("yuv410p", {}, "yuv420p", "the picture becomes yuv420p, from yuv410p"),
        ("yuv440p", {"encoding": LOSSLESS}, "yuv444p", "the picture becomes yuv444p, from yuv440p"),
    ],
)  # fmt: skip
def test_what_the_output_does_not_hold_is_said(
    format: str, options: dict[str, Any], becomes: str, says: str, tmp_path: Path
) -> None:
    output, remarks = copied(film(tmp_path / "film.mkv", "-pix_fmt", format, "-c:v", "ffv1", frames=2), **options)
    assert pixel_format(output) == becomes
    assert remarks == [says]


def test_transparency_in_an_editors_file(tmp_path: Path) -> None:
    fading = "format=rgba64le,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='X*1000',format=yuva444p10le"
    source = film(tmp_path / "film.mov", "-vf", fading, "-c:v", "prores_ks", "-profile:v", "4444", frames=2)
    output, _ = copied(source, ".mov", encoding=Encoding(codec="prores_ks"))
    before, after = (decoded(file, "rgba")[3::4] for file in (source, output))
    assert len(set(before)) > 30
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 1


def test_passages() -> None:
    deep = Pixels(family="RGB", format="RGB48", bits=16, is_float=False, size=(64, 48))
    assert passage(deep, "ffv1", {"gbrp16le"}).is_rgb
    assert passage(deep, "png", {"rgb48be"}).is_rgb
    assert not passage(deep, "ffv1", {"gbrp"}).is_rgb
    assert passage(deep, "prores_ks", {"yuv444p10le"}).format == "YUV444P16"
    assert passage(deep, "libx265", {"gbrp12le"}).format == "YUV420P10"
    odd = Pixels(family="RGB", format="RGB24", bits=8, is_float=False, size=(65, 49))
    assert passage(odd, "libx264", {"yuv420p"}).format == "YUV444P8"
    real = Pixels(family="GRAY", format="GrayS", bits=32, is_float=True, size=(64, 48))
    assert passage(real, "ffv1", {"gray16le"}).format == "GRAY16"


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_an_aspect_that_the_container_alone_tells(name: str, tmp_path: Path) -> None:
    source = remuxed(film(tmp_path / "plain.mp4", frames=3), tmp_path / name, after=("-aspect", "16:9"))
    with av.open(str(copied(source, Path(name).suffix)[0])) as out:
        assert Fraction(str(out.streams.video[0].sample_aspect_ratio)) == Fraction(4, 3)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", [(), ("-display_hflip",)])
def test_rotation_together_with_mirroring(degrees: int, flips: tuple[str, ...], tmp_path: Path) -> None:
    plain = film(tmp_path / "plain.mp4", "-pix_fmt", "yuv420p", frames=2)
    source = remuxed(plain, tmp_path / "turned.mp4", "-display_rotation", str(degrees), *flips)
    told = [
        {name: frame_props(file)[name] for name in ("Rotation", "FlipVertical")}
        for file in (source, copied(source, ".mp4")[0], copied(source, ".mkv")[0])
    ]
    assert told == [told[0]] * 3
    assert (told[0]["Rotation"] % 180 == 90) == (degrees % 180 == 90)
    # Turned by 180 degrees that is mirrored from left to right: with these, all eight ways that there are.
    assert bool(told[0]["FlipVertical"]) == bool(flips)


COLOURS = ("_Matrix", "_Primaries", "_Transfer", "_Range", "_ChromaLocation")


@pytest.mark.parametrize(
    ("codec", "location", "filter_knows"),
    [
        *(("libx264", location, True) for location in range(6)),
        *(("libx264", location, False) for location in (0, 2)),
        *(("libx265", location, knows) for location, knows in ((0, True), (2, True), (2, False))),
    ],
)
def test_where_chroma_samples_lie(
    codec: str, location: int, filter_knows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_knows_siting", lambda ffmpeg: filter_knows)
    option = "-x264-params" if codec == "libx264" else "-x265-params"
    source = film(
        tmp_path / "film.mkv",
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        codec,
        option,
        f"log-level=none:chromaloc={location}",
        frames=2,
    )
    assert frame_props(source).get("_ChromaLocation", 0) == location
    output, _ = copied(source, encoding=Encoding(codec=codec))
    assert frame_props(output)["_ChromaLocation"] == location


@pytest.mark.parametrize(("format", "codec", "location"), [("yuv420p", "ffv1", None), ("gbrp", "libx264", 0)])
def test_where_chroma_samples_lie_that_the_film_does_not_place(
    format: str, codec: str, location: int | None, tmp_path: Path
) -> None:
    source = film(
        tmp_path / "film.mkv", "-vf", f"format={format},setparams=chroma_location=0", "-c:v", "ffv1", frames=2
    )
    assert "_ChromaLocation" not in frame_props(source)
    assert frame_props(copied(source, encoding=Encoding(codec=codec))[0]).get("_ChromaLocation") == location


@pytest.mark.parametrize(
    ("matrix", "primaries", "transfer"),
    [(8, 1, 1), (10, 9, 14), (12, 9, 16), (13, 9, 16), (14, 9, 16), (14, 9, 18), (9, 9, 18)],
)
def test_rare_matrices(matrix: int, primaries: int, transfer: int, tmp_path: Path) -> None:
    tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range=tv"
    source = film(tmp_path / "film.mkv", "-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1", frames=2)
    output, _ = copied(source, encoding=LOSSLESS)
    before, after = frame_props(source), frame_props(output)
    assert before["_Matrix"] == matrix
    assert [after[name] for name in COLOURS[:4]] == [before[name] for name in COLOURS[:4]]
    assert decoded(output, "yuv420p10le") == decoded(source, "yuv420p10le")


@pytest.mark.parametrize(("matrix", "transfer"), [(0, 2), (10, 2), (12, 2), (14, 1)])
def test_colours_that_cannot_be_are_refused_and_can_be_stated(matrix: int, transfer: int, tmp_path: Path) -> None:
    tags = f"h264_metadata=matrix_coefficients={matrix}:transfer_characteristics={transfer}:colour_primaries=2"
    source = film(tmp_path / "film.mp4", "-pix_fmt", "yuv420p", "-bsf:v", tags, frames=2)
    with pytest.raises(VideoError, match=rf"\(matrix {matrix}, .*; state the true ones with --matrix"):
        copied(source)
    with pytest.raises(VideoError, match=rf"\(matrix {matrix}, .*; state the true ones with --matrix"):
        Comparison(source)
    stated = {"_Matrix": 5, "_Range": 1, "_Primaries": 5, "_Transfer": 6}
    assert len(list(Comparison(source, stated=stated).before(range(2)))) == 2
    output, _ = copied(source, stated=stated)
    assert [frame_props(output)[name] for name in COLOURS[:4]] == [5, 5, 6, 1]


def test_words_of_the_command_for_colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = film(tmp_path / "film.mp4", "-pix_fmt", "yuv420p", frames=2)
    words = ["--matrix", "smpte170m", "--range", "full", "--primaries", "5", "--dry-run"]
    assert main(["restore", str(source), str(tmp_path / "out.mkv"), *words]) == 0
    printed = capsys.readouterr().out
    assert "clip = clip.std.SetFrameProps(_Matrix=6, _Primaries=5, _Range=1)" in printed
    assert "range=pc:colorspace=6:color_primaries=5" in printed
    with pytest.raises(SystemExit):
        main(["restore", str(source), str(tmp_path / "out.mkv"), "--matrix", "rec709"])
    assert "rec709 is not known; there are bt709, fcc," in capsys.readouterr().err


@pytest.mark.parametrize("change", ["yuv420p10le", "96x64"])
def test_a_format_that_changes_midway_is_refused_in_words(change: str, tmp_path: Path) -> None:
    options = {"size": change} if "x" in change else {}
    first = film(tmp_path / "a.h264", "-pix_fmt", "yuv420p", "-bf", "0", frames=5)
    second = film(tmp_path / "b.h264", "-pix_fmt", "yuv420p" if options else change, "-bf", "0", frames=5, **options)
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(VideoError, match="its format or size changes midway; cut it there first"):
        copied(remuxed(both, tmp_path / "film.mkv", "-r", "25"))


DISPLAY = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"


def test_options_for_ffmpeg_are_joined_with_ours(tmp_path: Path) -> None:
    hdr = f"log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:{DISPLAY}"
    source = film(tmp_path / "hdr.mkv", "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params", hdr, frames=2)
    output, _ = copied(
        source, encoding=Encoding(options=("-x265-params", "aq-mode=3", "-vf", "hflip", "-tune", "grain"))
    )
    told = frame_props(output)
    assert (told["ContentLightLevelMax"], told["MasteringDisplayMaxLuminance"]) == (1000, 1000)
    assert b"aq-mode=3" in output.read_bytes()
    sd = film(
        tmp_path / "sd.mp4",
        "-vf",
        "setsar=16/11,scale=out_range=pc",
        "-pix_fmt",
        "yuvj420p",
        "-colorspace",
        "6",
        frames=2,
    )
    output, _ = copied(sd, encoding=Encoding(options=("-vf", "hflip")))
    told, before = frame_props(output), frame_props(sd)
    for name in ("_SARNum", "_SARDen", "_Range", "_Matrix"):
        assert told[name] == before[name], name
    assert decoded(output, "gray") != decoded(sd, "gray")
