"""Values of options that several commands have."""

import argparse
import math
import re
from collections.abc import Callable


def within(least: float, most: float) -> Callable[[str], float]:
    """Reads numbers of a range, both ends included."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is out of range, {least:g} to {most:g}")
        return value

    return number


share = within(0, 1)


def sigma(text: str) -> float | None:
    """A noise level on the 8-bit scale; None where it is to be measured."""
    return None if text == "auto" else within(0, 255)(text)


def count(text: str) -> int:
    """A number of frames."""
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text} is not a number of frames, 1 or more")
    return int(text)


def pixels(text: str) -> list[int]:
    """One length in pixels, or width and height as WxH."""
    if not re.fullmatch("[0-9]+(x[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no size; a number of pixels, or WxH")
    return [int(number) for number in text.split("x")]


def device(text: str) -> int:
    """A device's number, as the plugin counts them."""
    if text == "cpu":
        return -1
    found = re.fullmatch(r"(?:cuda:)?(\d+)|cuda", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is no device; cpu, cuda, or a GPU's number")
    return int(found[1] or 0)
