"""The plugin file and the bridge, driven with small processors in place of the network.

Scripts in their own process import this module for its processors.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vapoursynth as vs
from numpy.typing import NDArray

import vsgshift.plugin
from vsgshift.plugin import _bridge
from vsgshift.plugin._bridge import Core, Frame, Node
from vsgshift.video.programs import find_vspipe

if TYPE_CHECKING:
    from vsgshift.plugin._bridge import Processor

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parent.parent
FORMATS = [vs.GRAY8, vs.YUV420P8, vs.YUV422P10, vs.RGB24, vs.YUV444P16, vs.GRAYH, vs.RGBH, vs.RGBS, vs.GRAYS]

Requests = list[tuple[int, int]]


# ---- Processors ----------------------------------------------------------------------------------


class Identity:
    """Hands the input on, after `delay` seconds."""

    def __init__(self, core: Core, clip: Node, delay: float = 0.0) -> None:
        self.core, self.clip, self.delay, self.closed = core, clip, delay, 0
        self.failures: list[int] = []

    def request(self, n: int) -> Frame | Requests:
        return [(0, n)]

    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
        time.sleep(self.delay)
        return frames[0, n]

    def failed(self, n: int) -> None:
        self.failures.append(n)

    def close(self) -> None:
        self.closed += 1


class Invert(Identity):
    """Every sample subtracted from the largest one, plane by plane."""

    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
        source = frames[0, n]
        result = self.core.new_frame(self.clip, source)
        for index in range(source.num_planes):
            np.asarray(result.plane(index))[:] = inverted(np.asarray(source.plane(index)), source.format.bits)
        return result


class Future(Identity):
    """Frame n as the sum of the frames from n to n + 2, fetched one after the other."""

    def __init__(self, core: Core, clip: Node) -> None:
        super().__init__(core, clip)
        self.gathered: dict[int, list[Frame]] = {}

    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
        assert len(frames) == 1
        gathered = self.gathered.setdefault(n, [])
        gathered.extend(frames.values())
        if len(gathered) < 3:
            return [(0, n + len(gathered))]
        del self.gathered[n]
        result = self.core.new_frame(gathered[0], gathered[0])
        np.asarray(result.plane(0))[:] = sum(np.asarray(frame.plane(0)) for frame in gathered)
        return result


class Store(Identity):
    """Fetches all frames for the first request; answers every later one out of its store."""

    def __init__(self, core: Core, clip: Node) -> None:
        super().__init__(core, clip)
        self.frames: dict[tuple[int, int], Frame] = {}

    def request(self, n: int) -> Frame | Requests:
        return self.frames.get((0, n)) or [(0, i) for i in range(self.clip.num_frames)]

    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
        self.frames.update(frames)
        return self.frames[0, n]


def inverted(plane: NDArray[Any], bits: int) -> NDArray[Any]:
    largest = 1 if plane.dtype.kind == "f" else (1 << bits) - 1
    return (largest - plane).astype(plane.dtype)


def install(processor: Callable[[Core, Node], Processor]) -> None:
    """Makes gshift.Deblur create filters of this processor: for scripts in their own process."""

    def deblur(core: Core, clip: Node) -> Node:
        return core.create_filter("Deblur", clip, [clip], processor(core, clip))

    vsgshift.plugin.functions = SimpleNamespace(deblur=deblur)  # type: ignore[attr-defined]


# ---- Helpers -------------------------------------------------------------------------------------


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for vsgshift.plugin.functions."""
    fake = SimpleNamespace()
    monkeypatch.setattr(vsgshift.plugin, "functions", fake, raising=False)
    return fake


def use(functions: SimpleNamespace, processor: Callable[[Core, Node], Processor]) -> list[Processor]:
    """Makes gshift.Deblur create filters of this processor; returns the list they are added to."""
    made: list[Processor] = []

    def deblur(core: Core, clip: Node, **_: object) -> Node:
        made.append(processor(core, clip))
        return core.create_filter("Deblur", clip, [clip], made[-1])

    functions.deblur = deblur
    return made


def samples(clip: vs.VideoNode, n: int) -> list[NDArray[Any]]:
    with clip.get_frame(n) as frame:
        return [np.array(frame[plane]) for plane in range(frame.format.num_planes)]


def noise(format: int = vs.GRAY8, width: int = 34, height: int = 18, length: int = 8) -> vs.VideoNode:
    """A clip of reproducible noise, frame n with the property Number = n."""

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        generator = np.random.default_rng(n)
        for plane in range(frame.format.num_planes):
            target = np.asarray(frame[plane])
            if target.dtype.kind == "f":
                target[:] = generator.random(target.shape)
            else:
                target[:] = generator.integers(0, 1 << frame.format.bits_per_sample, target.shape)
        frame.props["Number"] = n
        return frame

    blank = vs.core.std.BlankClip(width=width, height=height, format=format, length=length)
    return blank.std.ModifyFrame(blank, fill)


def assert_same_frame(actual: vs.VideoNode, expected: vs.VideoNode, n: int) -> None:
    for a, b in zip(samples(actual, n), samples(expected, n), strict=True):
        np.testing.assert_array_equal(a, b)
    assert dict(actual.get_frame(n).props) == dict(expected.get_frame(n).props)


