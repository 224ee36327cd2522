"""The published checkpoint format: which of its names is which parameter of ours.

A published checkpoint is ``{"params": state_dict}`` in float32. It repeats shared PReLU slopes under
the name of every user, and holds parameters that the network never uses.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from vsgshift.errors import CheckpointError
from vsgshift.network import ShiftNet, Variant
from vsgshift.network.variants import PUBLISHED

Names = Iterator[tuple[str, str]]
"""Pairs (published name, our name); several published names may stand for one of ours."""

PUBLISHED_UNETS = 5
"""Frame-UNets on each side in every published file; the small networks use the first three."""


def _residual_block(theirs: str, ours: str, slope: str) -> Names:
    yield f"{theirs}.body.0.weight", f"{ours}.conv1.weight"
    yield f"{theirs}.body.1.weight", slope
    yield f"{theirs}.body.2.weight", f"{ours}.conv2.weight"
    yield from _attention(f"{theirs}.CA", f"{ours}.attention")


def _attention(theirs: str, ours: str) -> Names:
    yield f"{theirs}.conv_du.0.weight", f"{ours}.squeeze.weight"
    yield f"{theirs}.conv_du.2.weight", f"{ours}.excite.weight"


def _down(theirs: str, ours: str, variant: Variant) -> Names:
    if variant.task == "deblur":
        yield f"{theirs}.down.weight", f"{ours}.conv.weight"
        yield f"{theirs}.down.bias", f"{ours}.conv.bias"
    else:
        yield f"{theirs}.down.0.weight", f"{ours}.conv.weight"
        yield f"{theirs}.down.1.weight", f"{ours}.activation.weight"


def _frame_unet(theirs: str, ours: str, variant: Variant) -> Names:
    slope = f"{ours}.slope"
    for level, count in ((1, 1), (2, 3), (3, 3)):
        for index in range(count):
            for side in ("encoder", "decoder"):
                yield from _residual_block(
                    f"{theirs}.{side}_level{level}.{index}", f"{ours}.{side}{level}.{index}", slope
                )
    for level in (1, 2):
        yield from _residual_block(f"{theirs}.skip_attn{level}", f"{ours}.skip{level}.0", slope)
        yield from _down(f"{theirs}.down{level}{level + 1}", f"{ours}.down{level}", variant)
        yield f"{theirs}.up{level + 1}{level}.up.1.weight", f"{ours}.up{level}.conv.weight"


def _gated_block(theirs: str, ours: str, variant: Variant) -> Names:
    yield f"{theirs}.beta", f"{ours}.beta"
    yield f"{theirs}.norm.weight", f"{ours}.norm.weight"
    yield f"{theirs}.norm.bias", f"{ours}.norm.bias"
    yield f"{theirs}.body.0.weight", f"{ours}.expand.weight"
    yield f"{theirs}.body.1.conv_2.weight", f"{ours}.expand_depthwise.weight"
    index = 3
    if variant.task == "denoise":
        yield from _attention(f"{theirs}.body.3", f"{ours}.gate_attention")
        index = 4
    yield f"{theirs}.body.{index}.conv_1.weight", f"{ours}.mix5.weight"
    yield f"{theirs}.body.{index}.conv_2.weight", f"{ours}.mix3.weight"
    yield f"{theirs}.body.{index + 1}.weight", f"{ours}.gate.weight"
    yield from _attention(f"{theirs}.body.{index + 3}", f"{ours}.attention")
    yield f"{theirs}.body.{index + 4}.weight", f"{ours}.project.weight"
    if variant.task == "denoise":
        yield f"{theirs}.body.{index + 4}.bias", f"{ours}.project.bias"


def _numbered(name: str, index: int) -> str:
    return f"{name}_{index}" if index else name


def _shift_block(theirs: str, ours: str, variant: Variant) -> Names:
    for index in range(variant.steps):
        step, target = f"{theirs}.{_numbered('encoder_level1', index)}", f"{ours}.{index}"
        yield f"{step}.0.conv1.weight", f"{target}.align.weight"
        yield from _gated_block(f"{step}.0", f"{target}.fuse", variant)
        yield from _gated_block(f"{step}.1", f"{target}.refine", variant)


def _core(variant: Variant) -> Names:
    slope = "core.slope"
    yield "stage1.act.weight", slope
    for theirs, ours in (("concat", "enter"), ("skip_conv", "skip"), ("out_conv", "leave")):
        yield from _residual_block(f"stage1.{theirs}", f"core.{ours}", slope)
    if variant.shifted_cabs:
        for index in range(2):
            yield from _residual_block(
                f"stage1.{_numbered('encoder_level0', index)}", f"core.enter_shifted.{index}", slope
            )
    yield "stage1.down01.0.weight", "core.halve.weight"
    yield "stage1.down01.1.weight", "core.halve_activation.weight"
    deepest = variant.levels
    for level in range(1, deepest + 1):
        cabs, blocks = variant.encoder_cabs[level - 1], variant.encoder_blocks[level - 1]
        kind = "shifted" if variant.shifted_cabs and level == 1 else "plain"
        ours = f"core.levels.{level - 1}"
        for index in range(cabs):
            yield from _residual_block(
                f"stage1.{_numbered(f'encoder_level{level}', index)}", f"{ours}.{kind}.{index}", slope
            )
        # The published files call the shift blocks of a level without residual blocks "encoder",
        # and half of the deepest level's blocks "decoder".
        encoders = 0 if cabs else blocks if level < deepest else blocks // 2
        for index in range(blocks):
            name = (
                _numbered(f"encoder_level{level}", index)
                if index < encoders
                else _numbered(f"decoder_level{level}", index - encoders)
            )
            yield from _shift_block(f"stage1.{name}", f"{ours}.blocks.{index}", variant)
    for climb, level in enumerate(range(deepest - 1, 0, -1)):
        yield from _down(f"stage1.down{level}{level + 1}", f"core.downs.{level - 1}", variant)
        yield f"stage1.up{level + 1}{level}.up.1.weight", f"core.ups.{climb}.conv.weight"
        yield from _residual_block(f"stage1.skip_attn{level}", f"core.skips.{level - 1}", slope)
        for index in range(variant.decoder_blocks[climb]):
            theirs = f"stage1.{_numbered(f'decoder_level{level}', index)}"
            yield from _shift_block(theirs, f"core.climbs.{climb}.{index}", variant)
    yield "stage1.upsample0.upsample_conv.weight", "core.enlarge.weight"
    yield "stage1.upsample0.upsample_conv.bias", "core.enlarge.bias"
    yield "stage1.conv_hr0.weight", "core.join.conv.weight"
    if variant.join == "concatenate":
        yield "stage1.conv_hr0.bias", "core.join.conv.bias"


def names(variant: Variant) -> Names:
    """Every used entry of the variant's published checkpoint, with our name for it."""
    yield "feat_extract.0.weight", "embed.weight"
    yield "feat_extract.0.bias", "embed.bias"
    yield from _residual_block("feat_extract.1", "embed_block", "embed_slope")
    for index in range(variant.unets):
        yield from _frame_unet(f"orb{index + 1}", f"unets_before.{index}", variant)
        yield from _frame_unet(f"rorb{index + 1}", f"unets_after.{index}", variant)
    yield "conv_trans.weight", "transition.weight"
    yield "conv_trans.bias", "transition.bias"
    yield from _core(variant)
    yield "rconcat.weight", "merge.conv.weight"
    if variant.task == "deblur":
        yield "rconcat.bias", "merge.conv.bias"
    else:
        yield "lrelu.weight", "merge_activation.weight"
    yield "conv_last.weight", "to_rgb.weight"


