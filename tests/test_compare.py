"""`vsgshift compare`: what the picture, the page and the film show is what VapourSynth gives."""

import argparse
import base64
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from standin import file_size_limit, small_disk

from vsgshift.cli import main
from vsgshift.cli.compare import moment
from vsgshift.errors import MissingProgramError
from vsgshift.video.compare import page as page_module
from vsgshift.video.compare.movie import stretch
from vsgshift.video.compare.pairs import Comparison, Moment, Pair
from vsgshift.video.compare.region import LUMA, Box, most_telling
from vsgshift.video.compare.sheet import BACKGROUND, GAP, LINE, ZOOM, enlarged, layout
from vsgshift.video.programs import find_ffmpeg
from vsgshift.video.script import FilterCall

Image = pytest.importorskip("PIL.Image")
WIDTH, HEIGHT, FRAMES = 98, 66, 12
NAME = "it's <b>a & card.mkv"
TASK = ("--sigma", "20", "--device", "cpu")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


def _ffmpeg() -> str | None:
    try:
        return find_ffmpeg()
    except MissingProgramError:
        return None


FFMPEG = _ffmpeg()
with_video = pytest.mark.skipif(FFMPEG is None or not hasattr(vs.core, "bs"), reason="ffmpeg or BestSource is missing")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny moving test card with noise."""
    file = tmp_path_factory.mktemp("video") / NAME
    picture = f"testsrc2=size={WIDTH}x{HEIGHT}:rate=25,noise=alls=20:allf=t:all_seed=1"
    filmed(picture, FRAMES, "-c:v", "ffv1", file)
    return file


def filmed(picture: str, frames: int, *options: str | Path) -> None:
    command = [str(FFMPEG), "-loglevel", "error", "-f", "lavfi", "-i", picture, "-frames:v", str(frames)]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *options], check=True)


@pytest.fixture(scope="module")
def pair(card: Path) -> Pair:
    """Its middle, restored as by TASK."""
    return restored_pair(card, FRAMES // 2)


def restored_pair(card: Path, number: int) -> Pair:
    """A frame before and after, without the code under test: the matrix is that of small pictures."""
    source = vs.core.bs.VideoSource(str(card), cachemode=0)
    clips = source, vs.core.gshift.Denoise(source, sigma=20, device_id=-1)
    frames = [clip.resize.Bicubic(format=vs.RGB24, matrix_in=vs.MATRIX_ST170_M).get_frame(number) for clip in clips]
    before, after = (np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1) for frame in frames)
    return Pair(before=before, afters=(after,), number=number, time=f"0:00:00.{40 * number:03}")


def compare(*arguments: str | Path) -> int:
    return main(["compare", *map(str, arguments)])


@pytest.mark.parametrize(
    ("text", "time", "frame"),
    [("90", 90, None), ("1:30", 90, None), ("1:00:01.5", 3601.5, None), ("120f", None, 120), ("0.25", 0.25, None)],
)
def test_times(text: str, time: float | None, frame: int | None) -> None:
    assert moment(text) == Moment(seconds=time, frame=frame)


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "f", "1.5f", "soon", "nan"])
def test_no_times(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no time"):
        moment(text)


def test_stretches() -> None:
    for length in range(1, 9):
        for count in range(11):
            for middle in range(length):
                frames = stretch(middle, count, length)
                assert middle in frames
                assert len(frames) == min(max(count, 1), length)
                assert frames.start >= 0
                assert frames.stop <= length


def test_the_excerpt_has_change_and_detail() -> None:
    random = np.random.default_rng(0)
    after = np.full((60, 80, 3), 100, np.uint8)
    after[10:20, 8:24] += random.integers(0, 60, (10, 16, 1), np.uint8)
    after[40:50, 56:72] += random.integers(0, 60, (10, 16, 1), np.uint8)
    noise = random.integers(-9, 10, after.shape)
    everywhere = np.clip(after + noise, 0, 255).astype(np.uint8)
    assert most_telling(everywhere, after, (10, 16)).left in range(4, 60)
    here = everywhere.copy()
    here[30:] = after[30:]
    actual = most_telling(here, after, (10, 16))
    assert abs(actual.top - 10) <= 2
    assert abs(actual.left - 8) <= 2
    whole = most_telling(here, after, (60, 80))
    assert whole == Box(top=0, left=0, height=60, width=80)
    assert most_telling(after, after, (10, 16)).left in {8, 56}
    assert most_telling(np.zeros_like(after), np.zeros_like(after), (1, 1)).cut(after).shape == (1, 1, 3)


def test_a_larger_box_stays_inside() -> None:
    for top, left in np.ndindex(9, 7):
        box = Box(top=int(top), left=int(left), height=2, width=4).around((6, 8), (10, 10))
        assert 0 <= box.top <= min(top, 4)
        assert 0 <= box.left <= min(left, 2)


@with_video
def test_the_picture(card: Path, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare(card, *TASK, "-o", "sheet.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    crop, place = layout(pair)
    assert (crop.height, crop.width) == (HEIGHT, WIDTH)
    inner = Box(top=place.top, left=place.left, height=place.height, width=place.width)
    for column, picture in enumerate((pair.before, *pair.afters)):
        left, top = GAP + column * (max(WIDTH, ZOOM * place.width) + GAP), GAP + 2 * LINE
        shown = sheet[top : top + HEIGHT, left : left + WIDTH]
        assert np.array_equal(inner.cut(shown), inner.cut(picture))
        # Only the outline of the place is drawn over the crop.
        assert (shown != picture).any(-1).sum() <= 2 * 2 * (place.height + place.width + 8)
        top += HEIGHT + GAP + LINE
        shown = sheet[top : top + ZOOM * place.height, left : left + ZOOM * place.width]
        assert np.array_equal(shown, np.asarray(enlarged(place.cut(picture))))
    assert (sheet[: GAP + 2 * LINE] != BACKGROUND).any()


class Reader(HTMLParser):
    """Sees to it that tags are closed in order, and gathers addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "input", "br"}:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag in {"img", "input"}:
            assert {"alt", "aria-label"} & {name for name, value in attrs if value}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@with_video
