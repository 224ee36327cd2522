"""VapourSynth's C API as three Python classes, and filters whose frames Python makes.

A plugin function (vsgshift.plugin.functions) receives a Core and Nodes, builds a graph of other
filters with Core.invoke, and puts its own work into it with Core.create_filter. Everything here may
be called from any thread that holds the GIL; calls into VapourSynth release it.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, final, overload, type_check_only

@type_check_only
class Processor(Protocol):
    """What makes the frames of a filter. Any object with these four methods will do.

    The name is for type checkers: import it under TYPE_CHECKING.

    Calls come from VapourSynth's threads, in no particular frame order. `request` may run in several
    threads at once, also beside `ready`, and so may `failed`; `ready` runs in one thread at a time. Each may block.

    Both answer with the finished frame n, or with a list, not empty, of (input, frame number) pairs
    to fetch before the next call of `ready(n, ...)`. Frame numbers are clamped to the clip. `input`
    is an index into the `inputs` of create_filter. A Frame may be answered again and again, also for
    other n; it is read-only from the first time on.

    An exception fails frame n. ValueError, RuntimeError, OSError, MemoryError, ImportError and
    EOFError speak to the user in one line, "Name: message"; any other is reported as an internal
    error with its traceback in the core's log.
    """

    def request(self, n: int) -> Frame | list[tuple[int, int]]:
        """Frame n has been asked for."""
    def ready(self, n: int, frames: dict[tuple[int, int], Frame]) -> Frame | list[tuple[int, int]]:
        """The last requests of frame n have arrived.

        `frames` maps each (input, frame number) just as it was requested to its frame, and holds what
        the last answer requested, nothing older: keep a frame by holding the Frame object.
        """
    def failed(self, n: int) -> None:
        """A frame that frame n has requested has failed, and frame n with it. Must not raise.

        Which one is not known. Every `request(n)` thus ends in a Frame, an exception, or this.
        """
    def close(self) -> None:
        """The filter is gone, or Python exits. Called once, after the last request and ready.

        Must not raise. Release frames, nodes and threads here.
        """

@final
class Format:
    """A video format. Equal to and hashed as its id."""

    @property
    def color_family(self) -> Literal["YUV", "RGB", "GRAY", "UNDEFINED"]:
        """UNDEFINED: the format varies from frame to frame."""
    @property
    def sample_type(self) -> Literal["integer", "float"]: ...
    @property
    def bits(self) -> int:
        """Significant bits of a sample."""
    @property
    def bytes_per_sample(self) -> int: ...
    @property
    def subsampling_w(self) -> int:
        """log2 of the horizontal chroma subsampling."""
    @property
    def subsampling_h(self) -> int:
        """log2 of the vertical chroma subsampling."""
    @property
    def num_planes(self) -> int: ...
    @property
    def id(self) -> int:
        """VapourSynth's number for the format, such as vapoursynth.YUV420P8; 0 if it varies."""
    @property
    def name(self) -> str:
        """VapourSynth's name for the format, such as "YUV420P8"."""

@final
class Node:
    """A clip. Holding a Node past the life of its core makes VapourSynth report a leak."""

    @property
    def width(self) -> int:
        """Pixels; 0 if the size varies."""
    @property
    def height(self) -> int:
        """Pixels; 0 if the size varies."""
    @property
    def num_frames(self) -> int: ...
    @property
    def format(self) -> Format: ...
    @property
    def is_constant(self) -> bool:
        """Whether every frame has the same format and size."""

@final
class Plane:
    """The samples of one plane, as a buffer: numpy.asarray(plane) copies nothing.

    Two-dimensional (height, width) with padded rows, of uint8, uint16, uint32, float16 or float32.
    Writable for a frame of Core.new_frame until the frame is handed over, else read-only. The buffer
    keeps the frame's memory alive.
    """

    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __release_buffer__(self, buffer: memoryview, /) -> None: ...

