"""Scores, reports and the command line of scripts/evaluate.py, from frames on a disk to JSON."""

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from standin import lively
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.footage import MOVING, STILL, examine, motion
from evaluation.frames import Clip, Frames, Stack
from evaluation.paper import dataset_of, figures
from evaluation.pictures import busiest, write_side_by_side
from evaluation.protocols import Full
from evaluation.report import as_json, comparisons, environment, table
from evaluation.runs import Run
from evaluation.scores import OVER_CLIPS, OVER_FRAMES, Row, judge, overall, untouched
from vsgshift.errors import MissingProgramError
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.video.programs import find_ffmpeg
from vsgshift.weights.store import write

Image = pytest.importorskip("PIL.Image")
type Evaluate = Callable[..., int]
SCRIPT = Path(__file__).parent.parent / "scripts" / "evaluate.py"


def row(clip: str, method: str, psnr: float, *, sigma: float | None = 10.0, frames: int = 4) -> Row:
    ratios: Any = {"psnr": psnr, "worst_psnr": psnr, "authors_ssim": 0.9, "ssim": 0.8, "flicker": 5.0}
    return Row(clip=clip, sigma=sigma, method=method, frames=frames, **ratios)


ROWS = [
    *(row("a", name, value) for name, value in (("input", 28.0), ("net", 36.0), ("other", 35.0))),
    *(row("b", name, value, frames=12) for name, value in (("input", 28.0), ("net", 40.0), ("other", 38.0))),
]


def test_only_the_frames_asked_for_are_judged_and_cropped() -> None:
    expected = torch.rand(6, 3, 17, 20)
    actual = expected.clone()
    actual[3, :, :16, :16] += 0.1
    actual[0], actual[:, :, 16:] = 0, 0
    clip = Clip(name="a", source=Stack(actual), target=Stack(expected.clamp(max=0.9)))
    judged = judge(untouched, clip, [range(1, 3), range(3, 5)], (16, 16), name="input", show=3)
    assert judged.row.frames == 4
    assert judged.row.worst_psnr == pytest.approx(20, abs=1)
    assert judged.shown is not None
    assert torch.equal(judged.shown, actual[3, :, :16, :16])


def test_flicker_is_that_of_neighbours_in_whatever_pieces_they_come() -> None:
    expected = torch.zeros(6, 3, 16, 16)
    offsets = torch.tensor([0.0, 0.1, 0.2, 0.8, 0.9, 0.5])[:, None, None, None]
    clip = Clip(name="a", source=Stack(expected + offsets), target=Stack(expected))

    def whole(source: Frames, span: range) -> Iterator[Tensor]:
        yield source.read(span)

    for method in (untouched, whole):
        actual = judge(method, clip, [range(3), range(3, 5)], (16, 16), name="m").row
        assert actual.flicker == pytest.approx(0.1 * 255, rel=1e-5)
    lone = judge(untouched, clip, [range(1), range(3, 4)], (16, 16), name="m").row
    assert math.isnan(lone.flicker)
    assert "flicker" not in table([lone], method="m")


@pytest.mark.parametrize("count", [2, 4])
def test_methods_that_lose_or_invent_frames_are_refused(count: int) -> None:
    clip = Clip(name="a", source=Stack(torch.rand(3, 3, 16, 16)), target=Stack(torch.rand(3, 3, 16, 16)))

    def method(source: Frames, span: range) -> Iterator[Tensor]:
        yield torch.rand(count, 3, 16, 16)

    with pytest.raises(EvaluationError, match="m gave"):
        judge(method, clip, [range(3)], (16, 16), name="m")


def test_means_are_over_clips_and_over_frames() -> None:
    means = {(mean.clip, mean.method): mean for mean in overall(ROWS)}
    assert means[OVER_CLIPS, "net"].psnr == 38
    assert means[OVER_FRAMES, "net"].psnr == 39
    assert means[OVER_FRAMES, "net"].worst_psnr == 36
    assert means[OVER_CLIPS, "net"].frames == 16