def test_the_page(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--sigma", "20", "0", "--device", "cpu", "--at", "0.24", "0f", "--seconds", "0.2", "--place", "20,33")
    assert compare(card, *options) == 0
    # The next page takes the place of the one before.
    written = f"{card.stem}-compare.html: frame 6, 0; open it in a browser\n"
    assert capsys.readouterr().out == written
    assert compare(card, *options) == 0
    text = (tmp_path / f"{card.stem}-compare.html").read_text()
    page = Reader(text)
    assert NAME in page.text
    assert "denoise, sigma 20" in page.text
    assert "Moving: 5 frames" in page.text
    assert "http" not in text
    addresses = re.findall("data:image/png;base64,([A-Za-z0-9+/=]*)", text)
    assert len(page.addresses) == 2 * 3
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(address)))) for address in addresses]
    region = Box(top=0, left=0, height=HEIGHT, width=WIDTH)
    expected = []
    for number, first in ((6, 4), (0, 0)):
        shown = [restored_pair(card, frame) for frame in range(first, first + 5)]
        middle = shown[number - first]
        expected += [middle.before, *middle.afters, middle.before]
        before = np.concatenate([region.cut(each.before) for each in shown])
        expected += [before, np.concatenate([region.cut(each.afters[0]) for each in shown]), before]
    assert all(np.array_equal(*two) for two in zip(pictures, expected, strict=True))


@with_video
def test_progress_adds_up(card: Path) -> None:
    shares: list[float] = []
    call = FilterCall(task="denoise", options={"sigma": 20.0, "device_id": -1})
    video = Comparison(card, [call], passed=shares.append)
    assert len(list(video.after(0, range(4)))) == 4
    assert 0.5 < sum(shares) <= 1
    assert max(shares) == 0.5 / 4


def test_the_place_that_is_enlarged() -> None:
    random = np.random.default_rng(0)
    before, after = random.integers(0, 256, (2, 400, 900, 3), np.uint8)
    assert page_module._region(before, after, (300, 200)) == Box(top=140, left=220, height=120, width=160)
    assert page_module._region(before, after, (899, 0)) == Box(top=0, left=740, height=120, width=160)
    assert page_module._region(before, after, None) == most_telling(before, after, (120, 160))


