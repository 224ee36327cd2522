"""`python -m vsgshift` against a stand-in for Google Drive: what arrives is installed whole or not at all."""

import hashlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import Failing
from drive import QUOTA, Drive, drive_stand_in
from standin import file_size_limit, published_state
from torch import Tensor

from vsgshift.cli import main
from vsgshift.files import lock
from vsgshift.network import VARIANTS
from vsgshift.weights import MODELS, download, load_network
from vsgshift.weights.download import LOCK
from vsgshift.weights.published import convert
from vsgshift.weights.untrusted import metadata

MODEL = MODELS["gopro-small"]
FILE = "net_gopro_deblur_small.pth"
NOTE = "gopro-small.original.json"
WEIGHTS = "gopro-small.safetensors"
BY_HAND = f"{re.escape(MODEL.page)} and run: python -m vsgshift import {re.escape(FILE)} --name gopro-small"


def saved(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"params": state}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published_state(VARIANTS["deblur-small"])


@pytest.fixture(scope="module")
def content(state: dict[str, Tensor]) -> bytes:
    return saved(state)


@pytest.fixture
def drive(content: bytes, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    monkeypatch.setattr(download, "RETRIES", 0)
    with drive_stand_in(monkeypatch) as stand_in:
        stand_in.files[str(MODEL.drive_id)] = content
        yield stand_in


def present(models: Path) -> list[str]:
    return sorted(str(path.relative_to(models)) for path in models.rglob("*") if path.name != LOCK)


@pytest.mark.parametrize("confirm", [True, False])
def test_download_installs(
    confirm: bool,
    drive: Drive,
    models: Path,
    state: dict[str, Tensor],
    content: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drive.confirm = confirm
    assert main(["download", "gopro-small"]) == 0
    captured = capsys.readouterr()
    assert FILE in captured.err
    assert MODEL.page in captured.err
    assert "no licence" in captured.err
    assert "%" not in captured.err, "a progress bar although this is no terminal"
    digest = hashlib.sha256(content).hexdigest()
    assert f"installed {models / WEIGHTS}" in captured.out
    assert f"{len(content)} bytes, SHA-256 {digest}" in captured.out
    assert present(models) == [NOTE, WEIGHTS]
    assert metadata(models / WEIGHTS)["licence"] == "none stated by the authors"
    installed = load_network("gopro-small").state_dict()
    assert all(torch.equal(installed[name], tensor) for name, tensor in convert(state)[1].items())


def test_progress_is_shown_on_a_terminal(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    drive.pause = 0.3
    assert main(["download", "gopro-small"]) == 0
    assert isinstance(sys.stderr, Terminal)
    assert re.search(rf"{FILE}: +\d+%.*M/19\.5M", sys.stderr.getvalue())


def test_again_and_changed(
    drive: Drive, models: Path, content: bytes, state: dict[str, Tensor], fails: Failing
) -> None:
    assert main(["download", "gopro-small"]) == 0
    assert main(["download", "gopro-small", "gopro-small"]) == 0
    assert len(drive.asked) == 1
    assert main(["download", "gopro-small", "--again"]) == 0
    assert len(drive.asked) == 2

    changed = saved({**state, "conv_trans.bias": torch.ones(14)})
    drive.files[str(MODEL.drive_id)] = changed
    before = (models / WEIGHTS).read_bytes()
    digests = [hashlib.sha256(data).hexdigest() for data in (changed, content)]
    fails(f"{digests[0]}.*{digests[1]}.*--accept-changed", "download", "gopro-small", "--again")
    assert (models / WEIGHTS).read_bytes() == before
    assert present(models) == [NOTE, WEIGHTS]
    assert main(["remove", "gopro-small"]) == 0
    fails(f"{digests[0]}.*{digests[1]}")
    assert present(models) == [NOTE]
    assert main(["download", "gopro-small", "--accept-changed"]) == 0
    assert metadata(models / WEIGHTS)["original_sha256"] == digests[0]


def test_keep(drive: Drive, models: Path, content: bytes) -> None:
    assert main(["download", "gopro-small", "--keep"]) == 0
    assert (models / FILE).read_bytes() == content
    assert (models / FILE).stat().st_mode & 0o777 == 0o644
    assert main(["remove", "gopro-small"]) == 0
    assert main(["download", "gopro-small"]) == 0
    assert len(drive.asked) == 1, "the kept file was there"
    assert present(models) == [NOTE, WEIGHTS, FILE]
    drive.status = 404
    assert main(["download", "gopro-small", "--again"]) == 1
    assert (models / FILE).read_bytes() == content
    drive.status = 200
    assert main(["download", "gopro-small", "--again"]) == 0
    assert present(models) == [NOTE, WEIGHTS, FILE]


def test_all_goes_on_after_failures(drive: Drive, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "all"]) == 1
    assert present(models) == [NOTE, WEIGHTS]
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vsgshift: ")]
    assert len(complaints) == 5
    published = [model for model in MODELS.values() if model.published_as]
    assert len(published) == 6
    assert drive.asked == [model.drive_id for model in published]
    for model in published:
        assert any(f" --name {model.name}" in line for line in complaints) == (model is not MODEL)


def test_interrupted_download_goes_on(drive: Drive, models: Path, content: bytes, fails: Failing) -> None:
    drive.cuts = [len(content) // 2]
    fails(rf"received \d+ bytes but the server announced {len(content)} bytes; run the same command to go on$")
    (part,) = (models / "downloads").iterdir()
    size = part.stat().st_size
    assert part.name.endswith(".part")
    assert part.read_bytes() == content[:size]
    assert size > len(content) // 3, "more was lost than what was under way"
    assert main(["download", "gopro-small"]) == 0
    assert drive.ranges_asked == [None, None, f"bytes={size}-"]
    assert present(models) == [NOTE, WEIGHTS]


def test_broken_connection_is_taken_up_again(drive: Drive, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRIES", 1)
    drive.cuts = [2**22]
    assert main(["download", "gopro-small"]) == 0
    assert drive.ranges_asked == [None, f"bytes={2**22}-"]
    assert present(models) == [NOTE, WEIGHTS]


@pytest.mark.parametrize("case", ["whole already", "longer than the file", "no ranges"])
def test_useless_partial_file_is_fetched_again(case: str, drive: Drive, models: Path, content: bytes) -> None:
    part = models / "downloads" / f"{FILE}abcd1234.part"
    part.parent.mkdir(parents=True)
    part.write_bytes({"whole already": content, "longer than the file": content + b"x"}.get(case, content[:1000]))
    drive.ranges = case != "no ranges"
    assert main(["download", "gopro-small"]) == 0
    assert present(models) == [NOTE, WEIGHTS]


def test_partial_file_of_something_else(drive: Drive, models: Path, content: bytes, fails: Failing) -> None:
    (models / "downloads").mkdir(parents=True)
    (models / "downloads" / f"{FILE}abcd1234.part").write_bytes(content[:1_000_000] + bytes(1_000_000))
    fails("refused what Google Drive sent: .*is damaged")
    assert present(models) == []
    assert main(["download", "gopro-small"]) == 0


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_http_errors(status: int, drive: Drive, models: Path, fails: Failing) -> None:
    drive.status = status
    fails(f"Google Drive did not give out {FILE}; try again later, or .*{BY_HAND}$")
    drive.status, drive.file_status = 200, status
    fails(f"Google Drive answered {status} when asked for {FILE}; .*{BY_HAND}$")
    assert present(models) == []


def test_pages_instead_of_the_file(drive: Drive, models: Path, fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    drive.page = QUOTA
    fails(f"did not give out {FILE}, but said: Too many users have viewed or downloaded .* recently; .*{BY_HAND}$")
    drive.page = "<html><body>Sign in</body></html>"
    fails(f"did not give out {FILE}; .*{BY_HAND}$")
    drive.page = "<form id='download-form'></form>"
    fails(f"pages that lead to no {FILE}; .*{BY_HAND}$")
    drive.page, drive.page_type = "{}", None
    fails(f"pages that lead to no {FILE}; .*{BY_HAND}$")
    drive.page, drive.page_type, drive.endless = None, "text/html", True
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    fails(f"pages that lead to no {FILE}; .*{BY_HAND}$")
    assert len(drive.asked) == 5
    assert present(models) == []


def test_wrong_content(
    drive: Drive, models: Path, content: bytes, state: dict[str, Tensor], fails: Failing, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(trace),)

    def refused(why: str, sent: bytes) -> None:
        drive.files[str(MODEL.drive_id)] = sent
        fails(f"refused what Google Drive sent: .*{why}")
        assert present(models) == []

    refused("web page", b"<!DOCTYPE html><html></html>")
    refused("not a PyTorch checkpoint", b"")
    refused("not a PyTorch checkpoint", os.urandom(1000))
    refused("cut off", content[:-10_000])
    refused(r"holds more than tensors \(posix\.mkdir\)", saved({"a": Harmful()}))  # type: ignore[dict-item]
    refused("names are unknown", saved({"a": torch.ones(1)}))
    refused("missing entries", saved({name: tensor for name, tensor in state.items() if name != "conv_trans.bias"}))
    other = saved(published_state(VARIANTS["denoise-small"]))
    refused("is a denoise-small checkpoint, but gopro-small is a deblur-small", other)
    assert not trace.exists()

    drive.announce, drive.cuts = False, [len(content) // 2]
    refused("cut off", content)


def test_too_large(drive: Drive, models: Path, content: bytes, fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_FILE", 10_000_000)
    for drive.announce in (True, False):
        fails("too large for a Shift-Net checkpoint; not fetched")
        assert present(models) == []


def test_no_connection(drive: Drive, models: Path, fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SILENCE", 0.3)
    drive.pause = 2
    fails("run the same command to go on$")
    assert [name[-5:] for name in present(models)] == ["loads", ".part"]
    drive.pause, drive.port = 0, 1
    fails("connection to Google Drive failed: .*refused.*; run the same command to go on$")
    assert [name[-5:] for name in present(models)] == ["loads", ".part"]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_slow_line(
    resumed: bool, drive: Drive, models: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if resumed:
        (models / "downloads").mkdir(parents=True)
        (models / "downloads" / f"{FILE}abcd1234.part").write_bytes(content[:1000])
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    drive.pause, drive.pause_at = 1, 3000
    assert main(["download", "gopro-small"]) == 0
    assert present(models) == [NOTE, WEIGHTS]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (f"downloads/{name}", kind)
            for name in (FILE, f"{FILE}abcd1234.part")
            for kind in ("link", "pipe", "folder")
        ),
        ("downloads", "link"),
        ("downloads", "pipe"),
    ],
)
def test_names_that_lead_elsewhere(
    name: str, kind: str, drive: Drive, models: Path, content: bytes, fails: Failing, tmp_path: Path
) -> None:
    path, precious = models / name, tmp_path / "precious"
    path.parent.mkdir(parents=True)
    if kind == "link" and name == "downloads":
        precious.mkdir()
        path.symlink_to(precious)
    elif kind == "link":
        precious.write_bytes(content[:1000])
        path.symlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    fails(f"{path} is no file of ours")
    assert path.is_symlink() == (kind == "link")
    if precious.is_file():
        assert precious.read_bytes() == content[:1000]
    assert drive.asked == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"file": 1, "size": 1e999, "sha256": null}', '{"file": "a"}']
)
def test_a_damaged_note_is_told_before_fetching(text: str, drive: Drive, models: Path, fails: Failing) -> None:
    models.mkdir()
    (models / NOTE).write_text(text)
    fails(rf"{NOTE} is damaged; restore it, or delete it")
    assert drive.asked == []
    assert (models / NOTE).read_text() == text


def test_a_disk_that_is_full_when_installing(drive: Drive, models: Path, fails: Failing, content: bytes) -> None:
    (models / "downloads").mkdir(parents=True)
    (models / "downloads" / FILE).write_bytes(content)
    with file_size_limit(2**20):
        fails(rf"File too large: '.*{WEIGHTS}'$")
    assert present(models) == ["downloads", f"downloads/{FILE}"]
    assert main(["download", "gopro-small"]) == 0
    assert drive.asked == []


def test_full_disk(drive: Drive, models: Path, fails: Failing) -> None:
    with file_size_limit(2**20):
        fails("cannot write to .*models: File too large; mend that, then run the same command to go on$")
    assert [name[-5:] for name in present(models)] == ["loads", ".part"]
    assert main(["download", "gopro-small"]) == 0
    assert present(models) == [NOTE, WEIGHTS]


def test_stopped_while_installing(drive: Drive, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save", interrupted)
        assert main(["download", "gopro-small"]) == 130
    assert present(models) == ["downloads", f"downloads/{FILE}"]
    assert main(["download", "gopro-small"]) == 0
    assert len(drive.asked) == 1
    assert present(models) == [NOTE, WEIGHTS]


def test_bad_file_of_the_users_is_left_alone(drive: Drive, models: Path, content: bytes, fails: Failing) -> None:
    models.mkdir()
    (models / FILE).write_bytes(content[:1000])
    fails("cut off.*it was there already; --again starts over")
    assert present(models) == [FILE]
    assert main(["download", "gopro-small", "--again"]) == 0
    assert (models / FILE).read_bytes() == content


def test_one_download_at_a_time(drive: Drive, models: Path, fails: Failing) -> None:
    models.mkdir()
    descriptor = os.open(models / LOCK, os.O_RDONLY | os.O_CREAT)
    assert lock(descriptor)
    fails("another download into .* is under way")
    os.close(descriptor)
    assert main(["download", "gopro-small"]) == 0


def test_gdown_is_missing_or_old(drive: Drive, models: Path, fails: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gdown", None)
        fails(r"needs gdown; run: python -m pip install 'gdown>=[\d.]+'$")
    monkeypatch.setattr("gdown.download", lambda url, output, quiet: None)
    fails("too old; run: python -m pip install --upgrade")
    assert not models.exists()
