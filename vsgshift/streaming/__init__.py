"""Running the network over clips of any length: the same result as the whole clip at once."""

from vsgshift.streaming.pipeline import Pipeline
from vsgshift.streaming.stream import Stream, restore

__all__ = ["Pipeline", "Stream", "restore"]
