"""Fetching the authors' files from Google Drive.

gdown knows the ways of Google Drive: the page that asks for a confirmation, the one that reports too
many downloads, ranges to go on from. What is added here: one download per folder at a time, an end to
pages that lead nowhere and to files that are too large, a fresh start where a partial file is of no
use, and messages for those who only want the weights.
"""

import glob
import inspect
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from vsgshift.errors import CheckpointError, DownloadError
from vsgshift.files import lock
from vsgshift.weights import originals
from vsgshift.weights.catalogue import Model, models_folder
from vsgshift.weights.pickled import plain
from vsgshift.weights.store import import_checkpoint
from vsgshift.weights.untrusted import LARGEST_FILE

RETRIES = 3
"""How often a broken connection is taken up again in one run."""

SILENCE = 30
"""Seconds without a byte after which a connection counts as broken."""

PATIENCE = 180
"""Seconds until the file itself, rather than pages about it, must have begun to arrive."""

LOCK = ".lock"
"""A file in the models folder, empty: not every system locks folders."""


def download(model: Model, *, again: bool = False, keep: bool = False, accept_changed: bool = False) -> Path:
    """Fetch the authors' file of a model, check it, and install its weights; returns the installed .safetensors file.

    The file arrives in the folder "downloads" of the models folder, as `<its name>........part` until it is whole; an
    interrupted download goes on from there. What is refused is deleted. A file that was kept in the models folder is
    used instead of fetching it, unless ``again``; ``keep`` keeps it there.

    Raises:
        DownloadError: gdown is missing, or no file came, or not all of it.
        CheckpointError: what came is not the model's checkpoint, or has changed.
        OSError: the models folder cannot be written to.
    """
    if model.published_as is None:
        raise DownloadError(f"{model.name} is bundled with vsgshift; there is nothing to download")
    gdown = _gdown()
    # A note that is damaged is known before the file is fetched, and is not that file's fault.
    originals.first(model)
    kept = models_folder() / model.published_as
    arriving = models_folder() / "downloads" / model.published_as
    models_folder().mkdir(parents=True, exist_ok=True)
    with _alone_in(models_folder()):
        try:
            _check_regular(arriving)
            arriving.parent.mkdir(exist_ok=True)
            if again:
                arriving.unlink(missing_ok=True)
            elif kept.exists():
                return _import_kept(kept, model, accept_changed)
            # It is there where an earlier run was stopped while it installed.
            if not arriving.exists():
                _fetch(gdown, model, arriving)
            try:
                target = import_checkpoint(arriving, model.name, accept_changed=accept_changed)
            except CheckpointError as error:
                arriving.unlink()
                raise CheckpointError(f"refused what Google Drive sent: {error}") from error
            if keep or kept.exists():
                # Temporary files are for their owner only; a models folder may be shared.
                arriving.chmod(0o644)
                arriving.replace(kept)
            else:
                arriving.unlink()
            return target
        finally:
            # Partial files may be in it.
            with suppress(OSError):
                arriving.parent.rmdir()


def _import_kept(kept: Path, model: Model, accept_changed: bool) -> Path:
    try:
        return import_checkpoint(kept, model.name, accept_changed=accept_changed)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (it was there already; --again starts over)") from error


def _gdown() -> ModuleType:
    try:
        import gdown
    except ImportError as error:
        raise DownloadError("downloading needs gdown; run: python -m pip install 'gdown>=6.5'") from error
    if not {"cancel", "retries", "timeout"} <= inspect.signature(gdown.download).parameters.keys():
        raise DownloadError("the gdown here is too old; run: python -m pip install --upgrade 'gdown>=6.5'")
    return gdown


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other downloads away from a folder: two would write to one partial file."""
    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        if not lock(descriptor):
            raise DownloadError(f"another download into {folder} is under way; wait for it to end")
        yield
    finally:
        os.close(descriptor)


def _check_regular(original: Path) -> None:
    """Raise DownloadError for links, pipes and folders under the names that a download writes to."""
    for path in (original.parent, original, *_partial_names(original)):
        kind = path.lstat().st_mode if path.exists() or path.is_symlink() else None
        if kind is not None and not (stat.S_ISDIR(kind) if path == original.parent else stat.S_ISREG(kind)):
            raise DownloadError(f"{path} is no file of ours to write to, but a link, pipe or folder; move it away")


def _partial_names(original: Path) -> Iterator[Path]:
    return original.parent.glob(f"{glob.escape(original.name)}????????.part")


def _partial_files(original: Path) -> dict[Path, int]:
    """What gdown has left of earlier attempts, with sizes; it names them with eight letters of chance."""
    return {part: part.stat().st_size for part in _partial_names(original)}


def _fetch(gdown: ModuleType, model: Model, original: Path) -> None:
    """Download a model's file, going on with an earlier attempt where that is possible."""
    for last in (False, True):
        before = _partial_files(original)
        try:
            return _attempt(gdown, model, original)
        # The last two: gdown on answers without a type, or with a form that it does not know.
        except (gdown.DownloadError, gdown.DownloadCancelled, OSError, KeyError, AssertionError) as error:
            # A plain refusal of gdown's to go on: the rest of a complete or changed file was asked for.
            useless = type(error) is gdown.DownloadError and error.__cause__ is None
            if last or not useless or not before or before != _partial_files(original):
                raise DownloadError(_explained(gdown, model, error)) from error
            _discard(original)