def script(body: str) -> str:
    """A program that has this module's names, `core` and `vs`."""
    head = f"import sys\nsys.path.insert(0, {str(REPOSITORY / 'tests')!r})\nfrom test_bridge import *\n"
    return head + "core = vs.core\n" + textwrap.dedent(body)


def python(body: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script(body)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def write_vpy(folder: Path, body: str) -> Path:
    path = folder / "script.vpy"
    path.write_text(script(body))
    return path


def vspipe(path: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [find_vspipe(), *arguments, str(path), "-"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)


def assert_clean(result: subprocess.CompletedProcess[str], stdout: str = "") -> None:
    """The process ended by itself, in order, and left nothing behind."""
    assert result.returncode == 0, result.stderr
    assert result.stdout == stdout
    assert_no_complaint(result.stderr)


def assert_no_complaint(stderr: str) -> None:
    for word in ("leak", "still exist", "Traceback", "Fatal", "internal error"):
        assert word not in stderr, stderr


# ---- Calls and their values ------------------------------------------------------------------------


def test_functions_are_found_by_autoload() -> None:
    names = {function.name for function in vs.core.gshift.functions()}
    assert names == {"Deblur", "Denoise", "EstimateNoise", "Version", "DeviceProperties", "Models"}


def test_arguments_arrive_as_python_values(functions: SimpleNamespace) -> None:
    seen: dict[str, object] = {}

    def denoise(core: Core, **arguments: object) -> object:
        seen.update(arguments)
        return arguments["clip"]

    functions.denoise = denoise
    clip = vs.core.std.BlankClip(width=33, height=17, format=vs.YUV444P10, length=7)
    vs.core.gshift.Denoise(clip, sigma=2.5, sigma_map=clip, model="é", scenechange=True, device_id=-1)
    node, other = seen.pop("clip"), seen.pop("sigma_map")
    assert seen == {"sigma": 2.5, "model": "é", "scenechange": 1, "device_id": -1}
    assert isinstance(node, Node)
    assert isinstance(other, Node)
    assert (node.width, node.height, node.num_frames, node.is_constant) == (33, 17, 7, True)
    format = node.format
    assert (format.color_family, format.sample_type, format.bits) == ("YUV", "integer", 10)
    assert (format.subsampling_w, format.subsampling_h, format.num_planes) == (0, 0, 3)
    assert (format.name, format.id) == ("YUV444P10", int(vs.YUV444P10))


def test_format_of_every_kind(functions: SimpleNamespace) -> None:
    seen: list[Node] = []

    def deblur(core: Core, clip: Node) -> Node:
        seen.append(clip)
        return clip

    functions.deblur = deblur
    for preset in FORMATS:
        clip = vs.core.std.BlankClip(format=preset, length=1)
        vs.core.gshift.Deblur(clip)
        assert (seen[-1].format.id, seen[-1].format.name) == (int(preset), clip.format.name)
    a, b = (vs.core.std.BlankClip(width=w, format=f, length=1) for w, f in ((64, vs.GRAY8), (32, vs.RGB24)))
    vs.core.gshift.Deblur(vs.core.std.Splice([a, b], mismatch=True))
    node = seen[-1]
    assert not node.is_constant
    assert (node.format.color_family, node.format.id, node.width) == ("UNDEFINED", 0, 0)
    seen.clear()


def test_dictionaries_come_back(functions: SimpleNamespace) -> None:
    answer = {"text": "wört", "data": b"\0\xff", "number": -3, "list": [1, 2], "float": 0.5, "names": ["a", "b"]}
    functions.version = lambda core: answer
    functions.device_properties = lambda core, device_id: {"id": device_id}
    functions.models = lambda core: {}
    version = dict(vs.core.gshift.Version())
    for key in ("text", "names"):  # older VapourSynths give bytes
        version[key] = [v.decode() if isinstance(v, bytes) else v for v in np.atleast_1d(version[key]).tolist()]
    assert version == {**answer, "text": ["wört"]}
    assert vs.core.gshift.DeviceProperties(3) == {"id": 3} or vs.core.gshift.DeviceProperties(3) == 3
    assert not vs.core.gshift.Models()


def test_invoke(functions: SimpleNamespace) -> None:
    def deblur(core: Core, clip: Node) -> Node:
        gray = core.invoke("resize", "Bicubic", clip=clip, format=int(vs.GRAY8), matrix_in=None)
        flipped = core.invoke("std", "FlipVertical", clip=gray)
        return core.invoke("std", "ShufflePlanes", clips=[gray, flipped, gray], planes=[0, 0, 0], colorfamily=2)

    functions.deblur = deblur
    clip = noise()
    result = vs.core.gshift.Deblur(clip)
    assert result.format.id == vs.RGB24
    np.testing.assert_array_equal(samples(result, 2)[1], samples(clip, 2)[0][::-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda core, clip: core.invoke("nothere", "F", clip=clip), "no plugin has the namespace 'nothere'"),
        (lambda core, clip: core.invoke("std", "Trim", clip=clip, first=9, last=1), "Trim: "),
        (lambda core, clip: core.invoke("std", "Loop", clip=clip, times="x"), "Loop: "),
    ],
)
def test_invoke_reports_errors(functions: SimpleNamespace, call: Callable[[Core, Node], Node], message: str) -> None:
    functions.deblur = call
    with pytest.raises(vs.Error, match=f"^Deblur: .*{message}"):
        vs.core.gshift.Deblur(noise())


def test_log_reaches_the_core(functions: SimpleNamespace) -> None:
    def version(core: Core) -> dict[str, int]:
        core.log("warning", "a wörd")
        with pytest.raises(ValueError, match="unknown log level"):
            core.log("loud", "x")  # type: ignore[arg-type]
        return {"threads": core.num_threads, "more": 1}

    functions.version = version
    messages: list[str] = []
    handle = vs.core.core.add_log_handler(lambda level, text: messages.append(text))
    try:
        assert vs.core.gshift.Version()["threads"] == vs.core.num_threads
    finally:
        vs.core.core.remove_log_handler(handle)
    assert messages[-1] == "a wörd"


def test_handles_refuse_use_after_their_time(functions: SimpleNamespace) -> None:
    kept: list[Core] = []
    functions.version = lambda core: kept.append(core) or {"a": 1, "b": 2}  # type: ignore[func-returns-value]
    vs.core.gshift.Version()
    with pytest.raises(RuntimeError, match="core may be gone"):
        _ = kept[0].num_threads
    for kind in (Core, Node, Frame, _bridge.Format, _bridge.Plane):
        with pytest.raises(TypeError):
            kind()


# ---- Errors while creating ------------------------------------------------------------------------


def raiser(error: BaseException) -> Callable[..., Node]:
    def function(core: Core, **_: object) -> Node:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such\nmodel:  choose another"), "Deblur: no such model: choose another"),
        (RuntimeError("Deblur: said already"), "Deblur: said already"),
        (MemoryError(), "Deblur: MemoryError"),
        (FileNotFoundError(2, "No such file", "a.pth"), "Deblur: [Errno 2] No such file: 'a.pth'"),
        (TypeError("oh"), "Deblur: internal error (TypeError: oh)"),
        (NotImplementedError("later"), "Deblur: internal error (NotImplementedError: later)"),
    ],
)
def test_error_at_creation(functions: SimpleNamespace, error: Exception, message: str) -> None:
    functions.deblur = raiser(error)
    with pytest.raises(vs.Error) as caught:
        vs.core.gshift.Deblur(noise())
    assert str(caught.value) == message


