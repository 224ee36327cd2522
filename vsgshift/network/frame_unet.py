"""The frame-UNet: full-resolution restoration of single frames, on three scales."""

import torch
from torch import Tensor, nn

from vsgshift.network.layers import Down, ResidualBlocks, Up
from vsgshift.network.variants import Task


class FrameUNet(nn.Module):
    """(T, width, H, W) -> same; H and W multiples of 4. All its residual blocks share one slope."""

    def __init__(self, width: int, step: int, reduction: int, task: Task) -> None:
        super().__init__()
        top, middle, bottom = width, width + step, width + 2 * step
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        self.encoder1 = ResidualBlocks(1, top, reduction)
        self.down1 = Down(top, middle, task)
        self.encoder2 = ResidualBlocks(3, middle, reduction)
        self.down2 = Down(middle, bottom, task)
        self.encoder3 = ResidualBlocks(3, bottom, reduction)
        self.decoder3 = ResidualBlocks(3, bottom, reduction)
        self.up2 = Up(bottom, middle)
        self.skip2 = ResidualBlocks(1, middle, reduction)
        self.decoder2 = ResidualBlocks(3, middle, reduction)
        self.up1 = Up(middle, top)
        self.skip1 = ResidualBlocks(1, top, reduction)
        self.decoder1 = ResidualBlocks(1, top, reduction)

    def forward(self, x: Tensor) -> Tensor:
        slope = self.slope
        level1 = self.encoder1(x, slope)
        level2 = self.encoder2(self.down1(level1), slope)
        x = self.decoder3(self.encoder3(self.down2(level2), slope), slope)
        x = self.decoder2(self.up2(x) + self.skip2(level2, slope), slope)
        out: Tensor = self.decoder1(self.up1(x) + self.skip1(level1, slope), slope)
        return out
