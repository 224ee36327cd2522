"""Networks as ONNX files: what onnxruntime, and vs-mlrt on a CPU, make of them is what the filter gives."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from films import FFMPEG, VSPIPE

from vsgshift.cli import main
from vsgshift.errors import ExportError
from vsgshift.export import Window, export
from vsgshift.network import VARIANTS, ShiftNet
from vsgshift.network.timeline import WholeClip

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
MLRT = Path(__file__).parents[1] / "scripts" / "examples" / "mlrt.vpy"


def network_of(name: str) -> ShiftNet:
    """With few blocks, all at work, and residuals as large as a few noise levels."""
    torch.manual_seed(2)
    variant = VARIANTS[name]
    if variant.unets:
        variant = replace(
            variant,
            unets=1,
            steps=2,
            encoder_blocks=tuple(min(count, 1) for count in variant.encoder_blocks),
            decoder_blocks=tuple(1 for _ in variant.decoder_blocks),
        )
    network = ShiftNet(variant)
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith("beta"):
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["deblur-tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)])
def test_a_window_gives_what_the_whole_clip_gives(name: str) -> None:
    network, frames = network_of(name), 2
    window = Window(network, frames).eval()
    variant = network.variant
    height, width = 2 * variant.multiple, variant.multiple
    clip = torch.rand(window.inputs, 3, height, width)
    time = WholeClip(window.inputs)
    if variant.merge:
        # All but the merge, which is not in the file.
        change = 0.1 * torch.randn_like(clip)
        levels = 0.1 * torch.rand(window.inputs, 4, height // 2, width // 2)
        wanted = network.run_merged(clip, change, levels[:, :1], levels[:, 1:], time)
        planes = torch.cat((clip, clip + change, levels.repeat_interleave(2, 2).repeat_interleave(2, 3)), 1)
        given = planes.reshape(1, -1, height, width)
    else:
        given, noise = clip.reshape(1, -1, height, width), None
        if variant.task == "denoise":
            noise = torch.full((window.inputs, 1, height, width), 0.1)
            given = torch.cat((given, noise[:1]), 1)
        wanted = network.run(clip, noise, time)
    assert given.shape[1] == window.planes
    radius = variant.radius - variant.merge
    found = window(given).reshape(frames, 3, height, width)
    inner = slice(radius, radius + frames)
    torch.testing.assert_close(found - clip[inner], wanted[inner] - clip[inner], rtol=0, atol=1e-5)
    assert float((found - clip[inner]).abs().mean()) > 1e-3


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS])
@pytest.mark.parametrize("half", [False, True])
def test_onnxruntime_gives_what_torch_gives(name: str, half: bool, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    off = export(network_of(name), file, half=half)
    assert off <= (4e-3 if half else 1e-5)
    model = onnx.load(file)
    assert model.opset_import[0].version == 17
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT}


def test_sizes_open_and_fixed(tmp_path: Path) -> None:
    network = network_of("deblur-tiny")
    with pytest.raises(ExportError, match="takes heights and widths that are multiples of 8, not 36x24"):
        export(network, tmp_path / "model.onnx", size=(24, 36))
    export(network, tmp_path / "fixed.onnx", size=(16, 24), frames=2)
    (given,) = onnxruntime.InferenceSession(tmp_path / "fixed.onnx").get_inputs()
    assert given.shape == [1, 3 * (2 + 2 * network.radius), 16, 24]
    assert [file.name for file in tmp_path.iterdir()] == ["fixed.onnx"]


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "forward", lambda self, x: x[:, :3] + (0 if torch.onnx.is_in_onnx_export() else 1e-4))
    with pytest.raises(ExportError, match=r"onnxruntime gives what is 0.0001 off, 1e-05 allowed"):
        export(network_of("deblur-tiny"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["ort", "ov"])
def test_vs_mlrt_gives_what_the_filter_gives(
    runtime: str, untrained: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vs = pytest.importorskip("vapoursynth")
    if not FFMPEG or not VSPIPE:
        pytest.skip("needs vspipe and ffmpeg")
    if not hasattr(vs.core, runtime):
        pytest.skip(f"vapoursynth-mlrt-{runtime} is not installed")
    width, height, length = 48, 32, 16
    video, file = tmp_path / "card.mkv", tmp_path / "model.onnx"
    card = ["-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate=25", "-frames:v", str(length)]
    command = [str(FFMPEG), "-loglevel", "error", *card, "-pix_fmt", "yuv444p", "-colorspace", "bt709"]
    subprocess.run([*command, "-c:v", "ffv1", str(video)], check=True)
    assert main(["export", untrained["deblur"], "-o", str(file)]) == 0
    radius = VARIANTS["deblur-tiny"].radius
    assert f"model.onnx: {2 * radius + 1} frames in, 1 out, {3 * (2 * radius + 1)} planes" in capsys.readouterr().out
    given = {"source": video, "model": file, "frames": 2 * radius + 1, "runtime": runtime}
    options = [word for name, value in given.items() for word in ("-a", f"{name}={value}")]
    done = subprocess.run([str(VSPIPE), *options, str(MLRT), "-"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = np.frombuffer(done.stdout, np.uint8).reshape(length, 3, height, width)
    clip = vs.core.bs.VideoSource(str(video)).gshift.Deblur(model=untrained["deblur"], device_id=-1)
    for n in range(radius, length - radius):
        wanted = np.stack([np.asarray(plane) for plane in clip.get_frame(n)])
        # Conversions round on the way.
        assert np.abs(found[n].astype(int) - wanted).mean() < 0.5, n