def dead_names(variant: Variant) -> Iterator[str]:
    """Entries of the variant's published checkpoint that the network never uses."""
    if variant.task == "deblur":
        yield "lrelu.weight"
    for index in range(variant.unets, PUBLISHED_UNETS):
        for side in ("orb", "rorb"):
            for name, _ in _frame_unet(f"{side}{index + 1}", "", variant):
                yield name


def recognise(state: Mapping[str, Tensor]) -> Variant:
    """The published variant whose checkpoint this looks most like, by its names. Raises CheckpointError if none."""

    def likeness(variant: Variant) -> float:
        expected = {theirs for theirs, _ in names(variant)} | set(dead_names(variant))
        return len(expected & state.keys()) / len(expected | state.keys())

    best = max(PUBLISHED, key=likeness)
    if likeness(best) < 0.3:
        raise CheckpointError("not a checkpoint of a published Shift-Net: its parameter names are unknown")
    return best


@cache
def shapes_of(variant: Variant) -> Mapping[str, torch.Size]:
    """The names and shapes of a network's parameters, as in its state dict."""
    with torch.device("meta"):
        return MappingProxyType({name: tensor.shape for name, tensor in ShiftNet(variant).state_dict().items()})


def convert(state: Mapping[str, Tensor]) -> tuple[Variant, dict[str, Tensor]]:
    """Turn a published state dict into a variant and the state dict of its `ShiftNet`, using every entry exactly once.

    Raises CheckpointError if entries are missing, unknown, misshapen, not finite, or tied ones differ; the message
    names them and the variant that the file looked like.
    """
    variant = recognise(state)
    shapes = shapes_of(variant)
    pairs = list(names(variant))
    dead = set(dead_names(variant))
    used = {theirs for theirs, _ in pairs}

    def refuse(what: str, keys: list[str]) -> CheckpointError:
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        return CheckpointError(f"checkpoint looks like {variant.name}, but has {what}: {shown}")

    if missing := sorted((used | dead) - state.keys()):
        raise refuse("missing entries", missing)
    if extra := sorted(state.keys() - used - dead):
        raise refuse("unknown entries", extra)
    if misshapen := [theirs for theirs, ours in pairs if state[theirs].shape != shapes[ours]]:
        raise refuse("entries of the wrong shape", misshapen)
    if broken := [theirs for theirs, _ in pairs if not state[theirs].isfinite().all()]:
        raise refuse("entries that are not finite numbers", broken)
    converted: dict[str, Tensor] = {}
    for theirs, ours in pairs:
        if ours in converted and not converted[ours].equal(state[theirs]):
            raise refuse("tied entries that differ", [theirs])
        converted.setdefault(ours, state[theirs].float().contiguous())
    return variant, converted