def _discard(original: Path) -> None:
    for part in _partial_files(original):
        part.unlink()


def _attempt(gdown: ModuleType, model: Model, original: Path) -> None:
    from tqdm import tqdm

    given_up = threading.Event()

    def give_up_on_pages() -> None:
        # Once its file is open the line is just slow: progress is reported each half megabyte.
        if not any(map(_is_open, _partial_files(original))):
            given_up.set()

    # A page that leads to itself would be followed for ever.
    timer = threading.Timer(PATIENCE, give_up_on_pages)
    timer.daemon = True
    earlier = sum(_partial_files(original).values())
    with tqdm(desc=original.name, initial=earlier, unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def progress(done: int, total: int | None) -> None:
            timer.cancel()
            if max(done, total or 0) > LARGEST_FILE:
                raise CheckpointError(f"{original.name} is too large for a Shift-Net checkpoint; not fetched")
            bar.total = total
            bar.update(done - bar.n)

        timer.start()
        try:
            gdown.download(
                id=model.drive_id,
                output=str(original),
                quiet=True,
                resume=True,
                # No cookies of the user's: nothing outside the models folder is read or written.
                use_cookies=False,
                timeout=SILENCE,
                retries=RETRIES,
                cancel=given_up,
                progress=progress,
            )
        except CheckpointError:
            _discard(original)
            raise
        finally:
            timer.cancel()


def _is_open(file: Path) -> bool:
    """Whether this process has a file open; false if the system does not say."""
    with suppress(OSError):
        return any(descriptor.exists() and descriptor.samefile(file) for descriptor in Path("/proc/self/fd").iterdir())
    return False


def _explained(gdown: ModuleType, model: Model, error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    import requests

    by_hand = (
        f"try again later, or fetch it in a browser from {model.page} and run: "
        f"python -m vsgshift import {model.published_as} --name {model.name}"
    )
    go_on = "run the same command to go on"
    cause = error.__cause__ if isinstance(error, gdown.DownloadError) and error.__cause__ else error
    match cause:
        case gdown.FileURLRetrievalError():
            return f"Google Drive did not give out {model.published_as}{_page_says(error)}; {by_hand}"
        case requests.HTTPError(response=requests.Response(status_code=status)):
            return f"Google Drive answered {status} when asked for {model.published_as}; {by_hand}"
        case gdown.DownloadError() | requests.exceptions.ChunkedEncodingError():
            return f"{model.published_as}: {_first_line(error)}; {go_on}"
        case requests.RequestException():
            return f"the connection to Google Drive failed: {_connection_says(cause)}; {go_on}"
        case OSError():
            return f"cannot write to {models_folder()}: {cause.strerror or cause}; mend that, then {go_on}"
        case _:
            return f"Google Drive sent pages that lead to no {model.published_as}; {by_hand}"


def _page_says(error: Exception) -> str:
    """The reason that Google's own page gave, where gdown has found one."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in str(error).split("\n\n")]
    reason = paragraphs[1] if len(paragraphs) > 1 else ""
    # Without one, gdown speaks to those who share files.
    return f", but said: {plain(reason.rstrip('.'), 300)}" if reason and "gdown" not in reason else ""


def _connection_says(error: BaseException) -> str:
    """The innermost reason of a broken connection, without the address that it repeats."""
    while inner := [
        reason for reason in (*error.args, getattr(error, "reason", None)) if isinstance(reason, BaseException)
    ]:
        error = inner[-1]
    text = _first_line(error)
    return text.partition("): ")[2] or text


def _first_line(error: object) -> str:
    return plain(str(error).strip().partition("\n")[0].rstrip(". "), 300) or type(error).__name__
