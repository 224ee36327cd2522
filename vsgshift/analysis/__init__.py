"""Noise levels and scene changes of a clip, measured.

Plain arithmetic on planes; knows neither VapourSynth nor the network.
"""

from .noise import UNKNOWN, Level, level, level_to_remove, weighted_median
from .samples import Coding, PlaneScale, plane_scales
from .scenes import Thumbnail, is_cut, thumbnail

__all__ = [
    "UNKNOWN",
    "Coding",
    "Level",
    "PlaneScale",
    "Thumbnail",
    "is_cut",
    "level",
    "level_to_remove",
    "plane_scales",
    "thumbnail",
    "weighted_median",
]
