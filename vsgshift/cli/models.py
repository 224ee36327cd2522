"""Looking after models: `models`, `show`, `download`, `import`, `remove`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vsgshift.cli.options import Commands
from vsgshift.errors import CheckpointError, CommandError, WeightsError

if TYPE_CHECKING:
    from vsgshift.weights import Model


def add(commands: Commands) -> None:
    """Enter the commands."""
    lister = commands.add_parser("models", help="list the models and whether they are installed")
    lister.set_defaults(run=list_models)

    getter = commands.add_parser("download", help="fetch, check and install weights that the authors published")
    getter.add_argument("names", nargs="+", metavar="NAME", help="models, or all")
    getter.add_argument("--again", action="store_true", help="even if it is installed")
    getter.add_argument("--keep", action="store_true", help="keep the authors' file in the models folder")
    getter.set_defaults(run=download, when_interrupted="; run the same command to go on")

    importer = commands.add_parser("import", help="check and install a published checkpoint (.pth)")
    importer.add_argument("file", type=Path)
    importer.add_argument("--name", help="the model it is; by default the one that the authors' file name stands for")
    importer.set_defaults(run=import_file)
    for command in (getter, importer):
        command.add_argument(
            "--accept-changed",
            action="store_true",
            help="install the file although it is not the one that was first installed under that name",
        )

    remover = commands.add_parser("remove", help="delete the weights of an installed model")
    remover.add_argument("name")
    remover.set_defaults(run=remove)
    shower = commands.add_parser("show", help="print what the file of an installed model says of itself, and its card")
    shower.add_argument("name")
    shower.set_defaults(run=show)


def list_models(options: argparse.Namespace) -> int:
    """A line for each model, below a header."""
    from vsgshift.weights import MODELS
    from vsgshift.weights.catalogue import DEFAULT, full_name, imported_names
    from vsgshift.weights.store import find
    from vsgshift.weights.untrusted import metadata

    rows = [("NAME", "NETWORK", "TRAINED ON", "FILE", "", "LICENCE")]
    for model in MODELS.values():
        file = _megabytes(model.path) if model.installed else f"about {_expected_bytes(model) / 1e6:.0f} MB"
        state = "installed" if model.installed else "not installed"
        if model.name == full_name(DEFAULT, model.task):
            state = "default"
        rows.append((model.name, model.variant.name, model.training_data, file, state, model.licence))
    for name in imported_names():
        path = find(name)
        try:
            known = metadata(path)
        except CheckpointError:
            known = {"variant": "unreadable"}
        columns = [known.get(key, "not known") for key in ("variant", "training_data", "licence")]
        rows.append((name, columns[0], columns[1], _megabytes(path), "installed", columns[2]))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"


def _expected_bytes(model: "Model") -> int:
    """The size of a model's file in single precision."""
    import torch

    from vsgshift.network import ShiftNet

    with torch.device("meta"):
        return 4 * sum(parameter.numel() for parameter in ShiftNet(model.variant).parameters())


def show(options: argparse.Namespace) -> int:
    """A line for each thing the file says; then the model's card, which bundled ones have."""
    from vsgshift.weights.store import find
    from vsgshift.weights.untrusted import metadata

    path = find(options.name)
    for key, value in {"path": str(path), **metadata(path)}.items():
        sys.stdout.write(f"{key}: {value}\n")
    card = path.with_suffix(".md")
    if card.is_file():
        sys.stdout.write(f"\n{card.read_text(encoding='utf-8')}")
    return 0


def download(options: argparse.Namespace) -> int:
    """Download all models that are named, even if one of them fails."""
    from vsgshift.weights.download import download as fetch
    from vsgshift.weights.untrusted import metadata

    failures = 0
    for model in _models_by_name(options.names):
        if model.installed and not options.again:
            sys.stdout.write(f"{model.name} is installed already: {model.path}; --again fetches it once more\n")
            continue
        sys.stderr.write(_notice(model))
        try:
            target = fetch(model, again=options.again, keep=options.keep, accept_changed=options.accept_changed)
        except (WeightsError, OSError) as error:
            sys.stderr.write(f"vsgshift: {error}\n")
            failures += 1
            continue
        sys.stdout.write(_installed(target, metadata(target)))
    return 1 if failures else 0


def import_file(options: argparse.Namespace) -> int:
    """Check and install a file fetched by hand."""
    from vsgshift.weights import import_checkpoint
    from vsgshift.weights.untrusted import metadata

    target = import_checkpoint(options.file, options.name, accept_changed=options.accept_changed)
    sys.stdout.write(_installed(target, metadata(target)))
    return 0


def remove(options: argparse.Namespace) -> int:
    """Delete an installed model's file."""
    from vsgshift.weights import remove as delete

    sys.stdout.write(f"removed {delete(options.name)}\n")
    return 0


def _models_by_name(names: Sequence[str]) -> "list[Model]":
    from vsgshift.weights.catalogue import published_models

    published = {model.name: model for model in published_models()}
    if unknown := [name for name in names if name not in (*published, "all")]:
        raise CommandError(f"nothing to download for {unknown[0]!r}; there are: {', '.join(published)}, or all")
    return list(published.values()) if "all" in names else [published[name] for name in dict.fromkeys(names)]


def _notice(model: "Model") -> str:
    """What is about to be fetched, from where, and on what terms."""
    return (
        f"{model.name}: fetching {model.published_as} ({model.task}, trained on {model.training_data}), "
        f"the Shift-Net authors' file,\n"
        f"  from {model.page}\n"
        "  The authors state no licence for it: whether you may use it is for you to clear.\n"
    )


def _installed(target: Path, known: dict[str, str]) -> str:
    return (
        f"installed {target}\n"
        f"  from {known['original_file']}: {known['original_size']} bytes, SHA-256 {known['original_sha256']}\n"
    )
