"""What whole-clip inference takes, to warn before the system ends the program."""

import logging
import os

import torch

from vsgshift.network import Variant
from vsgshift.streaming.footprint import SPARE, footprint

log = logging.getLogger(__name__)


def needed(variant: Variant, frames: int, size: tuple[int, int], dtype: torch.dtype) -> int:
    """Bytes that whole-clip inference takes, roughly; size is H, W. As a stream's run of that many frames."""
    return int(footprint(variant, size, dtype=dtype, block=frames).activations * SPARE["cpu"])


def installed(device: torch.device) -> int:
    """Bytes of memory that a device has; 0 if the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def warn_if_short(
    variant: Variant, frames: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> None:
    """Log a warning if whole-clip inference is likely to fail for want of memory."""
    needs, there = needed(variant, frames, size, dtype), installed(device)
    if there and needs > there:
        log.warning(
            "%d frames of %dx%d at once take about %.0f GB, and %s has %.0f; if this fails, use the full protocol, "
            "or for deblurring a smaller chunk",
            *(frames, size[1], size[0], needs / 1e9, device, there / 1e9),
        )