PROBE = """<script>
addEventListener("load", () => {
  const pair = document.querySelector(".pair"), range = document.querySelector("input");
  const seen = () => [range.value, getComputedStyle(pair.querySelector(".after.shown")).clipPath];
  const box = pair.getBoundingClientRect(), report = { start: seen() };
  report.images = [...document.images].map((image) => image.complete && image.naturalWidth);
  report.wide = Math.abs(box.width - (innerWidth - 32)) < 20;
  report.whole = Math.abs(box.width / box.height - 900 / 400) < 0.01;
  const point = (kind, share, id) => pair.dispatchEvent(new PointerEvent(kind, {
    pointerId: id, pointerType: "touch", button: 0, bubbles: true, cancelable: true,
    clientX: box.left + share * box.width, clientY: box.top + 5 }));
  for (let click = 0; click < 2; click++) { point("pointerdown", 0.9, 6); point("pointerup", 0.9, 6); }
  pair.dispatchEvent(new MouseEvent("dblclick", { bubbles: true, clientX: box.left + 0.9 * box.width }));
  report.kept = seen();
  point("pointerdown", 0.25, 7); report.touched = seen();
  point("pointermove", 0.75, 7); report.dragged = seen();
  point("pointermove", 0.1, 8); point("pointerup", 0.75, 7); point("pointermove", 0.2, 7); report.left = seen();
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  press("b"); report.before = seen(); press("a"); report.after = seen(); press("ArrowRight"); report.stepped = seen();
  report.spoken = range.getAttribute("aria-valuetext");
  const version = () => [...pair.querySelectorAll("img")].findIndex((image) => image.matches(".shown"));
  report.versions = [version()];
  for (const key of "29") { press(key); report.versions.push(version()); }
  report.named = pair.querySelector(".name.right").textContent;
  const strip = document.querySelector(".strip");
  press(" "); press("."); const one = strip.style.backgroundPosition; press("."); press(",");
  report.moves = strip.style.backgroundPosition === one && document.querySelector("#play").ariaPressed === "false";
  const lens = document.querySelector(".lens"), mark = document.querySelector(".mark");
  report.lenses = document.querySelectorAll(".lens").length;
  pair.dispatchEvent(new MouseEvent("dblclick", { bubbles: true, clientX: box.right - 1, clientY: box.bottom - 1 }));
  report.corner = lens.style.backgroundPosition;
  const size = mark.getBoundingClientRect().width; press("+");
  report.closer = mark.getBoundingClientRect().width < size;
  report.sideways = document.documentElement.scrollWidth > innerWidth;
  document.body.dataset.report = JSON.stringify(report);
});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    before, *afters = random.integers(0, 256, (3, 400, 900, 3), np.uint8)
    pair = Pair(before=before, afters=tuple(afters), number=1, time="0:00:00.040")
    region = Box(top=10, left=20, height=120, width=160)
    strips = tuple(random.integers(0, 256, (3, 3 * 120, 160, 3), np.uint8))
    file = tmp_path / "page.html"
    scene = page_module.Scene(pair=pair, region=region, strips=strips)
    page_module.write(file, [scene, scene], ["sigma 4", "sigma 8"], "card.mkv", 25.0)
    file.write_text(file.read_text().replace("</body>", PROBE))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,500", "--virtual-time-budget=10000"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [str(CHROMIUM), *options, profile, "--dump-dom", file.as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    match = re.search(r'data-report="([^"]*)"', page)
    assert match, page[-2000:]
    report = json.loads(match[1].replace("&quot;", '"'))
    assert report == {
        "images": [900] * 6,
        "wide": True,
        "whole": True,
        "kept": ["50", "inset(0px 0px 0px 50%)"],
        "start": ["50", "inset(0px 0px 0px 50%)"],
        "touched": ["25", "inset(0px 0px 0px 25%)"],
        "dragged": ["75", "inset(0px 0px 0px 75%)"],
        "left": ["75", "inset(0px 0px 0px 75%)"],
        "before": ["100", "inset(0px 0px 0px 100%)"],
        "after": ["0", "inset(0px 0px 0px 0%)"],
        "stepped": ["2", "inset(0px 0px 0px 2%)"],
        "spoken": "2 percent before",
        "versions": [1, 2, 2],
        "named": "sigma 8",
        "moves": True,
        "lenses": 6,
        "corner": "100% 100%",
        "closer": True,
        "sideways": False,
    }


@pytest.mark.slow
@with_video
def test_an_animation(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "film.gif"
    assert compare(card, "--sigma", "20", "auto", "--device", "cpu", "--seconds", "0.16", "-o", file) == 0
    shown, measured = capsys.readouterr().out.splitlines()
    assert shown == f"{file}: 4 frames"
    assert 5 < float(measured.removeprefix("noise of sigma ")) < 40
    with Image.open(file) as animation:
        assert (animation.n_frames, animation.format) == (4, "GIF")
        assert animation.size == (3 * WIDTH + 2 * GAP, HEIGHT + LINE)


@pytest.mark.slow
@with_video
@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_the_film(ending: str, card: Path, tmp_path: Path) -> None:
    file = tmp_path / f"film.{ending}"
    assert compare(card, *TASK, "--at", "3f", "--seconds", "0.16", "-o", file) == 0
    film = vs.core.bs.VideoSource(str(file), cachemode=0)
    assert (film.num_frames, film.fps) == (4, 25)
    assert (film.width, film.height) == (2 * WIDTH + GAP, HEIGHT + LINE)
    frame = film.get_frame(2)
    assert (frame.props["_Matrix"], frame.props["_Range"]) == (vs.MATRIX_BT709, vs.RANGE_LIMITED)
    # Brightness alone: 4:2:0 blurs the card's colours.
    shown = np.asarray(frame[0])[LINE:].astype(float)
    expected = restored_pair(card, 3)
    for left, own, other in (
        (0, expected.before, expected.afters[0]),
        (WIDTH + GAP, expected.afters[0], expected.before),
    ):
        half = shown[:, left : left + WIDTH]
        distances = [np.abs(half - 16 - 219 / 255 * (picture @ LUMA)).mean() for picture in (own, other)]
        assert distances[0] < 2.5
        assert distances[0] < distances[1] / 2


@pytest.mark.slow
@with_video
@pytest.mark.parametrize("ending", ["png", "html", "mp4", "webm"])
def test_a_full_disk_leaves_nothing_that_looks_finished(
    ending: str, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"mine.{ending}"
    command = card, *TASK, "--at", "3f", "--seconds", "0.16", "-o", file
    with file_size_limit(1000):
        assert compare(*command) == 1
    # A full disk gives programs an error, this limit ends them by a signal.
    refused = r"vsgshift: (cannot write \S+: File too large|ffmpeg: .*File size limit exceeded)\n"
    assert re.fullmatch(refused, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
    file.write_text("precious")
    with file_size_limit(1000):
        assert compare(*command, "--force") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "precious"


@with_video
def test_a_film_for_which_there_is_no_room(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 4096):
        assert compare(card, *TASK, "--seconds", "0.16", "-o", folder / "film.mp4") == 1
        assert list(folder.iterdir()) == []
    assert re.fullmatch(r"vsgshift: .*No space left on device\n", capsys.readouterr().err)


@with_video
def test_refusals(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "there.png"
    there.write_text("mine")
    interlaced = tmp_path / "1970's.mkv"
    filmed("testsrc2=size=96x64:rate=50", 5, "-vf", "tinterlace=4,setfield=tff", "-x264opts", "tff=1", interlaced)
    for why, *arguments in (
        ("no such file", tmp_path / "none.mkv"),
        ("is a folder", tmp_path),
        ("no video that BestSource can read", there),
        (r"interlaced; .* with: ffmpeg -i '/.*/1970'\"'\"'s.mkv' -map 0 .*bwdif", interlaced, "--sigma", "9"),
        ("exists; --force", card, "-o", there),
        ("no such folder", card, "-o", tmp_path / "none" / "a.png"),
        (r"frame 12 is after the end: the video has 12 frames, 0:00:00\.480", card, *TASK, "--at", "12f"),
        (r"0:01:00\.000 is after", card, *TASK, "--at", "1:00", "-o", tmp_path / "a.png"),
        ("model tiny-deblur is made for gshift.Deblur", card, *TASK, "--model", "tiny-deblur"),
    ):
        assert compare(*arguments) == 1
        assert re.search(f"^vsgshift: .*{why}.*\n$", capsys.readouterr().err)
    assert there.read_text() == "mine"
    for why, *options in (
        ("no time", "--at", "soon"),
        ("must end in one of .png, .html", "-o", "a.bmp"),
        ("out of range, 0 to 255", "--sigma", "300"),
        ("does not go with --deblur alone", "--deblur", "--sigma", "3"),
        ("one task", "--deblur", "--denoise", "--model", "tiny"),
    ):
        with pytest.raises(SystemExit, match="2"):
            compare(card, *options)
        assert why in capsys.readouterr().err


@with_video
def test_the_noise_goes_before_the_blur(card: Path) -> None:
    filters = [
        FilterCall(task="denoise", options={"sigma": 20.0}),
        FilterCall(task="deblur", options={"strength": 0.5}),
    ]
    (shown,) = Comparison(card, filters).pairs(range(2, 3))
    source = vs.core.bs.VideoSource(str(card), cachemode=0)
    restored = source.gshift.Denoise(sigma=20).gshift.Deblur(strength=0.5)
    frame = restored.resize.Bicubic(format=vs.RGB24, matrix_in=vs.MATRIX_ST170_M).get_frame(2)
    assert np.array_equal(shown.afters[0], np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=-1))
    assert str(FilterCall(task="denoise", options={"device_id": -1})) == "denoise, sigma measured"
    assert "; ".join(map(str, filters)) == "denoise, sigma 20; deblur, strength 0.5"
