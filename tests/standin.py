"""Stand-ins for the published checkpoints: the same names and shapes, seeded values.

The golden numbers in `golden/` were computed with these values by another implementation.
"""

import resource
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsgshift.network import ShiftNet, Variant
from vsgshift.network.frame_unet import FrameUNet
from vsgshift.weights import published


def seeded(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values of one parameter, drawn from its name and scaled to keep activations near 1."""
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(shape).astype(np.float32)
    kind = key.rpartition(".")[2]
    if kind == "beta":
        return np.float32(0.3) * draw
    if len(shape) == 4:
        gain = 0.08 if key.endswith("body.2.weight") else 0.7
        return draw * np.float32(np.sqrt(gain / np.prod(shape[1:])))
    if kind == "weight" and ".norm." in key:
        return 1 + np.float32(0.1) * draw
    if kind == "weight" and shape == (1,):
        return 0.25 + np.float32(0.05) * draw
    return np.float32(0.05) * draw


def published_state(variant: Variant) -> dict[str, Tensor]:
    """A state dict as the authors would publish it, dead and repeated entries included."""
    shapes = {name: tuple(tensor.shape) for name, tensor in ShiftNet(variant).state_dict().items()}
    state: dict[str, Tensor] = {}

    def fill(pairs: list[tuple[str, str]], shape_of: Callable[[str], tuple[int, ...]]) -> None:
        first: dict[str, str] = {}
        for theirs, ours in pairs:
            tied_to = first.setdefault(ours, theirs)
            state[theirs] = torch.from_numpy(np.array(seeded(tied_to, shape_of(ours))))

    fill(list(published.names(variant)), shapes.__getitem__)
    unet = FrameUNet(variant.width, variant.unet_step, variant.reduction, variant.task)
    unet_shapes = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    for index in range(variant.unets, published.PUBLISHED_UNETS):
        for side in ("orb", "rorb"):
            pairs = published._frame_unet(f"{side}{index + 1}", "", variant)
            fill([(theirs, ours) for theirs, ours in pairs], lambda ours: unet_shapes[ours.removeprefix(".")])
    if variant.task == "deblur":
        state["lrelu.weight"] = torch.from_numpy(seeded("lrelu.weight", (1,)))
    return state


def lively(network: ShiftNet) -> ShiftNet:
    """The network with its gated blocks switched on (they start as identities), ready for inference."""
    for name, parameter in network.named_parameters():
        if name.endswith("beta"):
            nn.init.normal_(parameter, std=0.3)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """L2 norm of the difference over that of what is wanted."""
    return float((actual - expected).norm() / expected.norm())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let every write fail that would make a file longer than this, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A disk of this size in bytes, mounted at an empty folder; gives a function that makes it larger.

    Skips the test where mounting is not allowed.
    """

    def mount(options: str) -> subprocess.CompletedProcess[bytes]:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False)

    try:
        refused = mount(f"size={size}").returncode
    except FileNotFoundError:
        refused = 127
    if refused:
        pytest.skip("mounting is not allowed here")
    try:
        yield lambda larger: mount(f"remount,size={larger}").check_returncode()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
