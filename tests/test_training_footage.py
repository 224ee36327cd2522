"""Footage: the datasets' layouts, video files, and what is said when there is none."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.clips.rng import Rng, seeded
from training.filmed import FilmedClips, film
from training.footage import Library, scenes
from training.recipe import Data, Fit, Recipe, Source, TrainingError

Image = pytest.importorskip("PIL.Image")
CPU = torch.device("cpu")


def frames(seed: int, count: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Pictures of noise, (count, height, width, 3), 8 bits."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def save(folder: Path, pictures: np.ndarray, ending: str = "png") -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:05}.{ending}")


def as_clip(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255


def recipe(source: Source, root: Path, task: str = "deblur", **data: object) -> Recipe:
    """A recipe for footage, read in this process."""
    section = Data(source=source, root=str(root), frames=3, crop=32, workers=0, **data)  # type: ignore[arg-type]
    return Recipe(
        name="it", network=f"{task}-tiny", training_data="", licence="", data=section, fit=Fit(steps=1, batch=2)
    )


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    """Two videos, blurred and sharp; a sharp picture is the blurred one's negative."""
    for seed, video in enumerate(("a", "b")):
        pictures = frames(seed, 5)
        save(tmp_path / "blur" / video, pictures)
        save(tmp_path / "gt" / video, 255 - pictures)
    return tmp_path


def test_pairs_stay_pairs(gopro: Path) -> None:
    assert [scene.name for scene in scenes("pairs", str(gopro))] == ["a", "b"]
    clips = FilmedClips(recipe("pairs", gopro), range(2), CPU)(0)
    for _ in range(6):
        degraded, clean = next(clips)
        assert degraded.shape == (3, 3, 32, 32)
        torch.testing.assert_close(degraded, 1 - clean)


def test_frames_come_in_order_and_unchanged(gopro: Path) -> None:
    library = Library("pairs", str(gopro))
    shown, sharp = library.read(library.scenes[1], 1, 3)
    assert torch.equal(shown, as_clip(frames(1, 5))[1:4])
    assert sharp is not None
    torch.testing.assert_close(sharp, 1 - shown)


def test_clips_depend_on_step_and_item_alone(gopro: Path) -> None:
    whole = FilmedClips(recipe("pairs", gopro), range(2), CPU)(0)
    pairs = [next(whole) for _ in range(6)]
    late = FilmedClips(recipe("pairs", gopro), range(1, 2), CPU)(2)
    assert torch.equal(next(late)[0], pairs[5][0])
    assert len({float(pair[0].sum()) for pair in pairs}) > 1


def test_worker_processes_give_the_same_clips(gopro: Path) -> None:
    here = recipe("pairs", gopro)
    there = replace(here, data=replace(here.data, workers=1))
    one, other = (FilmedClips(r, range(2), CPU)(0) for r in (here, there))
    for _ in range(3):
        assert torch.equal(next(one)[0], next(other)[0])
    # What goes wrong there is reported in one line as well.
    for file in gopro.glob("*/*/*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match="cannot read") as caught:
        list(islice(other, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("subfolder", ["", "JPEGImages/480p"])
def test_clean_frames_in_both_layouts(tmp_path: Path, subfolder: str) -> None:
    save(tmp_path / subfolder / "bear", frames(0, 4), "jpg" if subfolder else "png")
    assert [scene.name for scene in scenes("frames", str(tmp_path))] == ["bear"]
    degraded, clean = next(FilmedClips(recipe("frames", tmp_path, "denoise"), range(2), CPU)(0))
    assert degraded is clean


def test_sharp_frames_are_averaged_into_blurred_ones(tmp_path: Path) -> None:
    save(tmp_path / "fast", frames(0, 9, 32, 32))
    expected = as_clip(frames(0, 9, 32, 32)).view(3, 3, 3, 32, 32)
    made = recipe("frames", tmp_path, subframes=(3, 3))
    library = Library("frames", str(tmp_path))
    gammas = set()
    for seed in range(12):
        degraded, clean = film(made, library, seeded(seed), frames=3, size=32)
        assert torch.equal(clean, expected[:, 1])
        gamma = 1.0 if torch.allclose(degraded, expected.mean(1), atol=1e-5) else 2.2
        torch.testing.assert_close(degraded, expected.pow(gamma).mean(1).pow(1 / gamma))
        gammas.add(gamma)
    assert gammas == {1.0, 2.2}


def test_video_files_are_read(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    pytest.importorskip("vapoursynth")
    grey = np.arange(20, 200, 18, dtype=np.uint8)
    (tmp_path / "deeper").mkdir()
    writer = ffmpeg.write_frames(
        str(tmp_path / "deeper" / "grey.mkv"), (64, 48), codec="ffv1", pix_fmt_out="yuv444p", macro_block_size=1
    )
    writer.send(None)
    for shade in grey:
        writer.send(np.full((48, 64, 3), shade))
    writer.close()
    library = Library("videos", str(tmp_path))
    shown, sharp = library.read(library.pick(Rng(seeded(0)), 4), 2, 4)
    assert sharp is None
    assert shown.shape == (4, 3, 48, 64)
    torch.testing.assert_close(shown.mean((1, 2, 3)) * 255, torch.from_numpy(grey[2:6]).float(), atol=1.0, rtol=0)


@pytest.mark.parametrize(
    ("source", "layout"),
    [("pairs", "<root>/blur/<video>/*.png"), ("frames", "JPEGImages/480p"), ("videos", ".mkv")],
)
def test_missing_footage_names_the_layout(tmp_path: Path, source: Source, layout: str) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TrainingError, match="no footage in") as caught:
            FilmedClips(recipe(source, root, "deblur" if source == "pairs" else "denoise"), range(1), CPU)
        assert layout in str(caught.value)
        assert "\n" not in str(caught.value)


def test_root_must_be_given() -> None:
    with pytest.raises(TrainingError, match=r"wants data\.root"):
        scenes("frames", "")


def test_unequal_pairs_are_refused(gopro: Path) -> None:
    (gopro / "gt" / "b" / "00004.png").unlink()
    with pytest.raises(TrainingError, match=r"5 pictures, but .* has 4"):
        scenes("pairs", str(gopro))


def test_short_videos_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "long", frames(0, 4))
    save(tmp_path / "short", frames(1, 2))
    library = Library("frames", str(tmp_path))
    rng = Rng(seeded(0))
    assert {library.pick(rng, 3).name for _ in range(20)} == {"long"}
    assert caplog.text.count("short has 2 frames") == 1
    with pytest.raises(TrainingError, match=r"no video in .* has the 9 frames"):
        library.pick(rng, 9)


def test_small_pictures_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "small", frames(0, 4, 24, 24))
    with pytest.raises(TrainingError, match="24x24, smaller than the crop of 32"):
        FilmedClips(recipe("frames", tmp_path, "denoise"), range(1), CPU)
