"""Colour numbers of ITU-T H.273, as frame properties and files have them, and what holds if a clip has none."""

IDENTITY, BT709, UNSPECIFIED, SMPTE170M, YCGCO = 0, 1, 2, 6, 8
"""Values of `_Matrix`; 1, 2 and 6 stand for the same as primaries and transfer."""


def usual_matrix(width: int, height: int) -> int:
    """The matrix of a clip of this size that does not say: standard definition's up to 1024x576, then BT.709."""
    return SMPTE170M if width <= 1024 and height <= 576 else BT709
