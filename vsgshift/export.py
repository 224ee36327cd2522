"""A network as an ONNX file, for other runtimes: a window of frames goes in, the frames in its middle come out.

What is written is the network as `vsgshift.network` defines it, run by a `Pipeline` that was entered midway, so that
nothing is computed that no frame of the result needs. A window knows nothing of scenes and of the ends of a clip: who
runs it repeats frames there. The same frame is computed again in each window that it is in; larger windows share more.

The input is (1, C, H, W), as runtimes for VapourSynth make it of several clips, with H and W multiples of
`Variant.multiple`, all on the [0, 1] scale:

- T + 2 R frames of RGB one after the other, R being the network's radius; after them, for denoising, one plane of the
  noise's standard deviation, for all of them.
- For a network that merges frames, the merge is not part of the file. T + 2 (R - reach) frames of ten planes each:
  the frame, the merged frame, its noise before merging, and what of it is left in luma's low frequencies, luma's high
  ones and the colours (`Merge.forward`), of which each pixel of a square of 2x2 has the same.

The output is (1, 3 T, H, W), not clamped.
"""

import copy
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.engine import folding
from vsgshift.errors import ExportError
from vsgshift.files import atomic_write
from vsgshift.network import ShiftNet
from vsgshift.network.gated import EPS, GatedBlock
from vsgshift.streaming import Pipeline

OPSET = 17
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3}
"""Largest difference from torch in single precision on the [0, 1] scale; that of half precision is its own rounding."""
MERGED_PLANES = 10


class _FoldedBlock(nn.Module):
    """A `GatedBlock` by `engine.folding`: its convolutions have weights that are not computed in the graph."""

    if TYPE_CHECKING:
        expand: Tensor
        expand_bias: Tensor
        depthwise: Tensor
        mix: Tensor
        gate: Tensor
        project: Tensor
        project_bias: Tensor

    def __init__(self, block: GatedBlock) -> None:
        super().__init__()
        folded = folding.gated(block)
        for name, value in vars(folded).items():
            weight = value[..., None, None] if value.ndim == 2 else value
            self.register_buffer(name, weight.clone(memory_format=torch.contiguous_format))
        self.gate_attention, self.attention = block.gate_attention, block.attention
        # Known before the trace, which would compute them in the graph.
        self.inputs, self.wide = folded.expand.shape[1], len(folded.depthwise)
        self.groups = len(folded.mix) // folded.mix.shape[1]

    def forward(self, x: Tensor, side: Tensor | None = None) -> Tensor:
        joined = x if side is None else torch.cat((x, side), 1)
        normal = F.layer_norm(joined.permute(0, 2, 3, 1), (self.inputs,), eps=EPS).permute(0, 3, 1, 2)
        wide = F.conv2d(normal, self.expand, self.expand_bias)
        a, b = F.conv2d(wide, self.depthwise, padding=1, groups=self.wide).chunk(2, 1)
        q = self.gate_attention(a * b)
        a, b = F.conv2d(F.conv2d(q, self.mix, padding=2, groups=self.groups), self.gate).chunk(2, 1)
        return x + F.conv2d(self.attention(a * torch.sigmoid(b)), self.project, self.project_bias)


