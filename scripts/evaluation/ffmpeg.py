"""Clips through a chain of ffmpeg's filters, frame after frame through pipes."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from vsgshift.processes import Process
from vsgshift.video.programs import find_ffmpeg


def filtered(pieces: Iterable[Tensor], size: tuple[int, int], chain: str) -> Iterator[Tensor]:
    """Frames, as 8 bits in a file, with a chain of ffmpeg's filters run over them: (1, 3, H, W) each, RGB in [0, 1], of
    8 bits.

    ``pieces`` are (T, 3, H, W), RGB, of size (H, W); the chain must give every frame that it gets. Raises
    EvaluationError.
    """
    height, width = size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command = [find_ffmpeg(), "-loglevel", "error", *given, "-i", "-", "-vf", chain, *given, "-"]
    with Process(command, stdin=True, stdout=True) as process:
        failed: list[BaseException] = []

        def feed() -> None:
            try:
                # If ffmpeg does not take any more, its own words explain why.
                with suppress(BrokenPipeError), process.stdin:
                    for piece in pieces:
                        process.stdin.write(_bytes(piece))
            except BaseException as error:
                failed.append(error)

        # Fed from a thread, since ffmpeg stops reading if what it wrote is not taken.
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            while len(data := process.stdout.read(height * width * 3)) == height * width * 3:
                pixels = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
                yield pixels.view(1, height, width, 3).permute(0, 3, 1, 2).float() / 255
        finally:
            # If no more frames are wanted, this is what ends ffmpeg, and that the feeder.
            process.stdout.close()
            feeder.join()
            status = process.status()
        if failed:
            raise failed[0]
        if status:
            raise EvaluationError(f"ffmpeg: {process.complaint(status)}")


def _bytes(frames: Tensor) -> bytes:
    """RGB24."""
    codes = (frames.clamp(0, 1) * 255).round().byte()
    return codes.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