def test_wrong_answers_at_creation(functions: SimpleNamespace) -> None:
    functions.deblur = lambda core, clip: None
    with pytest.raises(vs.Error, match=r"internal error .*returned a NoneType"):
        vs.core.gshift.Deblur(noise())
    functions.deblur = lambda core, clip: core.create_filter("Deblur", clip, [clip], object())
    with pytest.raises(vs.Error, match="object is no processor"):
        vs.core.gshift.Deblur(noise())
    functions.deblur = lambda core, clip: core.create_filter("D", clip, [clip], Identity(core, clip), format=7)
    with pytest.raises(vs.Error, match=r"^Deblur: no video format has the id 7"):
        vs.core.gshift.Deblur(noise())


# ---- Frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_planes_without_a_copy(functions: SimpleNamespace, format: vs.PresetVideoFormat) -> None:
    use(functions, Invert)
    subsampled = format in (vs.YUV420P8, vs.YUV422P10)
    source = noise(format, *((34, 18) if subsampled else (33, 17)))
    result = vs.core.gshift.Deblur(source)
    for n in (0, 5):
        for actual, plane in zip(samples(result, n), samples(source, n), strict=True):
            np.testing.assert_array_equal(actual, inverted(plane, source.format.bits_per_sample))
        assert dict(result.get_frame(n).props) == dict(source.get_frame(n).props)


def test_identity_is_exact(functions: SimpleNamespace) -> None:
    made = use(functions, Identity)
    source = noise(vs.YUV420P8)
    result = vs.core.gshift.Deblur(source)
    for n in range(8):
        assert_same_frame(result, source, n)
    del result
    assert [processor.closed for processor in made] == [1]  # type: ignore[attr-defined]


def test_output_format_may_differ(functions: SimpleNamespace) -> None:
    class Halve(Identity):
        model: Node

        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            result = self.core.new_frame(self.model, frames[0, n])
            np.asarray(result.plane(0))[:] = np.asarray(frames[0, n].plane(0)) / np.float32(2)
            return result

    def deblur(core: Core, clip: Node) -> Node:
        processor = Halve(core, clip)
        processor.model = core.invoke("std", "BlankClip", clip=clip, format=int(vs.GRAYS), length=1)
        return core.create_filter("Deblur", clip, [clip], processor, format=int(vs.GRAYS))

    functions.deblur = deblur
    source = noise()
    result = vs.core.gshift.Deblur(source)
    assert result.format.id == vs.GRAYS
    np.testing.assert_array_equal(samples(result, 3)[0], samples(source, 3)[0] / np.float32(2))


