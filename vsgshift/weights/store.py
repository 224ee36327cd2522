"""Reading, checking and writing files of weights."""

import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vsgshift._version import __version__
from vsgshift.network import VARIANTS, ShiftNet, Variant
from vsgshift.weights.catalogue import MODELS, Model, imported_names, models_folder
from vsgshift.weights.published import CheckpointError, convert

LARGEST_CHECKPOINT = 512 * 2**20
"""Bytes. The largest published network has 54 MB of parameters; anything near this is not one."""


class MissingWeightsError(FileNotFoundError):
    """A known model whose weights are not installed."""


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
        ValueError: no model and no file has that name, or the file is not a checkpoint
            (`CheckpointError`).
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
        raise ValueError(f"no such file: {name}")
    raise ValueError(f"unknown model {name!r}; there are: {', '.join([*MODELS, *imported_names()])}")


def how_to_install(model: Model) -> str:
    """One line on how to get the weights of a model that is not installed."""
    if model.published_as is None:
        return f"the bundled weights of {model.name} are missing; reinstall vsgshift"
    return (
        f"the weights of {model.name} are not installed; get {model.published_as} from the authors' page "
        f"(its link is in the README), then run: python -m vsgshift import {model.published_as} --name {model.name}"
    )


def read(path: Path) -> tuple[Variant, dict[str, Tensor], str]:
    """Variant, our state dict and model name of a .safetensors or published .pth file.

    Raises:
        CheckpointError: it is neither, or is damaged; nothing of it was executed.
    """
    if path.suffix == ".safetensors":
        return _read_ours(path)
    variant, state = convert(_read_pickled(path))
    return variant, state, path.stem


def _read_ours(path: Path) -> tuple[Variant, dict[str, Tensor], str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    variant = VARIANTS.get(metadata.get("variant", ""))
    if variant is None:
        raise CheckpointError(f"{path} does not say which vsgshift network it is for; import the original file again")
    with torch.device("meta"):
        wanted = ShiftNet(variant).state_dict()
    wrong = {key for key in wanted.keys() | state.keys() if key not in state or key not in wanted}
    wrong |= {key for key in state.keys() - wrong if state[key].shape != wanted[key].shape}
    if wrong:
        raise CheckpointError(f"{path} does not fit {variant.name}: {', '.join(sorted(wrong)[:5])}")
    return variant, state, metadata.get("name", path.stem)


def _read_pickled(path: Path) -> Mapping[str, Tensor]:
    """The state dict of a published checkpoint, read without executing anything from it."""
    try:
        if path.stat().st_size > LARGEST_CHECKPOINT:
            raise CheckpointError(f"{path} is too large for a Shift-Net checkpoint")
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is cut off; fetch it again")
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_CHECKPOINT:
                raise CheckpointError(f"{path} would unpack to more than any Shift-Net checkpoint; refused")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors; refused, and nothing of it was run") from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    state = loaded.get("params") if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} is not in the published format: it has no dictionary of tensors called 'params'")
    return state


def write(path: Path, network: ShiftNet, *, name: str, training_data: str, licence: str, half: bool = False) -> None:
    """Write a network's weights with what is to be known of them. The file appears whole or not at all.

    Args:
        half: store float16 instead of float32.
    """
    metadata = {
        "format": "vsgshift",
        "name": name,
        "variant": network.variant.name,
        "task": network.variant.task,
        "training_data": training_data,
        "licence": licence,
        "vsgshift_version": __version__,
    }
    dtype = torch.float16 if half else torch.float32
    state = {key: tensor.detach().cpu().to(dtype).contiguous() for key, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        try:
            part.write(safetensors.torch.save(state, metadata))
            part.close()
            finished = Path(part.name)
            finished.chmod(0o644)
            finished.replace(path)
        except BaseException:
            Path(part.name).unlink()
            raise


def import_checkpoint(source: Path, name: str | None = None) -> Path:
    """Check a published checkpoint and install it in the user's models folder.

    Args:
        source: the authors' .pth file.
        name: the model it is; by default told by the authors' file name, else the file's own name.

    Returns:
        The installed .safetensors file.

    Raises:
        CheckpointError: the file is not a published checkpoint, or not that of the named model.
    """
    variant, state = convert(_read_pickled(source))
    by_file = {model.published_as: model.name for model in MODELS.values() if model.published_as}
    name = name or by_file.get(source.name, source.stem)
    model = MODELS.get(name)
    if model and model.published_as is None:
        raise CheckpointError(f"{name} is a bundled model; choose another name with --name")
    if model and model.variant != variant:
        raise CheckpointError(f"{source} is a {variant.name} checkpoint, but {name} is a {model.variant.name}")
    network = ShiftNet(variant)
    network.load_state_dict(state)
    target = models_folder() / f"{name}.safetensors"
    write(
        target,
        network,
        name=name,
        training_data=model.training_data if model else "not known",
        licence=model.licence if model else "not known",
    )
    return target
