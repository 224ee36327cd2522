"""What a training tells while it runs: log lines, progress.jsonl, TensorBoard, pictures."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from evaluation.errors import EvaluationError

from .validation import Outcome, sheet, write_png

log = logging.getLogger(__name__)

LINES = "progress.jsonl"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as short as it goes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Progress:
    """Writes to a run's folder; made by the process that owns it."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: where the run stands; what an interrupted run reported of later steps is forgotten."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = folder / LINES
        if lines.exists():
            kept = [line for line in lines.read_text().splitlines() if _step(line) <= step]
            lines.write_text("".join(line + "\n" for line in kept))
        self.board = _board(folder / "tensorboard", step)
        self.pictures = True

    def training(self, *, step: int, left: float, **numbers: float) -> None:
        """Loss, PSNR and so on, means since the last call; left: seconds to the end of the schedule."""
        self._write("train", step, numbers)
        log.info(
            "step %d  loss %.3f  PSNR %.2f dB (%+.2f)  rate %.2e  norm %.3f  %.3f s/step  left %s",
            step,
            numbers["loss"],
            numbers["psnr"],
            numbers["gain"],
            numbers["rate"],
            numbers["norm"],
            numbers["seconds"],
            duration(left),
        )

    def validation(self, step: int, outcome: Outcome) -> None:
        """Numbers and the sheet of pictures, `samples/step-<step>.png`."""
        gain = outcome.after - outcome.before
        numbers = {"before": outcome.before, "after": outcome.after, "gain": gain, "worst": outcome.worst}
        self._write("validation", step, numbers)
        log.info(
            "step %d  validation: %.2f dB before, %.2f dB after, gain %+.2f dB, worst clip %+.2f dB",
            step,
            outcome.before,
            outcome.after,
            gain,
            outcome.worst,
        )
        picture: Tensor = sheet(outcome.rows)
        if self.board:
            self.board.add_image("validation/input output target", picture, step)
        if self.pictures:
            try:
                write_png(picture, self.folder / "samples" / f"step-{step:07}.png")
            except EvaluationError as error:
                log.warning("no pictures of validations: %s", error)
                self.pictures = False

    def _write(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        line = {"kind": kind, "step": step} | {k: v if math.isfinite(v) else None for k, v in numbers.items()}
        with (self.folder / LINES).open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.board:
            for name, value in numbers.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Writes out what is buffered."""
        if self.board:
            self.board.close()


def _step(line: str) -> float:
    """The step of a line; a damaged line belongs to none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _board(folder: Path, step: int) -> Any:
    """A TensorBoard writer, or None where that is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("no TensorBoard logs: pip install tensorboard; %s has the numbers", LINES)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]
