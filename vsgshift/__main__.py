"""``python -m vsgshift``: look after models."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vsgshift.weights import Model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)

    # torch takes seconds to import: not before the arguments are known to be right.
    from vsgshift.weights import CheckpointError, import_checkpoint, remove
    from vsgshift.weights.untrusted import metadata

    try:
        if options.command == "models":
            _list_models()
        elif options.command == "show":
            _show(options.name)
        elif options.command == "download":
            return _download(options)
        elif options.command == "remove":
            sys.stdout.write(f"removed {remove(options.name)}\n")
        else:
            target = import_checkpoint(options.file, options.name, accept_changed=options.accept_changed)
            sys.stdout.write(_installed(target, metadata(target)))
    except KeyboardInterrupt:
        go_on = "; run the same command to go on" if options.command == "download" else ""
        sys.stderr.write(f"vsgshift: interrupted{go_on}\n")
        return 130
    except (CheckpointError, ValueError, OSError) as error:
        _complain(error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsgshift",
        description="Look after the models of vsgshift.",
        epilog="Models are kept in $VSGSHIFT_MODELS, else in the user's data folder (~/.local/share/vsgshift/models).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("models", help="list the models and whether they are installed")

    getter = commands.add_parser("download", help="fetch, check and install weights that the authors published")
    getter.add_argument("names", nargs="+", metavar="NAME", help="models, or all")
    getter.add_argument("--again", action="store_true", help="also where it is installed")
    getter.add_argument("--keep", action="store_true", help="keep the authors' file in the models folder")

    importer = commands.add_parser("import", help="check and install a published checkpoint (.pth)")
    importer.add_argument("file", type=Path)
    importer.add_argument("--name", help="the model it is; by default told by the authors' file name")
    for command in (getter, importer):
        command.add_argument(
            "--accept-changed",
            action="store_true",
            help="install the file although it is not the one that was first installed under that name",
        )

    remover = commands.add_parser("remove", help="delete the weights of an installed model")
    remover.add_argument("name")
    shower = commands.add_parser("show", help="print what the file of an installed model says of itself")
    shower.add_argument("name")
    return parser


def _list_models() -> None:
    from vsgshift.weights import MODELS, CheckpointError
    from vsgshift.weights.catalogue import imported_names
    from vsgshift.weights.store import find
    from vsgshift.weights.untrusted import metadata

    rows = []
    for model in MODELS.values():
        state = "installed" if model.installed else "not installed"
        rows.append((model.name, model.variant.name, model.training_data, state, model.licence))
    for name in imported_names():
        try:
            known = metadata(find(name))
        except CheckpointError:
            known = {"variant": "unreadable"}
        said = [known.get(key, "not known") for key in ("variant", "training_data", "licence")]
        rows.append((name, said[0], said[1], "installed", said[2]))
    for row in rows:
        sys.stdout.write("{:14}{:15}{:17}{:15}licence: {}\n".format(*row))


def _show(name: str) -> None:
    from vsgshift.weights.store import find
    from vsgshift.weights.untrusted import metadata

    path = find(name)
    for key, value in {"path": str(path), **metadata(path)}.items():
        sys.stdout.write(f"{key}: {value}\n")


def _download(options: argparse.Namespace) -> int:
    """Download all that was asked for, also where one of them fails."""
    from vsgshift.weights import CheckpointError
    from vsgshift.weights.download import download
    from vsgshift.weights.untrusted import metadata

    failures = 0
    for model in _asked_for(options.names):
        if model.installed and not options.again:
            sys.stdout.write(f"{model.name} is installed already: {model.path}; --again fetches it anew\n")
            continue
        sys.stderr.write(_notice(model))
        try:
            target = download(model, again=options.again, keep=options.keep, accept_changed=options.accept_changed)
        except (CheckpointError, OSError) as error:
            _complain(error)
            failures += 1
            continue
        sys.stdout.write(_installed(target, metadata(target)))
    return 1 if failures else 0


def _asked_for(names: Sequence[str]) -> "list[Model]":
    from vsgshift.weights.catalogue import published_models

    published = {model.name: model for model in published_models()}
    if unknown := [name for name in names if name not in (*published, "all")]:
        raise ValueError(f"nothing to download for {unknown[0]!r}; there are: {', '.join(published)}, or all")
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


def _complain(error: Exception) -> None:
    sys.stderr.write(f"vsgshift: {error}\n")


if __name__ == "__main__":
    raise SystemExit(main())
