"""Where in the network one is: calls of its named parts, in groups that add up to nearly all of it.

A group is one or more parts of the network, as attributes of a `ShiftNet`: modules, or methods of modules
(`merge.early`), since not every part is called as a module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vsgshift.network import ShiftNet
from vsgshift.network.gated import ShiftStep

Groups = dict[str, list[str]]
"""Parts, by the name of their group."""
Enter = Callable[[str], None]
"""Called with the group before each call of one of its parts."""
Leave = Callable[[str, Any, Sequence[Any], Any], None]
"""Called with the group, the module, its arguments and its result after each call."""


def groups(network: ShiftNet) -> Groups:
    """The parts of a network in the order of data; they do not overlap."""
    found: Groups = {"embed": ["embed", "embed_block"]}
    found |= {f"frame-UNet before {n}": [f"unets_before.{n}"] for n in range(len(network.unets_before))}
    found["transition"] = ["transition"]
    found["core: enter"] = ["core.enter", "core.enter_shifted", "core.halve", "core.halve_activation"]
    levels = len(network.core.levels)
    found |= {f"core: encoder 1/{2 << n}": [f"core.levels.{n}"] for n in range(levels)}
    climbs = levels - 1
    found |= {f"core: decoder 1/{2 << (climbs - 1 - n)}": [f"core.climbs.{n}"] for n in range(climbs)}
    found["core: down, skip, up"] = [f"core.{kind}.{n}" for kind in ("downs", "skips", "ups") for n in range(climbs)]
    found["core: leave"] = ["core.enlarge", "core.skip", "core.join.early", "core.join.late", "core.leave"]
    found["merge"] = ["merge.early", "merge.late", "merge_activation"]
    found |= {f"frame-UNet after {n}": [f"unets_after.{n}"] for n in range(len(network.unets_after))}
    found["to_rgb"] = ["to_rgb"]
    return found


def insides(network: ShiftNet) -> Groups:
    """All shift steps of each core level, and what they are made of; a step overlaps with its parts."""
    found: Groups = {}
    with torch.device("meta"):
        # Where an engine has put faster steps in their place, the names are those of the plain network.
        plain = ShiftNet(network.variant)
    climbs = len(network.core.climbs)
    places = {f"core.levels.{n}.": n for n in range(len(network.core.levels))}
    places |= {f"core.climbs.{n}.": climbs - 1 - n for n in range(climbs)}
    for name, module in plain.named_modules():
        if isinstance(module, ShiftStep):
            (level,) = (level for place, level in places.items() if name.startswith(place))
            scale = f"1/{2 << level}"
            there = network.get_submodule(name)
            for part in ("", *(part for part in ("fuse", "refine", "align") if hasattr(there, part))):
                label = f"shift steps {scale}{': ' if part else ''}{part}"
                found.setdefault(label, []).append(f"{name}.{part}" if part else name)
    return dict(sorted(found.items()))


@contextmanager
def hooked(network: ShiftNet, parts: Groups, enter: Enter, leave: Leave) -> Iterator[None]:
    """Have the calls of the parts reported. Afterwards the network is as it was."""
    undo: list[Callable[[], None]] = []
    try:
        for group, names in parts.items():
            for name in names:
                undo += _hook(network, group, name, enter, leave)
        yield
    finally:
        for restore in undo:
            restore()


def _hook(network: ShiftNet, group: str, name: str, enter: Enter, leave: Leave) -> list[Callable[[], None]]:
    owner_name, _, last = name.rpartition(".")
    owner = network.get_submodule(owner_name)
    part = getattr(owner, last)
    if isinstance(part, nn.Module):
        before = part.register_forward_pre_hook(lambda module, given: enter(group))
        after = part.register_forward_hook(lambda module, given, result: leave(group, module, given, result))
        return [before.remove, after.remove]

    def reporting(*given: Any) -> Any:
        enter(group)
        result = part(*given)
        leave(group, owner, given, result)
        return result

    # An attribute of the instance hides the method of its class.
    object.__setattr__(owner, last, reporting)
    return [lambda: object.__delattr__(owner, last)]