def test_frame_contract(functions: SimpleNamespace) -> None:
    class Check(Identity):
        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            source = frames[0, n]
            assert (source.width, source.height, source.num_planes) == (33, 17, 1)
            assert (source.format, source.format.name) == (self.clip.format, "Gray8")
            assert source.int_property("Number", -1) == n
            assert source.int_property("Nothing", -1) == -1
            assert source.int_property("Nothing", None) is None
            assert source.has_property("Number")
            assert not source.has_property("Nothing")
            with pytest.raises(IndexError):
                source.plane(1)
            view = np.asarray(source.plane(0))
            assert not view.flags.writeable
            assert view.base is not None
            assert view.strides[0] >= 33
            with pytest.raises(ValueError, match="read-only"):
                view[:] = 0
            before = view.copy()
            source.release()
            source.release()
            np.testing.assert_array_equal(view, before)  # the view keeps the memory
            del view
            with pytest.raises(RuntimeError, match="released"):
                source.plane(0)

            result = self.core.new_frame(self.clip)
            writable = np.asarray(result.plane(0))
            writable[:] = before
            assert np.shares_memory(writable, np.asarray(result.plane(0)))
            assert not result.has_property("Number")
            return result

    use(functions, Check)
    source = noise(width=33, height=17)
    result = vs.core.gshift.Deblur(source)
    np.testing.assert_array_equal(samples(result, 4)[0], samples(source, 4)[0])


def test_frame_properties(functions: SimpleNamespace) -> None:
    class Write(Identity):
        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            source = frames[0, n]
            with pytest.raises(RuntimeError, match="read-only"):
                source.set_property("Number", 1)
            result = self.core.new_frame(self.clip, source)
            values: dict[str, Any] = {"Number": n + 10, "Half": n / 2, "Name": "dot", "Gone": None}
            for key, value in values.items():
                result.set_property(key, value)
            assert (result.int_property("Number", -1), source.int_property("Number", -1)) == (n + 10, n)
            assert (result.float_property("Half", None), result.float_property("Number", -1.0)) == (n / 2, -1)
            with pytest.raises(ValueError, match="does not take 9"):
                result.set_property("9", 1)
            with pytest.raises(TypeError, match="Number is a object"):
                result.set_property("Number", object())  # type: ignore[arg-type]
            result.set_property("Number", n + 10)
            return result

    use(functions, Write)
    source = noise().std.SetFrameProps(Gone=3)
    props = vs.core.gshift.Deblur(source).get_frame(3).props
    assert {key: props[key] for key in ("Number", "Half", "Name")} == {"Number": 13, "Half": 1.5, "Name": "dot"}
    assert "Gone" not in props


def test_a_delivered_frame_is_read_only(functions: SimpleNamespace) -> None:
    class Keep(Invert):
        kept: Frame

        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            self.kept = super().ready(n, frames)  # type: ignore[assignment]
            return self.kept

    made = use(functions, Keep)
    result = vs.core.gshift.Deblur(noise())
    result.get_frame(0).close()
    assert not np.asarray(made[0].kept.plane(0)).flags.writeable  # type: ignore[attr-defined]


# ---- Requests -------------------------------------------------------------------------------------


def test_more_frames_may_be_requested_in_ready(functions: SimpleNamespace) -> None:
    use(functions, Future)
    source = noise(length=6)
    result = vs.core.gshift.Deblur(source)
    for n in (4, 0, 5, 2):
        expected = sum(samples(source, min(n + i, 5))[0] for i in range(3))
        np.testing.assert_array_equal(samples(result, n)[0], expected)


def test_frames_from_a_store(functions: SimpleNamespace) -> None:
    made = use(functions, Store)
    source = noise()
    result = vs.core.gshift.Deblur(source)
    for n in random.Random(0).choices(range(8), k=30):
        assert_same_frame(result, source, n)
    assert len(made[0].frames) == 8  # type: ignore[attr-defined]
    with result.get_frame(3) as a, result.get_frame(3) as b:
        assert np.asarray(a[0]).ctypes.data == np.asarray(b[0]).ctypes.data


def test_two_inputs(functions: SimpleNamespace) -> None:
    class Difference(Identity):
        def request(self, n: int) -> Frame | Requests:
            return [(0, n), (1, n), (0, n)]

        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            assert set(frames) == {(0, n), (1, n)}
            result = self.core.new_frame(self.clip, frames[1, n])
            a, b = (np.asarray(frames[i, n].plane(0)) for i in range(2))
            np.asarray(result.plane(0))[:] = a - b
            return result

    def denoise(core: Core, clip: Node, sigma_map: Node) -> Node:
        return core.create_filter("Denoise", clip, [clip, sigma_map], Difference(core, clip))

    functions.denoise = denoise
    source = noise()
    result = vs.core.gshift.Denoise(source, sigma_map=source.std.FlipVertical())
    plane = samples(source, 1)[0]
    np.testing.assert_array_equal(samples(result, 1)[0], plane - plane[::-1])


