"""Clips through a chain of ffmpeg's filters, frame after frame through pipes."""

import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from vsgshift.video.programs import find_ffmpeg


def filtered(pieces: Iterable[Tensor], size: tuple[int, int], chain: str) -> Iterator[Tensor]:
    """Frames with a chain of filters run over them, one by one, as the frames of a file would be.

    Args:
        pieces: (T, 3, H, W) each, RGB; clamped to [0, 1] and rounded to 8 bits, as a file has them.
        size: their H and W.
        chain: as for ffmpeg's -vf; it must give every frame that it gets.

    Yields:
        (1, 3, H, W), RGB in [0, 1], of 8 bits.

    Raises:
        EvaluationError: ffmpeg refuses.
    """
    height, width = size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command = [find_ffmpeg(), "-loglevel", "error", *given, "-i", "-", "-vf", chain, *given, "-"]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        failed: list[BaseException] = []

        def feed() -> None:
            try:
                # What ffmpeg does not take any more, its own words will explain.
                with suppress(BrokenPipeError), stdin:
                    for piece in pieces:
                        stdin.write(_bytes(piece))
            except BaseException as error:
                failed.append(error)

        # Fed from a thread, since ffmpeg stops reading when nobody takes what it wrote.
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            while len(data := stdout.read(height * width * 3)) == height * width * 3:
                pixels = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
                yield pixels.view(1, height, width, 3).permute(0, 3, 1, 2).float() / 255
        finally:
            # Where the frames are not wanted any more, this is what ends ffmpeg, and that the feeder.
            stdout.close()
            feeder.join()
            refused = process.wait()
        if failed:
            raise failed[0]
        if refused:
            complaints.seek(0)
            told = complaints.read().decode(errors="replace").strip().splitlines()
            raise EvaluationError(f"ffmpeg: {told[-1] if told else 'failed without a word'}")


def _bytes(frames: Tensor) -> bytes:
    """RGB24."""
    codes = (frames.clamp(0, 1) * 255).round().byte()
    return codes.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
