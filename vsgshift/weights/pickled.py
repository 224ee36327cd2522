"""What a pickled state dict says of its tensors, read before it is unpickled.

A pickle is a program: unpickling runs it, and it may import and call what it likes. Here its
instructions are only followed as far as they put together plain values. The names of Python objects
stay names; of the calls, the three that a state dict needs are recognised and stand for descriptions,
and any other is refused. Nothing is imported, called or allocated by the file's wish.

The instructions are those of pickle protocol 2, which `torch.save` writes; Python's `pickletools` takes them apart.
"""

import pickletools
import re
import struct
from dataclasses import dataclass

from vsgshift.errors import CheckpointError

LARGEST_PICKLE = 2 * 2**20
"""Bytes. Without the tensors' values the largest published checkpoint has 0.4 MB."""

LARGEST_NUMBER = 2**40

ORDERED_DICT = "collections.OrderedDict"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
_STORAGE = re.compile(r"torch\.[A-Za-z0-9]+Storage")

_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Name:
    """A Python object that the pickle refers to, by its full name. It was not looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers of one type, kept in the checkpoint beside the pickle."""

    kind: str
    """Its class in torch: "torch.FloatStorage" for float32."""
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a window on a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def plain(text: str, longest: int = 120) -> str:
    """Text from a file, made fit for a terminal: cut to length, control characters replaced."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:longest])
    return shown + "..." if len(text) > longest else shown


def describe(data: bytes) -> object:
    """The object that a pickle of at most `LARGEST_PICKLE` bytes would build, with `StoredTensor` in the place of
    tensors.

    Raises CheckpointError if it is damaged, too long, or does anything else than build plain values and dense tensors.
    The message has no subject: it is to follow the file's name.
    """
    if len(data) > LARGEST_PICKLE:
        raise CheckpointError("holds a longer list of contents than any Shift-Net checkpoint; refused")
    try:
        return _follow(data)
    except CheckpointError:
        raise
    # What pickletools and a stack that runs empty raise on senseless input.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise CheckpointError("is damaged: its list of contents makes no sense") from error


def _refuse(what: str) -> CheckpointError:
    return CheckpointError(f"holds more than tensors ({plain(what)}); refused, and nothing of it was run")


def _follow(data: bytes) -> object:
    stack: list[object] = []
    outer: list[list[object]] = []
    memo: dict[object, object] = {}

    def since_mark() -> list[object]:
        nonlocal stack
        items, stack = stack, outer.pop()
        return items

    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            outer.append(stack)
            stack = []
        elif name == "TUPLE":
            items = since_mark()
            stack.append(tuple(items))
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack.append(tuple([stack.pop() for _ in range(count)][::-1]))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            values = since_mark() if name == "APPENDS" else [stack.pop()]
            _list(stack[-1]).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _fill(stack[-1], pairs)
        elif name == "GLOBAL":
            stack.append(_name(str(argument)))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_call(stack.pop(), arguments))
        elif name == "BUILD":
            # The attributes of a state dict: the versions of its modules, of no use here.
            stack.pop()
            _fill(stack[-1], [])
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise _refuse(f"pickle instruction {name}")
    raise ValueError("no end")


def _list(target: object) -> list[object]:
    if not isinstance(target, list):
        raise TypeError("not a list")
    return target


def _fill(target: object, pairs: list[object]) -> None:
    """Put keys and values, in turn, into a dictionary. Keys other than text could be made slow to hash."""
    if not isinstance(target, dict):
        raise _refuse(f"attributes of a {type(target).__name__}")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, str):
            raise _refuse("dictionary keys that are not text")
        target[key] = value


def _name(argument: str) -> Name:
    text = argument.replace(" ", ".", 1)
    if text not in (ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER) and not _STORAGE.fullmatch(text):
        raise _refuse(text)
    return Name(text)


def _call(function: object, arguments: object) -> object:
    match function, arguments:
        case Name(text=str(text)), () if text == ORDERED_DICT:
            return {}
        case Name(text=str(text)), (Storage() as storage, offset, tuple(shape), tuple(strides), bool(), {}, *rest) if (
            text == REBUILD_TENSOR and not any(rest)
        ):
            if len(shape) != len(strides):
                raise ValueError("shape and strides differ in length")
            return StoredTensor(storage, _natural(offset), _naturals(shape), _naturals(strides))
        case Name(text=str(text)), (StoredTensor() as tensor, bool(), {}) if text == REBUILD_PARAMETER:
            return tensor
        case Name(text=str(text)), _:
            raise _refuse(f"an unusual call of {text}")
    raise ValueError("a call of nothing")


def _storage(description: object) -> Storage:
    match description:
        case ("storage", Name(text=str(kind)), str(key), str(), count) if _STORAGE.fullmatch(kind):
            return Storage(kind, key, _natural(count))
    raise _refuse("a reference to something that is not a storage")


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < LARGEST_NUMBER:
        raise ValueError("not a size")
    return value


def _naturals(values: tuple[object, ...]) -> tuple[int, ...]:
    return tuple(_natural(value) for value in values)
