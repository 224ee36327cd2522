"""Running the network over clips of any length: the same result as the whole clip at once."""

from vsgshift.streaming.pipeline import Pipeline
from vsgshift.streaming.stream import Stream, restore
from vsgshift.streaming.tiles import TiledStream, Tiling

__all__ = ["Pipeline", "Stream", "TiledStream", "Tiling", "restore"]
