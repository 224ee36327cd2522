"""The authors' own networks out of a checkout of their repository, to compare with: run, never copied.

Their repository has one file for each of the four networks, all with a class of the same name. Which is which is
seen from the names and shapes of its parameters, as with a checkpoint. Importing the files runs them: name a
checkout that you trust.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from measuring.networks import SEED, enliven
from vsgshift.errors import CheckpointError
from vsgshift.network import ShiftNet, Variant
from vsgshift.weights.published import convert

_CLASS = re.compile(rb"^class (\w*ShiftNet\w*)\(", re.MULTILINE)


class AuthorsError(Exception):
    """Why their network cannot be run, in one line."""


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """One of their networks, and ours with the same weights."""

    file: Path
    network: nn.Module
    variant: Variant
    ours: ShiftNet

    def run(self, clip: Tensor, noise: Tensor | None) -> Tensor:
        """Their way: all frames of (T, 3, H, W) at once; (T, 3, H, W)."""
        inputs = (clip[None],) if noise is None else (clip[None], noise[None])
        with torch.inference_mode():
            result: Tensor = self.network(*inputs)
        return result


def find_networks(folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Theirs]:
    """Their networks in a checkout, by the name of our variant, with random weights that are the same each time.

    Raises AuthorsError if there is no such folder or none of the four networks in it; says what was tried.
    """
    if not folder.is_dir():
        raise AuthorsError(f"{folder} is not a folder; give a checkout of the authors' repository")
    networks: dict[str, Theirs] = {}
    failures = []
    for file in sorted(folder.rglob("*.py")):
        if not (name := _CLASS.search(file.read_bytes())):
            continue
        try:
            theirs = _loaded(file, name[1].decode(), device, dtype)
        except CheckpointError as error:
            failures.append(f"{file.relative_to(folder)}: {error}")
        except Exception as error:
            failures.append(f"{file.relative_to(folder)}: {type(error).__name__}: {error}")
        else:
            networks[theirs.variant.name] = theirs
    if not networks:
        reason = f"; {failures[0]}" if failures else ": no file there has a class named ShiftNet"
        raise AuthorsError(f"{folder} holds none of the published networks{reason}")
    return networks


def _loaded(file: Path, name: str, device: torch.device, dtype: torch.dtype) -> Theirs:
    with _importable(file), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = _imported(file)
        # They drop two frames at either end of a chunk; here none, which is to their advantage.
        network: nn.Module = getattr(module, name)(future_frames=0, past_frames=0)
        enliven(network)
    network.requires_grad_(False).eval()
    variant, state = convert(network.state_dict())
    ours = ShiftNet(variant)
    ours.load_state_dict({key: tensor.clone() for key, tensor in state.items()})
    return Theirs(file=file, network=network.to(device, dtype), variant=variant, ours=ours)


def _imported(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_authors_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(file: Path) -> Iterator[None]:
    """Let a file import its neighbours, by the path of their packages, and keep nothing of that afterwards."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = [str(parent) for parent in list(file.parents)[:4]]
    try:
        yield
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            where = getattr(sys.modules[name], "__file__", None)
            if where and Path(where).is_relative_to(file.parent):
                del sys.modules[name]