def test_the_table_names_both_ssims_and_the_paper() -> None:
    lines = table(ROWS, method="net", dataset="Set8").splitlines()
    assert "SSIM (authors')  " in lines[0]
    assert "  SSIM  " in lines[0]
    means = [line for line in lines if line.startswith("mean over clips")]
    assert ["+10.00" in line and "Ours+ 37.54" in line for line in means] == [False, True, False]
    assert sum("37.54" in line for line in lines) == 2
    assert "paper" not in table(ROWS, method="net")


def test_differences_are_of_the_means_over_clips() -> None:
    assert comparisons(ROWS, "net") == "sigma 10: net is +1.50 dB against other\n"


def test_json_holds_what_is_infinite_as_a_word() -> None:
    text = json.dumps(as_json([row("a", "net", math.inf)]), allow_nan=False)
    assert json.loads(text)["mean_over_frames"][0]["psnr"] == "inf"


def test_the_papers_figures() -> None:
    assert figures("DAVIS", 50.0) == {"Ours-s": (34.20, None), "Ours+": (34.82, None)}
    assert figures("GoPro", None)["Ours+"] == (35.88, 0.979)
    assert figures("DAVIS", 25.0) == figures("DAVIS", None) == figures(None, 10.0) == figures("holiday", None) == {}
    assert dataset_of(Path("data/GOPRO/test")) == "GoPro"
    assert dataset_of(Path("sets/DAVIS-test")) == "DAVIS"
    assert dataset_of(Path("videos")) is None


def test_figures_come_with_what_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"abc")
    captured = environment(torch.device("cpu"), tmp_path / "weights.safetensors")
    assert {"date", "commit", "device", "vsgshift", "python", "torch"} <= captured.keys()
    assert str(captured["weights"]).count("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 1


def test_pictures_show_each_method_at_200_percent(tmp_path: Path) -> None:
    frame = torch.zeros(3, 100, 90)
    frame[:, 60:80, 50:70] = torch.rand(3, 20, 20)
    top, left = busiest(frame, 32)
    assert top <= 60 <= 80 <= top + 32
    assert left <= 50 <= 70 <= left + 32
    write_side_by_side(tmp_path / "new" / "a.png", {"one": frame, "two": 1 - frame}, (top, left), 32)
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.size == (2 * 64 + 3 * 4, 64 + 16 + 2 * 4)
        assert picture.getpixel((4, 20)) == (0, 0, 0)
        assert picture.getpixel((4 + 64 + 4, 20)) == (255, 255, 255)


def test_footage_is_split_by_its_motion(tmp_path: Path) -> None:
    """A clip that rests on the left and moves on the right: the network's change is found where it is."""
    clip = torch.rand(1, 3, 32, 64).repeat(5, 1, 1, 1)
    clip[:, :, :, 32:] = torch.rand(5, 3, 32, 32)

    class Fading(Full):
        def restore(self, network: ShiftNet, source: Frames, span: range, sigma: float | None) -> Iterator[Tensor]:
            frames = source.read(span).clone()
            frames[..., 32:] *= 0.5
            yield frames

    network = ShiftNet(VARIANTS["deblur-tiny"])
    run = Run(network=network, protocol=Fading(), pictures=tmp_path)
    actual = examine(run, Clip(name="a", source=Stack(clip), target=Stack(clip)))
    assert (actual.still.share, actual.moving.share) == (0.5, 0.5)
    assert actual.still.psnr == math.inf
    assert actual.moving.psnr == pytest.approx(-10 * math.log10(float((clip[..., 32:] / 2).square().mean())), abs=1e-3)
    assert actual.still.contrast == pytest.approx(1, abs=0.01)
    assert actual.moving.contrast == pytest.approx(0.5, abs=0.03)
    assert [frame.number for frame in actual.frames] == [0, 1, 2, 3, 4]
    assert all(frame.motion > STILL for frame in actual.frames)
    assert 1 <= len(list(tmp_path.glob("a-*.png"))) <= 3


def test_motion_is_the_mean_difference_to_both_neighbours() -> None:
    levels = torch.tensor([0.0, 10.0, 30.0, 30.0])[:, None, None, None] / 255
    frames = Stack(levels.expand(4, 3, 8, 8))
    assert [float(motion(frames, n).mean()) for n in range(4)] == pytest.approx([10, 15, 10, 0], abs=1e-4)
    assert float(motion(Stack(torch.rand(1, 3, 8, 8)), 0).max()) == 0
    assert 0 < STILL < MOVING


# The command line. It runs in this process, since every start of torch takes seconds; once it is run as a program.


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def evaluate(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    def run(*options: object) -> int:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, options)])
        return int(script.main())

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of a moving test card, 48x32."""
    vs = pytest.importorskip("vapoursynth")
    if not hasattr(vs.core, "bs"):
        pytest.skip("BestSource is not installed")
    try:
        ffmpeg = find_ffmpeg()
    except MissingProgramError as missing:
        pytest.skip(str(missing))
    file = tmp_path_factory.mktemp("video") / "card.mkv"
    card = ["-f", "lavfi", "-i", "testsrc2=size=48x32:rate=25", "-frames:v", "10"]
    subprocess.run([ffmpeg, "-loglevel", "error", *card, "-pix_fmt", "yuv420p", "-c:v", "ffv1", str(file)], check=True)
    return file


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of clips, of 8 and 12 frames, 18x22, in the layout of GoPro."""
    root = tmp_path_factory.mktemp("GoPro")
    for name, count in (("one", 8), ("two", 12)):
        for side in ("blur", "gt"):
            (root / side / name).mkdir(parents=True)
            for number in range(count):
                codes = torch.randint(0, 256, (18, 22, 3), dtype=torch.uint8)
                Image.fromarray(codes.numpy()).save(root / side / name / f"{number:03}.png")
    return root


