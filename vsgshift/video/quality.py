"""How close a picture is to the one that it should be."""

import math


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error, for a peak of 1: 10 log10(1 / MSE) dB, infinite for 0."""
    return math.inf if error == 0 else -10 * math.log10(error)
