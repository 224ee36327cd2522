"""Every reader of a file takes damage of any kind as what it is: it reads on, or says in one line what is wrong.

A plain mutator with a fixed seed, and a limit of time: what it finds becomes a test beside its reader.
"""

import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from films import NEEDS_PROGRAMS, film

from training.recipe import TrainingError, load_recipe
from training.state import read_state, write_state
from vsgshift.errors import VsgshiftError
from vsgshift.video.pipe import frame_bytes
from vsgshift.video.restore.container import has_captions, last_moment, video_track
from vsgshift.video.restore.mux import check_part
from vsgshift.video.restore.parts import MACHINE, PART_SIZE, STATE, begin
from vsgshift.weights import originals
from vsgshift.weights.catalogue import BUNDLED_FOLDER, published_models
from vsgshift.weights.untrusted import metadata, published_state, read_ours

pytestmark = pytest.mark.slow
SECONDS = 10
"""For each reader."""
PIECES = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"null",
    b"1e999",
    b'"',
    b"-1",
    b"\xed\xa0\x80",
    bytes(64),
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The data with a few places changed, cut, doubled or overwritten; most of them near the beginning."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 6))):
        at = chance.randrange(min(len(changed), chance.choice((64, 4096, 2**30))) or 1) if changed else 0
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.choice((1, 4, 1000, 2**30))]
            case 2:
                changed[at:at] = chance.choice(PIECES)
            case 3:
                changed[at : at + 8] = chance.choice(PIECES)
            case 4:
                changed[at:at] = changed[at : at + chance.choice((1, 16, 500))]
    return bytes(changed)


def attack(read: Callable[[bytes], object], data: bytes, refusal: type[Exception] = VsgshiftError) -> None:
    """Read mutations until the time is over; any error but a refusal ends the test."""
    chance, until, outcomes = random.Random(16), time.monotonic() + SECONDS, {True: 0, False: 0}
    while time.monotonic() < until and sum(outcomes.values()) < 3000:
        said = ""
        try:
            read(mutated(data, chance))
        except refusal as error:
            said = str(error)
        assert "\n" not in said
        outcomes[not said] += 1
    assert sum(outcomes.values()) > 10, outcomes


def through_a_file(read: Callable[[Path], object], file: Path) -> Callable[[bytes], object]:
    """A reader of bytes from one of a file."""

    def reader(data: bytes) -> object:
        file.write_bytes(data)
        return read(file)

    return reader


@pytest.mark.parametrize("read", [metadata, read_ours])
def test_weights_of_ours(read: Callable[[Path], object], tmp_path: Path) -> None:
    bundled = (BUNDLED_FOLDER / "tiny-deblur.safetensors").read_bytes()
    attack(through_a_file(read, tmp_path / "w.safetensors"), bundled)


def test_published_checkpoints() -> None:
    buffer = io.BytesIO()
    torch.save({"params": {"a.weight": torch.rand(3, 2), "a.bias": torch.rand(3)}, "iteration": 7}, buffer)
    attack(lambda data: published_state(data, Path("file.pth")), buffer.getvalue())


def test_recipes(tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "scripts" / "recipes"
    recipe = (folder / "tiny-denoise.toml").read_bytes()
    attack(through_a_file(load_recipe, tmp_path / "recipe.toml"), recipe, TrainingError)


def test_the_state_of_a_training(tmp_path: Path) -> None:
    write_state(tmp_path, {"a": torch.rand(3)}, {"step": 1})
    index = tmp_path / "state.json"
    attack(through_a_file(lambda _: read_state(tmp_path), index), index.read_bytes(), TrainingError)


def test_notes_on_originals(models: Path) -> None:
    model = next(iter(published_models()))
    models.mkdir()
    data = originals.contents(originals.Original.of(b"data", "file.pth"))
    attack(through_a_file(lambda _: originals.first(model), originals.note(model)), data)


def test_the_state_of_a_restoration(tmp_path: Path) -> None:
    state: dict[str, Any] = {"input": "film.mkv", "filters": [{"task": "denoise", "sigma": 3.0}]}
    state |= {"range of frames": [0, 10], PART_SIZE: 10, MACHINE: {"torch": "2.14"}}
    data = json.dumps(state, indent=1).encode()
    attack(through_a_file(lambda _: begin(tmp_path, state), tmp_path / STATE), data)


def test_headers_of_the_pipe() -> None:
    attack(frame_bytes, b"YUV4MPEG2 C420p10 W64 H48 F25:1 Ip A0:0\n")


@pytest.mark.skipif(NEEDS_PROGRAMS[0].args[0], reason="ffmpeg is not installed")
@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts", "avi"])
def test_films(ending: str, tmp_path: Path) -> None:
    sound = ["-f", "lavfi", "-i", "sine=duration=0.4"]
    data = film(
        tmp_path / f"film.{ending}", "-pix_fmt", "yuv420p", "-c:v", "mpeg4", frames=10, inputs=sound
    ).read_bytes()

    def read(file: Path) -> None:
        track = video_track(file)
        has_captions(file, track.index)
        last_moment(file)
        check_part(file, 10)

    attack(through_a_file(read, tmp_path / f"mutated.{ending}"), data)
