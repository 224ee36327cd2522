"""The Shift-Net family in PyTorch. Knows nothing of VapourSynth."""

from vsgshift.network.shiftnet import ShiftNet
from vsgshift.network.variants import VARIANTS, Variant

__all__ = ["VARIANTS", "ShiftNet", "Variant"]