def test_chained_filters_and_random_seeks(functions: SimpleNamespace) -> None:
    use(functions, Invert)
    source = noise(vs.RGBS, length=40)
    twice = vs.core.gshift.Deblur(vs.core.gshift.Deblur(vs.core.gshift.Deblur(source)))
    expected = vs.core.std.Invert(source)
    frames = [twice.get_frame_async(n) for n in random.Random(1).choices(range(40), k=80)]
    for future in frames:
        with future.result(30) as frame, expected.get_frame(frame.props["Number"]) as other:  # type: ignore[arg-type]
            np.testing.assert_allclose(np.asarray(frame[1]), np.asarray(other[1]), atol=1e-6)


# ---- Errors while rendering -----------------------------------------------------------------------


class Failing(Identity):
    """Fails in the named method, with the given error."""

    def __init__(self, core: Core, clip: Node, method: str, error: BaseException) -> None:
        super().__init__(core, clip)
        self.method, self.error = method, error

    def request(self, n: int) -> Frame | Requests:
        if self.method == "request":
            raise self.error
        return super().request(n)

    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
        if self.method == "ready":
            raise self.error
        return super().ready(n, frames)


@pytest.mark.parametrize("method", ["request", "ready"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("out of memory:\nlower block"), "Deblur: out of memory: lower block"),
        (KeyError("x"), "Deblur: internal error (KeyError: 'x')"),
    ],
)
def test_error_at_rendering(functions: SimpleNamespace, method: str, error: Exception, message: str) -> None:
    use(functions, lambda core, clip: Failing(core, clip, method, error))
    result = vs.core.gshift.Deblur(noise())
    for n in (3, 4):
        with pytest.raises(vs.Error) as caught:
            result.get_frame(n)
        assert str(caught.value) == message


def test_errors_of_the_source_pass_through(functions: SimpleNamespace) -> None:
    def fail(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        raise ValueError("broken source")

    processors = use(functions, Identity)
    source = noise()
    result = vs.core.gshift.Deblur(source.std.ModifyFrame(source, fail))
    for n in (0, 3, 0):
        with pytest.raises(vs.Error, match="broken source"):
            result.get_frame(n)
    assert isinstance(processors[0], Identity)
    assert processors[0].failures == [0, 3, 0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda core, frame: None, "neither a Frame nor a list"),
        (lambda core, frame: [], "neither a Frame nor a list"),
        (lambda core, frame: [(1, 0)], "input 1 of 1"),
        (lambda core, frame: [(0, 0), "x"], "internal error"),
        (lambda core, frame: frame.release() or frame, "released"),
        (lambda core, frame: core.new_frame(core.invoke("std", "BlankClip", width=8)), "not what the filter"),
    ],
)
def test_wrong_answers_at_rendering(
    functions: SimpleNamespace, answer: Callable[[Core, Frame], Frame | Requests], message: str
) -> None:
    class Wrong(Identity):
        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            return answer(self.core, frames[0, n])

    use(functions, Wrong)
    with pytest.raises(vs.Error, match=f"^Deblur: .*{message}"):
        vs.core.gshift.Deblur(noise()).get_frame(0)


# ---- Start and Finish -----------------------------------------------------------------------------


def start(functions: SimpleNamespace, clip: vs.VideoNode, matrix: int = 6) -> vs.VideoNode:
    functions.deblur = lambda core, clip: core.remember_props(clip, matrix)
    result = vs.core.gshift.Deblur(clip)
    assert isinstance(result, vs.VideoNode)
    return result


@pytest.mark.parametrize(
    ("format", "before", "added", "colour"),
    [
        (vs.YUV444P8, {}, {"_Matrix": 6, "_Range": 0}, 6),
        (vs.YUV444P8, {"_Matrix": 2}, {"_Matrix": 6, "_Range": 0}, 6),
        (vs.YUV444P8, {"_Matrix": 1, "_Range": 1}, {}, 1 + 16),
        (vs.YUV420P8, {"_Matrix": 9, "_ColorRange": 0, "_ChromaLocation": 2}, {"_Range": 1}, 9 + 16 + 64),
        (vs.YUV420P8, {"_Matrix": 9, "_ColorRange": 1, "_ChromaLocation": 9}, {"_Range": 0}, 9),
        (vs.RGB24, {}, {"_Range": 1}, 6 + 16),
        (vs.RGB24, {"_Matrix": 0, "_Range": 0}, {}, 0),
        (vs.GRAY8, {"_Matrix": 2}, {"_Range": 0}, 6),
    ],
)
@pytest.mark.filterwarnings("ignore:The _ColorRange frame property")  # old scripts set it
def test_start(
    functions: SimpleNamespace, format: int, before: dict[str, int], added: dict[str, int], colour: int
) -> None:
    colour_props = ["_Matrix", "_Range", "_ColorRange", "_ChromaLocation"]
    source = vs.core.std.RemoveFrameProps(noise(format), colour_props).std.SetFrameProps(**before)
    original = dict(source.get_frame(2).props)
    result = start(functions, source)
    props = dict(result.get_frame(2).props)
    saved = props.pop("_GShiftProps")
    assert isinstance(saved, vs.VideoFrame)
    assert (saved.width, saved.height, saved.format.id) == (1, 1, vs.GRAY8)
    assert dict(saved.props) == original
    assert props.pop("_GShiftColour") == colour
    assert props == {**original, **added}
    np.testing.assert_array_equal(samples(result, 2)[0], samples(source, 2)[0])


