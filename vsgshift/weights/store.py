"""The models folder: finding, loading, installing and removing weights."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import safetensors.torch
import torch
from torch import Tensor

from vsgshift._version import __version__
from vsgshift.errors import CheckpointError, MissingWeightsError, UnknownModelError
from vsgshift.files import atomic_write
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.variants import Task
from vsgshift.weights import originals
from vsgshift.weights.catalogue import MODELS, Model, full_name, imported_names, models_folder, published_models
from vsgshift.weights.originals import Original
from vsgshift.weights.published import convert
from vsgshift.weights.untrusted import published_state, read_bytes, read_ours

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def load_network(
    source: str | os.PathLike[str], *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> ShiftNet:
    """Load a network with its weights, ready for inference.

    Args:
        source: the name of a bundled or installed model, a .safetensors file that we wrote, or a
            published checkpoint (.pth).
        device: where its parameters shall be.
        dtype: precision of parameters and arithmetic.

    Raises:
        UnknownModelError: no model and no file has that name.
        CheckpointError: the file is not a checkpoint.
        MissingWeightsError: the model is known, but its weights are not installed.
    """
    path = find(source)
    variant, state, name = read(path)
    network = ShiftNet(variant)
    network.load_state_dict(state)
    network.name = name
    network.requires_grad_(False).eval()
    network.to(device=device, dtype=dtype)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def find(source: str | os.PathLike[str]) -> Path:
    """The file of a model's name, or of a path. Errors as for `load_network`."""
    name = os.fspath(source)
    if model := MODELS.get(name):
        if not model.installed:
            raise MissingWeightsError(how_to_install(model))
        return model.path
    installed = models_folder() / f"{name}.safetensors"
    if name in imported_names():
        return installed
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or os.sep in name:
        raise UnknownModelError(f"no such file: {name}")
    raise UnknownModelError(f"unknown model {name!r}; there are: {', '.join([*MODELS, *imported_names()])}")


def how_to_install(model: Model) -> str:
    """One line on how to get the weights of a model that is not installed."""
    if model.published_as is None:
        return f"the bundled weights of {model.name} are missing; reinstall vsgshift"
    return f"the weights of {model.name} are not installed; run: python -m vsgshift download {model.name}"


def read(path: Path) -> tuple[Variant, dict[str, Tensor], str]:
    """Variant, our state dict and model name of a .safetensors or published .pth file. Raises CheckpointError; nothing
    of it is executed."""
    if path.suffix == ".safetensors":
        return read_ours(path)
    variant, state = convert(published_state(read_bytes(path), path))
    return variant, state, path.stem


def write(
    path: Path,
    network: ShiftNet,
    *,
    name: str,
    training_data: str,
    licence: str,
    half: bool = False,
    details: Mapping[str, str] | None = None,
) -> None:
    """Write a network's weights, in float32 or float16, with what is to be known of them. The file appears whole or not
    at all."""
    dtype = torch.float16 if half else torch.float32
    state = {key: tensor.detach().cpu().to(dtype).contiguous() for key, tensor in network.state_dict().items()}
    known = dict(details or {}) | {"name": name, "training_data": training_data, "licence": licence}
    _write(path, _packed(network.variant, state, known))


def _packed(variant: Variant, state: dict[str, Tensor], known: dict[str, str]) -> bytes:
    metadata = {"format": "vsgshift", "variant": variant.name, "task": variant.task, "vsgshift_version": __version__}
    return safetensors.torch.save(state, metadata | known)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def import_checkpoint(source: Path, name: str | None = None, *, accept_changed: bool = False) -> Path:
    """Check a published checkpoint (.pth), install it in the user's models folder, and return the .safetensors file.

    The name is by default that of the model which the authors' file name stands for, else the file's own. The file of a
    published model must be the one that was installed first, unless ``accept_changed``.

    Raises:
        CheckpointError: the file is not a published checkpoint, not that of the named model, or has changed; or the
            name cannot be a model's.
        OSError: the models folder cannot be written to. What was there is unharmed.
    """
    by_file = {model.published_as: model.name for model in published_models()}
    name = name or by_file.get(source.name, source.stem)
    model = MODELS.get(name)
    _check_name(name, model)
    data = read_bytes(source)
    variant, state = convert(published_state(data, source))
    if model and model.variant != variant:
        raise CheckpointError(f"{source} is a {variant.name} checkpoint, but {name} is a {model.variant.name}")
    original = Original.of(data, source.name)
    if model and not accept_changed:
        originals.check(model, original)
    known = {
        "name": name,
        "training_data": model.training_data if model else "not known",
        "licence": model.licence if model else "not known",
        **{f"original_{key}": str(value) for key, value in asdict(original).items()},
    }
    target = models_folder() / f"{name}.safetensors"
    # Copies, since tensors of the file may share memory, which safetensors does not do.
    own = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
    _write(target, _packed(variant, own, known))
    if model:
        _write(originals.note(model), originals.contents(original))
    return target


def _check_name(name: str, model: Model | None) -> None:
    """Names are file names in the models folder, and must not hide a file or another model."""
    short = any(full_name(name, task) != name for task in get_args(Task))
    if short or (model and model.published_as is None):
        raise CheckpointError(f"{name} is a bundled model; choose another name with --name")
    if not _NAME.fullmatch(name) or name.endswith((".pth", ".safetensors")):
        raise CheckpointError(f"{name!r} cannot be the name of a model; give one of letters and digits with --name")


def remove(name: str) -> Path:
    """Delete the installed weights of a model and return their file. The note on the original's digest stays.

    Raises UnknownModelError if there is no such model, or it is bundled; MissingWeightsError if it is not installed.
    """
    model = MODELS.get(name)
    if model and model.published_as is None:
        raise UnknownModelError(f"{name} is bundled with vsgshift and cannot be removed")
    if model is None and name not in imported_names():
        raise UnknownModelError(f"unknown model {name!r}; installed are: {', '.join(installed_names()) or 'none'}")
    path = models_folder() / f"{name}.safetensors"
    if not path.is_file():
        raise MissingWeightsError(f"{name} is not installed")
    path.unlink()
    return path


def installed_names() -> list[str]:
    """Names of the models in the user's folder."""
    return [model.name for model in published_models() if model.installed] + imported_names()