class Window(nn.Module):
    """A network, in single or half precision, as a function of a window of frames (float32), ``frames`` of which come
    out; see the module."""

    def __init__(self, network: ShiftNet, frames: int = 1) -> None:
        super().__init__()
        self.network, self.frames = copy.deepcopy(network).requires_grad_(False), frames
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, GatedBlock):
                    parent.register_module(name, _FoldedBlock(child))
        variant = network.variant
        self.inputs = frames + 2 * (variant.radius - variant.merge)
        if variant.merge:
            self.planes = MERGED_PLANES * self.inputs
        else:
            self.planes = 3 * self.inputs + (variant.task == "denoise")

    def forward(self, x: Tensor) -> Tensor:
        """(1, planes, H, W) to (1, 3 * frames, H, W)."""
        height, width = x.shape[2:]
        time = Pipeline()
        time.step(range(self.inputs), self.inputs, cuts=frozenset())
        if self.network.merger is not None:
            each = x.reshape(self.inputs, MERGED_PLANES, height, width)
            clip, merged, levels = each[:, :3], each[:, 3:6], F.avg_pool2d(each[:, 6:], 2)
            restored = self.network.run_merged(clip, merged - clip, levels[:, :1], levels[:, 1:], time)
        else:
            clip = x[:, : 3 * self.inputs].reshape(self.inputs, 3, height, width)
            noise = None
            if self.network.variant.task == "denoise":
                noise = x[:, 3 * self.inputs :].expand(self.inputs, 1, height, width)
            restored = self.network.run(clip, noise, time)
        return restored.reshape(1, 3 * self.frames, height, width)


def export(
    network: ShiftNet, file: Path, *, frames: int = 1, size: tuple[int, int] | None = None, half: bool = False
) -> float:
    """Write a network to an ONNX file, once onnxruntime has been seen to give what torch gives.

    Args:
        network: plain, on the CPU, in single precision.
        frames: that come out of a window.
        size: H and W of all frames; None leaves them open.
        half: compute in half precision; input and output stay float32.

    Returns:
        The largest difference from torch in single precision, on the [0, 1] scale.

    Raises:
        ExportError: a library is missing, the size does not fit the network, or the results differ.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f"{error.name} is missing; install what this needs: pip install 'vsgshift[export]'"
        ) from error
    multiple = network.variant.multiple
    if size is not None and (size[0] % multiple or size[1] % multiple):
        raise ExportError(
            f"{network.variant.name} takes heights and widths that are multiples of {multiple}, not "
            f"{size[1]}x{size[0]}; pad the frames before and crop them after"
        )
    window = Window(network, frames).eval()
    dtype = torch.float16 if half else torch.float32
    example = _frames(window, size or (2 * multiple, 3 * multiple))
    with torch.inference_mode():
        # Another size than that of the trace, where sizes are open.
        given = example if size is not None else _frames(window, (3 * multiple, 2 * multiple))
        expected = window(given)
    if half:
        window.half()
    model = onnx.load_from_string(_traced(window, example, fixed=size is not None))
    variant = network.variant
    about = {
        "network": network.name or variant.name,
        "frames_in": window.inputs,
        "frames_out": frames,
        "radius": variant.radius,
        "multiple": multiple,
    }
    onnx.helper.set_model_props(model, {f"vsgshift.{name}": str(value) for name, value in about.items()})
    onnx.checker.check_model(model)
    whole = model.SerializeToString()
    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    (computed,) = session.run(None, {"input": given.numpy()})
    off = float((torch.from_numpy(computed) - expected).abs().max())
    # What is no number is not within either.
    if not off <= TOLERANCE[dtype]:
        raise ExportError(
            f"onnxruntime gives what is {off:.2g} off, {TOLERANCE[dtype]:.0e} allowed; please report this"
        )
    with atomic_write(file) as partial:
        partial.write_bytes(whole)
    return off


def _traced(window: Window, example: Tensor, *, fixed: bool) -> bytes:
    """The model, as torch's exporter writes it."""
    out = io.BytesIO()
    axes = {2: "height", 3: "width"}
    # It prints the whole graph where it fails, and warns of shapes that the trace takes as they are.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            window,
            (example,),
            out,  # type: ignore[arg-type]
            input_names=["input"],
            output_names=["output"],
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes=None if fixed else {"input": axes, "output": axes},
        )
    return out.getvalue()


def _frames(window: Window, size: tuple[int, int]) -> Tensor:
    """Frames like those of a clip: a ramp that moves, with noise on it; and levels of noise."""
    height, width = size
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(0.2, 0.7, width).expand(1, window.planes, height, width)
    return x + 0.05 * torch.randn(x.shape, generator=generator).abs()