def test_start_and_finish_keep_every_property(functions: SimpleNamespace) -> None:
    source = noise(vs.YUV420P8).std.SetFrameProps(_Matrix=2, _Transfer=1, Text="t", Many=[1, 2])

    def deblur(core: Core, clip: Node) -> Node:
        known = core.remember_props(clip, 6)
        rgb = core.invoke("resize", "Bicubic", clip=known, format=int(vs.RGBS))
        work = core.create_filter("Deblur", rgb, [rgb], Invert(core, rgb))

        def convert(node: Node) -> dict[int, Node]:
            return {
                m: core.invoke("resize", "Bicubic", clip=node, format=clip.format.id, matrix=abs(m)) for m in (-1, 1, 6)
            }

        return core.restore_props(work, convert)

    functions.deblur = deblur
    result = vs.core.gshift.Deblur(source)
    assert (result.format.id, result.num_frames) == (vs.YUV420P8, 8)
    for n in range(8):
        assert dict(result.get_frame(n).props) == dict(source.get_frame(n).props)


def test_finish_chooses_by_colour(functions: SimpleNamespace) -> None:
    levels = {1: 10, 6: 60, 9: 200}

    def deblur(core: Core, clip: Node) -> Node:
        known = core.remember_props(clip, 1)

        def convert(node: Node) -> dict[int, Node]:
            back = {m: core.invoke("std", "Expr", clips=node, expr=str(levels[abs(m)])) for m in (-9, 1, 6)}
            back[-1] = back.pop(-9)
            return back

        return core.restore_props(known, convert)

    functions.deblur = deblur
    matrices = random.Random(2).choices(list(levels), k=40)
    plain = noise(length=40)
    source = plain.std.FrameEval(lambda n: plain.std.SetFrameProps(_Matrix=matrices[n]))
    result = vs.core.gshift.Deblur(source)
    pending = [result.get_frame_async(n) for n in range(40)]
    for matrix, future in zip(matrices, pending, strict=True):
        with future.result(30) as frame:
            assert (frame[0][0, 0], frame.props["_Matrix"]) == (levels[matrix], matrix)


def test_finish_computes_each_frame_once(functions: SimpleNamespace) -> None:
    lock = threading.Lock()
    counts: dict[int, int] = {}

    class Count(Invert):
        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            with lock:
                counts[n] = counts.get(n, 0) + 1
            return super().ready(n, frames)

    def deblur(core: Core, clip: Node) -> Node:
        known = core.remember_props(clip, 6)
        work = core.create_filter("Deblur", known, [known], Count(core, known))

        def convert(node: Node) -> dict[int, Node]:
            return {m: core.invoke("resize", "Bicubic", clip=node, format=int(vs.GRAY16)) for m in (-1, 1, 6, 9)}

        return core.restore_props(work, convert)

    functions.deblur = deblur
    # Colours that change all the time, and more requests at once than any cache holds.
    plain = noise(length=300)
    matrices = random.Random(3).choices((1, 6, 9), k=300)
    source = plain.std.FrameEval(lambda n: plain.std.SetFrameProps(_Matrix=matrices[n]))
    result = vs.core.gshift.Deblur(source)
    pending = [result.get_frame_async(n) for n in range(300)]
    for future in pending:
        future.result(30).close()
    assert counts == dict.fromkeys(range(300), 1)


@pytest.mark.parametrize("stage", ["request", "ready"])
def test_finish_passes_a_failing_converter_on(functions: SimpleNamespace, stage: str) -> None:
    """Whether or not it had taken the frame that was laid down for it."""

    class Bad(Identity):
        def request(self, n: int) -> Frame | Requests:
            if stage == "request" and n == 1:
                raise ValueError("bad converter")
            return super().request(n)

        def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | Requests:
            if stage == "ready" and n == 1:
                raise ValueError("bad converter")
            return super().ready(n, frames)

    def deblur(core: Core, clip: Node) -> Node:
        known = core.remember_props(clip, 6)
        return core.restore_props(known, lambda node: {-1: core.create_filter("Deblur", node, [node], Bad(core, node))})

    functions.deblur = deblur
    result = vs.core.gshift.Deblur(noise(length=3))
    for _ in range(2):
        with pytest.raises(vs.Error, match="bad converter"):
            result.get_frame(1)
    assert dict(result.get_frame(0).props) == dict(noise(length=3).get_frame(0).props)


def test_finish_says_what_is_missing(functions: SimpleNamespace) -> None:
    functions.deblur = lambda core, clip: core.restore_props(clip, lambda node: {-1: node})
    with pytest.raises(vs.Error, match="remembered properties"):
        vs.core.gshift.Deblur(noise()).get_frame(0)
    functions.deblur = lambda core, clip: core.restore_props(clip, lambda node: {1: node})
    with pytest.raises(vs.Error, match="no entry for -1"):
        vs.core.gshift.Deblur(noise())
    functions.deblur = lambda core, clip: core.restore_props(
        clip, lambda node: {-1: node, 1: core.invoke("std", "Trim", clip=node, length=2)}
    )
    with pytest.raises(vs.Error, match="differ"):
        vs.core.gshift.Deblur(noise())


