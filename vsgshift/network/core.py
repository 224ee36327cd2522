"""The temporal core: the only part in which frames meet, on two or three scales below full resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.gated import ShiftBlocks, alternating
from vsgshift.network.layers import Down, ResidualBlock, ResidualBlocks, SplitConv, Up, conv, depth_to_space
from vsgshift.network.timeline import Timeline
from vsgshift.network.variants import Variant


class ShiftedBlocks(ResidualBlocks):
    """Residual blocks, each after a temporal shift: past, future, ..."""

    def forward(self, x: Tensor, slope: Tensor, time: Timeline) -> Tensor:  # type: ignore[override]
        for block, direction in zip(self, alternating(len(self)), strict=True):
            x = block(time.shift(x, direction), slope)
        return x


class Level(nn.Module):
    """The encoder side of one scale: residual blocks, shifted if the variant has such, then shift blocks."""

    def __init__(self, variant: Variant, index: int) -> None:
        super().__init__()
        cabs, width = variant.encoder_cabs[index], variant.core_width
        shifted = variant.shifted_cabs and index == 0
        self.shifted = ShiftedBlocks(cabs if shifted else 0, width, variant.reduction)
        self.plain = ResidualBlocks(0 if shifted else cabs, width, variant.reduction)
        self.blocks = ShiftBlocks(variant.encoder_blocks[index], variant)

    def forward(self, x: Tensor, slope: Tensor, time: Timeline) -> Tensor:
        out: Tensor = self.blocks(self.plain(self.shifted(x, slope, time), slope), time)
        return out


class AddJoin(nn.Module):
    """The other way to meet a skip: convolve what comes late, then add. Used in place of `SplitConv`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width, 3)

    def early(self, part: Tensor) -> Tensor:
        return part

    def late(self, early: Tensor, part: Tensor) -> Tensor:
        out: Tensor = early + self.conv(part)
        return out


class Core(nn.Module):
    """(T, width, H, W) -> same; H and W multiples of 2 ** levels. Its residual blocks share one slope."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        full, width, reduction = variant.width, variant.core_width, variant.reduction
        climbs = range(variant.levels - 1)
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        self.enter = ResidualBlock(full, reduction)
        self.enter_shifted = ShiftedBlocks(2 if variant.shifted_cabs else 0, full, reduction)
        self.halve = nn.Conv2d(full, width, 2, stride=2, bias=False)
        self.halve_activation = nn.PReLU()
        self.levels = nn.ModuleList(Level(variant, index) for index in range(variant.levels))
        self.downs = nn.ModuleList(Down(width, width, variant.task) for _ in climbs)
        self.ups = nn.ModuleList(Up(width, width) for _ in climbs)
        self.skips = nn.ModuleList(ResidualBlock(width, reduction) for _ in climbs)
        self.climbs = nn.ModuleList(ShiftBlocks(count, variant) for count in variant.decoder_blocks)
        self.enlarge = conv(width, 4 * full, 3, bias=True)
        self.skip = ResidualBlock(full, reduction)
        self.adds = variant.join == "add"
        self.join = AddJoin(full) if self.adds else SplitConv((full, full), full, late=0, bias=True)
        self.leave = ResidualBlock(full, reduction)

    def forward(self, x: Tensor, time: Timeline) -> Tensor:
        slope = self.slope
        x = self.enter(x, slope)
        waiting = time.keep(self.join.early(self.skip(x, slope)))
        x = self.enter_shifted(x, slope, time)
        x = self.halve_activation(self.halve(x))

        *upper, deepest = self.levels
        skips = []
        for level, down, skip_block in zip(upper, self.downs, self.skips, strict=True):
            x = level(x, slope, time)
            skips.append(time.keep(skip_block(x, slope)))
            x = down(x)
        x = deepest(x, slope, time)
        for up, blocks in zip(self.ups, self.climbs, strict=True):
            x = blocks(up(x) + skips.pop()(), time)

        x = depth_to_space(self.enlarge(x), 2)
        if self.adds:
            x = F.prelu(x, slope)
        out: Tensor = self.leave(self.join.late(waiting(), x), slope)
        return out