@final
class Frame:
    """A reference to a frame. After release() every method but release() raises RuntimeError."""

    @property
    def width(self) -> int:
        """Pixels of the first plane."""
    @property
    def height(self) -> int:
        """Pixels of the first plane."""
    @property
    def num_planes(self) -> int: ...
    @property
    def format(self) -> Format: ...
    def plane(self, index: int) -> Plane:
        """Raises IndexError for a plane the format does not have, RuntimeError for a frame on a GPU."""
    @overload
    def int_property(self, key: str, default: int) -> int: ...
    @overload
    def int_property(self, key: str, default: None) -> int | None:
        """The first value of a frame property; `default` if it is absent or not an integer."""
    @overload
    def float_property(self, key: str, default: float) -> float: ...
    @overload
    def float_property(self, key: str, default: None) -> float | None:
        """The first value of a frame property; `default` if it is absent or not a floating point number."""
    def set_property(self, key: str, value: int | float | str | bytes | None) -> None:
        """Sets a frame property in place of what it was; None removes it.

        Raises RuntimeError for a frame that is read-only, ValueError for a key that VapourSynth does not
        take, TypeError for a value that it cannot hold.
        """
    def has_property(self, key: str) -> bool: ...
    def release(self) -> None:
        """Gives the reference back now, or, while a buffer of a plane is in use, right after it.

        Otherwise it goes with the last Python reference. Harmless when repeated.
        """

type MapValue = Node | int | float | str | bytes

@final
class Core:
    """VapourSynth's core, for as long as the plugin function runs or a filter it created lives.

    Later calls raise RuntimeError.
    """

    @property
    def num_threads(self) -> int: ...
    def invoke(self, namespace: str, function: str, /, **args: MapValue | Sequence[MapValue] | None) -> Node:
        """Calls a plugin function, such as invoke("resize", "Bicubic", clip=node, format=...).

        Arguments that are None are left out.

        Raises RuntimeError with VapourSynth's message if the plugin is missing or the call fails.
        """
    def log(self, level: Literal["debug", "information", "warning", "critical"], message: str) -> None:
        """Writes to VapourSynth's log, which vspipe shows on stderr."""
    def new_frame(self, like: Frame | Node, props_from: Frame | None = None) -> Frame:
        """A writable frame with undefined samples, and a copy of the properties of `props_from`.

        Format and size are those of `like`. Raises ValueError for a Node if they vary.
        """
    def create_filter(
        self,
        name: str,
        video_info_of: Node,
        inputs: list[Node],
        processor: Processor,
        *,
        format: Format | int | None = None,
    ) -> Node:
        """A filter whose frames `processor` makes, of the size, length and rate of `video_info_of`.

        `format` is the output's, if not that of `video_info_of`. Messages start with `name`. The
        filter holds its inputs and the processor until VapourSynth frees it.

        Raises ValueError for a format that does not exist, TypeError if `processor` is none.
        """
    def remember_props(self, node: Node, matrix_by_default: int) -> Node:
        """Start: `node` with its frame properties saved and its colours known.

        Each frame carries a copy of all properties in `_GShiftProps`, and in `_GShiftColour` the key
        of its colours: matrix + 16 * full range + 32 * chroma siting, as H.273 numbers them. Where
        `_Matrix` is absent or unspecified (2) it counts as `matrix_by_default`, and a YUV frame gets
        it set; where `_Range` is absent it is set to what `_ColorRange` says, else to the family's
        usual one; an absent siting is left. Costs no Python per frame.
        """
    def uncached(self, node: Node) -> Node:
        """The node, whose frames VapourSynth keeps no longer than they are held: it would keep 20 or more."""
    def restore_props(self, node: Node, convert: Callable[[Node], dict[int, Node]]) -> Node:
        """Finish: `node` converted to the output format, with the properties Start has saved.

        `convert` is given a clip with the frames of `node`, which only Finish may ask for, and
        maps colour keys to that clip as converted for them; -1 is for all other keys. Frame n comes
        from the entry for its `_GShiftColour`. That and `_GShiftProps` must come through to the
        converted frames. Costs no Python per frame, and fetches each frame of `node` once.

        Raises ValueError if -1 is missing or the entries differ in format, size or length.
        """