def test_denoise_a_video(evaluate: Evaluate, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, pictures = tmp_path / "new" / "report.json", tmp_path / "pictures"
    options = ["denoise", video, "--sigma", 10, 30, "--frames", 4, "--segments", 2, "--device", "cpu"]
    assert evaluate(*options, "--baselines", "nlmeans", "-o", file, "--pictures", pictures) == 0
    captured = capsys.readouterr().out
    assert "ffmpeg nlmeans" in captured
    assert "tiny-denoise is" in captured
    report = json.loads(file.read_text())
    rows = {(row["sigma"], row["method"]): row for row in report["clips"]}
    assert len(rows) == 6
    for sigma in (10, 30):
        assert rows[sigma, "input"]["frames"] == 4
        # Noise of 10 and 30 levels, somewhat less where it is clamped.
        assert 0 < rows[sigma, "input"]["psnr"] - 20 * math.log10(255 / sigma) < 4
        assert rows[sigma, "tiny-denoise"]["psnr"] != rows[sigma, "input"]["psnr"]
        assert 1 <= rows[sigma, "ffmpeg nlmeans"]["setting"]["s"] <= 30
    assert (report["protocol"], report["precision"], report["variant"]) == ("full", "float32", "denoise-tiny")
    assert report["weights"]["file"] == "tiny-denoise.safetensors"
    assert len(list(pictures.glob("card-sigma*.png"))) == 2

    again = tmp_path / "again.json"
    assert evaluate(*options, "--baselines", "-o", again) == 0
    expected = [row for row in report["clips"] if row["method"] != "ffmpeg nlmeans"]
    assert json.loads(again.read_text())["clips"] == expected


def test_deblur_by_the_published_protocol(
    evaluate: Evaluate, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    options = ["deblur", pairs, "--protocol", "published", "--chunk", 4, "--baselines", "--device", "cpu"]
    assert evaluate(*options, "-o", file) == 0
    assert "Ours-s 35.22 / 0.975, Ours 35.49 / 0.976, Ours+ 35.88 / 0.979" in capsys.readouterr().out
    report = json.loads(file.read_text())
    assert [(row["clip"], row["frames"]) for row in report["clips"]] == [("one", 4)] * 2 + [("two", 8)] * 2
    assert [row["frames"] for row in report["mean_over_frames"]] == [12, 12]
    assert (report["protocol"], report["paper"][0]["dataset"]) == ("published", "GoPro")
    assert evaluate("deblur", pairs, "--protocol", "published", "--baselines", "--device", "cpu") == 1
    assert "8 frames: the published protocol restores chunks of 96" in capsys.readouterr().err


def test_denoise_by_the_published_protocol(evaluate: Evaluate, pairs: Path, tmp_path: Path) -> None:
    network = lively(ShiftNet(VARIANTS["denoise-tiny"]))
    weights, file = tmp_path / "mine.safetensors", tmp_path / "report.json"
    write(weights, network, name="mine", training_data="none", licence="none")
    options = ["--protocol", "published", "--model", weights, "--sigma", 20, "--baselines", "--device", "cpu"]
    assert evaluate("denoise", pairs / "gt", *options, "-o", file) == 0
    report = json.loads(file.read_text())
    assert [(row["method"], row["frames"]) for row in report["clips"]] == [
        (method, frames) for frames in (4, 8) for method in ("input", "mine")
    ]


def test_deblur_generated_clips(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType
) -> None:
    clips = [Clip(name="made", source=Stack(torch.rand(3, 3, 16, 16)), target=Stack(torch.rand(3, 3, 16, 16)))]
    monkeypatch.setattr(script.datasets, "generated_blurred_clips", lambda count: clips * count)
    file = tmp_path / "report.json"
    assert evaluate("deblur", "--clips", 1, "--baselines", "-o", file) == 0
    assert [row["method"] for row in json.loads(file.read_text())["clips"]] == ["input", "tiny-deblur"]
    assert script.HELD_OUT_SEED == 987_654_321


def test_harm(evaluate: Evaluate, video: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert evaluate("harm", video, "--sigma", 0, 2, "--frames", 3, "-o", file) == 0
    rows = {(row["sigma"], row["method"]): row for row in json.loads(file.read_text())["clips"]}
    assert set(rows) == {
        (0, "to the input"),
        *((2, name) for name in ("to the input", "noisy to clean", "restored to clean")),
    }
    assert rows[2, "noisy to clean"]["psnr"] == pytest.approx(20 * math.log10(255 / 2), abs=1.5)


def test_footage(evaluate: Evaluate, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, pictures = tmp_path / "report.json", tmp_path / "pictures"
    assert evaluate("footage", video, "-o", file, "--pictures", pictures) == 0
    assert "PSNR to the input" in capsys.readouterr().out
    (clip,) = json.loads(file.read_text())["clips"]
    assert [frame["number"] for frame in clip["frames"]] == list(range(10))
    assert 1 <= len(list(pictures.glob("card-tiny-deblur-*.png"))) <= 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["denoise", "nowhere"], "no such file or folder: nowhere"),
        (["denoise", ".", "--model", "tiny-deblur"], "tiny-deblur is a network to deblur"),
        (["denoise", ".", "--model", "nosuch"], "unknown model 'nosuch'"),
        (["denoise", "empty", "--baselines"], "no frames in empty"),
    ],
)
def test_refusals_are_one_line(
    options: list[str],
    complaint: str,
    evaluate: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert evaluate(*options) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("evaluate.py: ")
    assert complaint in captured
    assert captured.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["denoise", ".", "--sigma", "300"], "--sigma"),
        (["denoise", ".", "--frames", "0"], "--frames"),
        (["denoise", ".", "--protocol", "published", "--frames", "3"], "--frames"),
        (["deblur", ".", "--chunk", "3"], "--chunk"),
        (["deblur", "a", "b", "--sharp", "c"], "--sharp"),
        (["harm"], "needs a video"),
        (["denoise", ".", "--baselines", "unsharp"], "invalid choice"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], complaint: str, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate(*options)
    assert complaint in capsys.readouterr().err


def test_it_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert "scripts/evaluate.py denoise VIDEO" in done.stdout
