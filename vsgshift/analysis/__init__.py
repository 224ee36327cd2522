"""What a clip says about itself: how much noise there is, and where its scenes change.

Plain arithmetic on planes; knows neither VapourSynth nor the network.
"""

from .noise import Level, level, settled, together
from .samples import Coding, PlaneScale, plane_scales
from .scenes import Thumbnail, cut_strength, is_cut, thumbnail

__all__ = [
    "Coding",
    "Level",
    "PlaneScale",
    "Thumbnail",
    "cut_strength",
    "is_cut",
    "level",
    "plane_scales",
    "settled",
    "thumbnail",
    "together",
]