# ---- Whole processes ------------------------------------------------------------------------------

SOURCE = "core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length={length}, keep=True)"


def test_vspipe_requests_and_threads(tmp_path: Path) -> None:
    path = write_vpy(
        tmp_path,
        f"""
        install(Invert)
        core.num_threads = int(threads)
        clip = {SOURCE.format(length=60)}.std.FrameEval(lambda n: core.std.BlankClip(clip, color=[n, 9, 9]))
        (core.std.Invert(clip) if expected == "yes" else core.gshift.Deblur(clip)).set_output()
        """.replace("clip = core", "clip = blank = core").replace("BlankClip(clip", "BlankClip(blank"),
    )

    def digest(requests: int, threads: int, expected: str) -> str:
        options = ("-r", str(requests), "-a", f"threads={threads}", "-a", f"expected={expected}")
        result = vspipe(path, *options)
        assert result.returncode == 0, result.stderr
        assert_no_complaint(result.stderr.decode())
        assert len(result.stdout) == 60 * 64 * 48 * 3 // 2
        return hashlib.sha256(result.stdout).hexdigest()

    expected = digest(2, 2, "yes")
    for requests, threads in [(1, 1), (1, 8), (2, 2), (8, 1), (8, 4), (32, 1), (32, 8)]:
        assert digest(requests, threads, "no") == expected


@pytest.mark.parametrize("where", ["request", "ready", "creation"])
def test_vspipe_reports_an_error(tmp_path: Path, where: str) -> None:
    body = f"""
        error = RuntimeError("out of\\nmemory: lower block")
        install(lambda core, clip: Failing(core, clip, {where!r}, error))
        if {where!r} == "creation":
            vsgshift.plugin.functions.deblur = raiser(error)
        core.gshift.Deblur({SOURCE.format(length=9)}).set_output()
        """
    result = vspipe(write_vpy(tmp_path, body))
    assert result.returncode == 1
    stderr = result.stderr.decode()
    assert "Deblur: out of memory: lower block\n" in stderr
    assert "leak" not in stderr
    assert result.stdout == b""


def test_several_outputs(tmp_path: Path) -> None:
    body = f"""
        install(Invert)
        for index, level in enumerate((10, 20, 30)):
            core.gshift.Deblur({SOURCE.format(length=4)}.std.BlankClip(color=[level] * 3)).set_output(index)
        """
    path = write_vpy(tmp_path, body)
    for index, level in enumerate((245, 235, 225)):
        result = vspipe(path, "-o", str(index))
        assert result.returncode == 0
        assert set(result.stdout) == {level}


def test_a_closed_pipe_ends_vspipe(tmp_path: Path) -> None:
    body = f"install(Invert)\ncore.gshift.Deblur({SOURCE.format(length=100_000)}).set_output()"
    command = [str(BIN / "vspipe"), "-r", "16", str(write_vpy(tmp_path, body)), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100_000)
        process.stdout.close()
        stderr = process.stderr.read().decode()
        assert process.wait(30) == 243  # vspipe's answer to EPIPE, whatever the filter
    assert_no_complaint(stderr)


def test_interrupt_ends_vspipe(tmp_path: Path) -> None:
    body = f"""
        install(lambda core, clip: Identity(core, clip, delay=0.02))
        core.gshift.Deblur({SOURCE.format(length=100_000)}).set_output()
        """
    command = [str(BIN / "vspipe"), "-r", "16", str(write_vpy(tmp_path, body)), "-"]

    def heed_interrupts() -> None:
        # A test run started in the background ignores them, and so would its children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    ) as process:
        assert process.stdout is not None
        process.stdout.read(10_000)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0  # vspipe stops in order
    assert_no_complaint(stderr.decode())


@pytest.mark.parametrize("end", ["sys.exit()", "raise SystemExit", "del result; sys.exit()"])
def test_exit_with_frames_in_flight(end: str) -> None:
    body = f"""
        install(lambda core, clip: Identity(core, clip, delay=0.005))
        result = core.gshift.Deblur(core.gshift.Deblur({SOURCE.format(length=500)}))
        frames = [result.get_frame_async(n) for n in range(200)]
        frames[3].result()
        {end}
        """
    assert_clean(python(body))


def test_exit_closes_processors() -> None:
    body = f"""
        class Loud(Identity):
            def close(self):
                sys.stderr.write("closed in order\\n")
        install(Loud)
        result = core.gshift.Deblur({SOURCE.format(length=5)})
        result.get_frame(0)
        """
    result = python(body)
    assert_clean(result)
    assert result.stderr.count("closed in order") == 1


POLICY = """
    class Policy(vs.EnvironmentPolicy):
        current = None
        def on_policy_registered(self, api): self.api = api
        def on_policy_cleared(self): self.current = None
        def get_current_environment(self): return self.current
        def set_environment(self, environment):
            self.current, before = environment, self.current
            return before

    policy = Policy()
    vs.register_policy(policy)
    install(Invert)

    def enter():
        environment = policy.api.create_environment()
        policy.set_environment(environment)
        return environment

    def result():
        return vs.core.gshift.Deblur(vs.core.std.BlankClip(width=64, height=48, format=vs.GRAY8, length=20, color=5))

    def leave(environment):
        policy.set_environment(None)
        policy.api.destroy_environment(environment)
"""


