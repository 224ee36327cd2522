"""Whether frames are woven of two fields, by their flags and by looking.

Where something moves, the lines of an interlaced frame are more like the lines two apart, of the same field, than
like their neighbours; those of a progressive frame are like their neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMINED = 600
"""Frames up to which a film is examined frame by frame; of a longer one, as many pairs as `SPREAD`."""
SPREAD = 64
MOVING = 10
"""Levels of 8 bits by which a pixel differs from the frame before where something moves."""
ENOUGH = 0.003
"""The part of a frame that must move for it to say anything."""
COMBED, SURELY_COMBED = 1.0, 1.3
"""Ratios of the two differences from which a frame looks interlaced: one that is flagged, and one that is not."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What was seen of a film."""

    examined: int = 0
    """How many frames."""
    flagged: tuple[int, ...] = ()
    """Numbers of the frames that were examined and are flagged as fields."""
    combed: tuple[int, ...] = ()
    """Numbers of those that look like it."""

    @property
    def interlaced(self) -> tuple[int, ...]:
        """Frames that are flagged and look like it: flags alone may be wrong, as on many discs."""
        return tuple(number for number in self.combed if number in self.flagged)


def examine(node: Any, numbers: Sequence[int] | None = None) -> Fields:
    """Compare frames of a node with those before them; all of a short film by default, or some that are spread over a
    long one."""
    import vapoursynth as vs

    length = node.num_frames
    if numbers is None:
        numbers = range(length) if length <= EXAMINED else sorted({length * k // SPREAD for k in range(SPREAD)})
    grey = node.std.SetFieldBased(0)
    if node.format.color_family == vs.RGB:
        grey = grey.resize.Bicubic(format=vs.GRAY8, matrix=1)
    else:
        grey = grey.std.ShufflePlanes(0, vs.GRAY).resize.Point(format=vs.GRAY8, range_in=1, range=1)
    flagged, combed = [], []
    planes: dict[int, NDArray[np.float32]] = {}
    for number in numbers:
        is_flagged = bool(node.get_frame(number).props.get("_FieldBased", 0))
        planes = {n: planes[n] if n in planes else _plane(grey, n) for n in (number - 1, number) if n >= 0}
        flagged += [number] if is_flagged else []
        if number and combing(planes[number - 1], planes[number]) > (COMBED if is_flagged else SURELY_COMBED):
            combed.append(number)
    return Fields(examined=len(numbers), flagged=tuple(flagged), combed=tuple(combed))


def combing(before: NDArray[np.float32], plane: NDArray[np.float32]) -> float:
    """How a frame's lines differ from their neighbours, compared with the lines two apart, where it moves.

    Both planes are brightness, (H, W), 0 to 255. Returns the ratio of the squared differences; 0 if too little moves to
    say, or the frame has too few lines.
    """
    if plane.shape[0] < 8:
        return 0.0
    moving = (np.abs(plane - before) > MOVING)[2:-2]
    if moving.mean() < ENOUGH:
        return 0.0
    # Noise differs between any two lines; averaging along the line takes it away and leaves the combs.
    smooth = plane.copy()
    smooth[:, 2:-2] = (plane[:, :-4] + plane[:, 1:-3] + plane[:, 2:-2] + plane[:, 3:-1] + plane[:, 4:]) / 5
    line = smooth[2:-2]
    neighbours = (line - (smooth[1:-3] + smooth[3:-1]) / 2)[moving]
    same_field = (line - (smooth[:-4] + smooth[4:]) / 2)[moving]
    return float(np.square(neighbours).mean() / max(float(np.square(same_field).mean()), 1e-3))


def _plane(grey: Any, number: int) -> NDArray[np.float32]:
    with grey.get_frame(number) as frame:
        return np.asarray(frame[0]).astype(np.float32)
