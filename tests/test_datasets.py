"""Data sets in the layouts users have on disk, videos, generated clips, and what is said of broken ones."""

import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evaluation import datasets
from evaluation.datasets import clean_clips, paired_clips
from evaluation.errors import EvaluationError
from evaluation.frames import Images, Kept, Stack, Video
from training.clips import degradations, synthetic
from training.clips.rng import Rng
from vsgshift.errors import MissingProgramError, VideoError
from vsgshift.video.programs import find_ffmpeg

Image = pytest.importorskip("PIL.Image")


def write_frames(folder: Path, count: int, *, size: tuple[int, int] = (12, 16), ending: str = ".png") -> Tensor:
    """Random pictures in a folder; returns them as they are to be read, (T, 3, H, W)."""
    codes = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    folder.mkdir(parents=True)
    for number, frame in enumerate(codes):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{number:05}{ending}")
    return codes.float() / 255


@pytest.mark.parametrize("below", [".", "JPEGImages/480p"])
def test_folders_of_pictures(below: str, tmp_path: Path) -> None:
    frames = {name: write_frames(tmp_path / below / name, 3) for name in ("tennis", "bear")}
    (tmp_path / below / "bear" / "notes.txt").write_text("no picture")
    clips = clean_clips(tmp_path)
    assert [clip.name for clip in clips] == ["bear", "tennis"]
    for clip in clips:
        assert (len(clip.target), clip.target.size) == (3, (12, 16))
        assert torch.equal(clip.target.read(range(3)), frames[clip.name])
        assert torch.equal(clip.source.read(range(1, 2)), frames[clip.name][1:2])


def test_one_folder_of_pictures_is_one_clip(tmp_path: Path) -> None:
    write_frames(tmp_path / "bear", 2, ending=".JPG")
    (clip,) = clean_clips(tmp_path / "bear")
    assert (clip.name, len(clip.target)) == ("bear", 2)


def test_grey_pictures_and_those_with_alpha_become_rgb(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "RGBA", "P")):
        Image.new(mode, (12, 16), 0).save(tmp_path / f"{number}.png")
    assert Images(sorted(tmp_path.iterdir())).read(range(3)).shape == (3, 3, 16, 12)


def test_halved_pictures(tmp_path: Path) -> None:
    write_frames(tmp_path / "bear", 2, size=(13, 16))
    (clip,) = clean_clips(tmp_path / "bear", halved=True)
    assert clip.target.size == (6, 8)
    assert clip.target.read(range(2)).shape == (2, 3, 6, 8)


@pytest.mark.parametrize("below", [".", "test"])
def test_pairs(below: str, tmp_path: Path) -> None:
    blurred = {name: write_frames(tmp_path / below / "blur" / name, 4) for name in ("b", "a")}
    sharp = {name: write_frames(tmp_path / below / "gt" / name, 4) for name in ("a", "b")}
    clips = paired_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a", "b"]
    for clip in clips:
        assert torch.equal(clip.source.read(range(4)), blurred[clip.name])
        assert torch.equal(clip.target.read(range(4)), sharp[clip.name])


def test_a_pair_of_single_clips_needs_no_common_name(tmp_path: Path) -> None:
    write_frames(tmp_path / "shaken", 2)
    sharp = write_frames(tmp_path / "tripod", 2)
    (clip,) = paired_clips(tmp_path / "shaken", tmp_path / "tripod")
    assert clip.name == "shaken"
    assert torch.equal(clip.target.read(range(2)), sharp)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    for read in (clean_clips, paired_clips):
        with pytest.raises(EvaluationError, match=r"no such file or folder: .*nowhere"):
            read(tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match="no folder blur"):
        paired_clips(tmp_path)
    write_frames(tmp_path / "blur" / "a", 1)
    with pytest.raises(EvaluationError, match="no folder gt"):
        paired_clips(tmp_path)


def test_folders_without_frames_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no frames")
    with pytest.raises(EvaluationError, match="no frames in"):
        clean_clips(tmp_path)


def test_pairs_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "blur" / "a", 3)
    write_frames(tmp_path / "gt" / "a", 2)
    with pytest.raises(EvaluationError, match=r"clip a has 3 blurred frames .* but 2 sharp"):
        paired_clips(tmp_path)
    write_frames(tmp_path / "blur" / "b", 3)
    with pytest.raises(EvaluationError, match=r"clip b is in .*blur, but not in .*gt"):
        paired_clips(tmp_path)
    write_frames(tmp_path / "other", 3, size=(12, 20))
    with pytest.raises(EvaluationError, match="differ in size, 16x12 and 20x12"):
        paired_clips(tmp_path / "blur" / "a", tmp_path / "other")