def test_twenty_cores_one_after_the_other() -> None:
    body = """
    for _ in range(20):
        environment = enter()
        clip = result()
        pending = [clip.get_frame_async(n) for n in range(20)]
        for future in pending:
            with future.result() as frame:
                assert frame[0][0, 0] == 250
        del clip, pending, future, frame
        leave(environment)
    """
    assert_clean(python(POLICY + body))


def test_two_cores_at_once() -> None:
    body = """
    first = enter()
    a = result()
    second = enter()
    b = result()
    policy.set_environment(first)
    pending = [clip.get_frame_async(n) for n in range(20) for clip in (a, b)]
    for future in pending:
        with future.result() as frame:
            assert frame[0][0, 0] == 250
    del a, pending, future, frame
    leave(first)
    policy.set_environment(second)
    assert b.get_frame(7)[0][0, 0] == 250
    del b
    leave(second)
    """
    assert_clean(python(POLICY + body))


def test_a_python_without_the_package_is_reported() -> None:
    body = """
        sys.modules["vsgshift.plugin._bridge"] = None
        try:
            core.gshift.Version()
        except vs.Error as error:
            sys.stdout.write(str(error))
        """
    result = python(body)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Version: the Python at {sys.prefix} cannot import vsgshift.plugin._bridge (")
    assert result.stdout.endswith("install vsgshift into that Python")
    assert "\n" not in result.stdout


def test_loading_the_plugin_imports_nothing() -> None:
    body = "import sys, vapoursynth as vs; vs.core.gshift.functions(); print({'torch', 'vsgshift'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize(("asked", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_torch_sleep_while_they_wait(asked: str | None, policy: str) -> None:
    """Unless the user wants otherwise. OpenMP tells its settings as it is loaded, which is to be after that."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": asked} if asked else {})
    body = "import vapoursynth as vs; vs.core.gshift.Models()"
    command = [sys.executable, "-c", body]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert re.search(rf"OMP_WAIT_POLICY ?= ?'{policy}'", result.stderr)


@pytest.mark.parametrize("folder", [REPOSITORY, REPOSITORY / "vsgshift", Path("/")])
def test_the_bridge_is_found_from_any_folder(folder: Path) -> None:
    body = "import vsgshift.plugin._bridge as b; print(b.__file__)"
    for isolate in ([], ["-P"]):
        result = subprocess.run(
            [sys.executable, *isolate, "-c", body], cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
        assert result.stdout.strip() == _bridge.__file__


def test_sources_that_are_not_compiled_say_so_in_one_line() -> None:
    body = (
        "import sys\n"
        "sys.meta_path = [finder for finder in sys.meta_path if 'ScikitBuild' not in type(finder).__name__]\n"
        "try: import vsgshift.plugin._bridge\n"
        "except ImportError as error: print(error)"
    )
    command = [sys.executable, "-c", body]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == (
        f"vsgshift.plugin._bridge is not compiled in {REPOSITORY}; run `pip install -e {REPOSITORY}`, "
        "or start Python elsewhere\n"
    )


HOST = r"""
#include <dlfcn.h>
#include <stdio.h>
#include "VapourSynth4.h"

int main(int argc, char **argv) {
    (void)argc;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL) { fprintf(stderr, "%s\n", dlerror()); return 2; }
    VSGetVapourSynthAPI get = (VSGetVapourSynthAPI)dlsym(library, "getVapourSynthAPI");
    const VSAPI *api = get(VAPOURSYNTH_API_VERSION);
    VSCore *core = api->createCore(ccfDisableAutoLoading);
    VSPlugin *standard = api->getPluginByNamespace("std", core);
    VSMap *arguments = api->createMap();
    api->mapSetData(arguments, "path", argv[2], -1, dtUtf8, maReplace);
    VSMap *loaded = api->invoke(standard, "LoadPlugin", arguments);
    if (api->mapGetError(loaded)) { fprintf(stderr, "%s\n", api->mapGetError(loaded)); return 3; }
    api->clearMap(arguments);
    VSMap *clip = api->invoke(standard, "BlankClip", arguments);
    VSMap *result = api->invoke(api->getPluginByNamespace("gshift", core), "Deblur", clip);
    printf("%s\n", api->mapGetError(result));
    api->freeMap(arguments); api->freeMap(loaded); api->freeMap(clip); api->freeMap(result);
    api->freeCore(core);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_host_without_python_gets_an_error(tmp_path: Path) -> None:
    package = Path(vs.__file__).parent
    (tmp_path / "host.c").write_text(HOST)
    host = tmp_path / "host"
    subprocess.run(["cc", tmp_path / "host.c", "-o", host, "-I", vs.get_include(), "-ldl"], check=True, timeout=60)
    plugin = package / "plugins" / "gshift" / "libgshift.so"
    result = subprocess.run(
        [host, package / "libvapoursynth.so.4", plugin], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Deblur: no Python runs in this process")
    assert_no_complaint(result.stderr)