def test_pairs_are_not_taken_for_clean_clips(tmp_path: Path) -> None:
    write_frames(tmp_path / "blur" / "a", 1)
    write_frames(tmp_path / "gt" / "a", 1)
    with pytest.raises(EvaluationError, match=r"sharp clips are in .*gt"):
        clean_clips(tmp_path)


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", 2)
    (clip,) = clean_clips(tmp_path)
    (tmp_path / "a" / "00001.png").write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match=r"cannot read .*00001\.png"):
        clip.target.read(range(2))
    Image.new("RGB", (20, 12)).save(tmp_path / "a" / "00001.png")
    with pytest.raises(EvaluationError, match=r"00001\.png is 20x12, but 00000\.png is 16x12"):
        clip.target.read(range(2))


def make_video(file: Path, pixels: str, *options: str) -> Path:
    """Four frames of a test card, 32x24, losslessly; skips where that cannot be had."""
    vs = pytest.importorskip("vapoursynth")
    if not hasattr(vs.core, "bs"):
        pytest.skip("BestSource is not installed")
    try:
        ffmpeg = find_ffmpeg()
    except MissingProgramError:
        pytest.skip("ffmpeg is not installed")
    card = ["-f", "lavfi", "-i", "testsrc2=size=32x24:rate=25", "-frames:v", "4", "-pix_fmt", pixels]
    subprocess.run([ffmpeg, "-loglevel", "error", *card, *options, "-c:v", "ffv1", str(file)], check=True)
    return file


def test_a_video_is_read_as_it_is(tmp_path: Path) -> None:
    file = make_video(tmp_path / "card.mkv", "gbrp")
    raw = subprocess.run(
        [find_ffmpeg(), "-loglevel", "error", "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    ).stdout
    expected = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(4, 24, 32, 3).permute(0, 3, 1, 2).float() / 255
    (clip,) = clean_clips(file)
    assert (clip.name, len(clip.target), clip.target.size) == ("card", 4, (24, 32))
    assert torch.equal(clip.target.read(range(4)), expected)
    assert torch.equal(clip.target.read(range(2, 3)), expected[2:3])


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p10le", "gray"])
def test_videos_of_other_formats(pixels: str, tmp_path: Path) -> None:
    (clip,) = clean_clips(make_video(tmp_path / "card.mkv", pixels), halved=True)
    frames = clip.target.read(range(4))
    assert frames.shape == (4, 3, 12, 16)
    assert 0 <= frames.min() < 0.2 < 0.8 < frames.max() <= 1


def test_a_folder_of_videos(tmp_path: Path) -> None:
    for name in ("b.mkv", "a.mkv"):
        make_video(tmp_path / name, "gbrp")
    assert [clip.name for clip in clean_clips(tmp_path)] == ["a", "b"]


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    make_video(tmp_path / "card.mkv", "gbrp")
    file = tmp_path / "film.mp4"
    file.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"film\.mp4: no video"):
        Video(file)


def test_frames_that_were_read_are_kept_up_to_a_limit() -> None:
    frames = torch.rand(9, 3, 4, 5)
    reads: list[range] = []

    class Counted(Stack):
        def read(self, span: range) -> Tensor:
            reads.append(span)
            return super().read(span)

    kept = Kept(Counted(frames), limit=4 * frames[0].nbytes)
    for span in (range(0, 3), range(1, 3), range(2, 5), range(3, 9), range(0, 2), range(0, 1)):
        assert torch.equal(kept.read(span), frames[span.start : span.stop])
    assert reads == [range(0, 3), range(3, 5), range(5, 9), range(0, 2)]
    assert (len(kept), kept.size) == (9, (4, 5))


@pytest.mark.slow
def test_generated_blurred_clips_are_those_of_the_held_out_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe is fixed: figures of different days are of the same clips."""
    # Fewer and smaller scenes, since those of the real figures take long to paint.
    monkeypatch.setattr(synthetic, "Pool", partial(synthetic.Pool, scenes=2, tiles=3, texels=128))
    generator = torch.Generator().manual_seed(987_654_321)
    pool, rng = synthetic.Pool(generator), Rng(generator)
    expected: list[tuple[Tensor, Tensor]] = []
    while len(expected) < 2:
        shutter = degradations.Shutter.draw(generator)
        count = 2 * rng.integer(3, 11) + 1
        times = (torch.arange(count) - (count - 1) / 2) / count * shutter.exposure
        scene = synthetic.take(generator, frames=13, size=(160, 160), pool=pool, speed=36.0, headroom=4.0)
        instants = scene.film(range(13), times)
        light = instants.clamp(min=0) ** shutter.gamma
        blurred = (light.mean(1) ** (1 / shutter.gamma)).clamp(0, 1)
        sharp = instants[:, count // 2].clamp(0, 1)
        if float((-10 * torch.log10((blurred - sharp).square().mean((1, 2, 3)))).mean()) <= 36:
            expected.append((blurred, sharp))
    actual = list(datasets.generated_blurred_clips(2))
    assert [clip.name for clip in actual] == ["generated-00", "generated-01"]
    for clip, (blurred, sharp) in zip(actual, expected, strict=True):
        torch.testing.assert_close(clip.source.read(range(13)), blurred)
        torch.testing.assert_close(clip.target.read(range(13)), sharp)
