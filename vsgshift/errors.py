"""All errors that are meant for the user: one line, which says what is wrong and what to do about it.

    VsgshiftError
    ├── CommandError              the arguments of a command do not fit what is there
    ├── ExportError               a network cannot be written for another runtime
    ├── ProgramError              a program that was run failed, or did not end
    │   ├── MissingProgramError   it is not installed
    │   └── TooSlowError          it did not end in time
    ├── VideoError                a file of video cannot be read, restored, shown or written
    └── WeightsError              a model cannot be had
        ├── CheckpointError       a file of weights is damaged, or not what it should be
        ├── DownloadError         the authors' file could not be fetched
        ├── MissingWeightsError   the model is known, but not installed
        └── UnknownModelError     there is no model of that name

The command prints any of them and ends with status 1. Wrong arguments of a Python function are Python's own
ValueError, and what the system refuses is OSError.
"""


class VsgshiftError(Exception):
    """The root of the tree."""


class CommandError(VsgshiftError):
    """The arguments of a command do not fit what is there."""


class ProgramError(VsgshiftError):
    """A program that was run failed, or did not end; the message says why, without the program's name."""


class MissingProgramError(ProgramError):
    """A program is not installed; the message says how to install it."""


class TooSlowError(ProgramError):
    """A program did not end in time."""


class VideoError(VsgshiftError):
    """A file of video cannot be read, restored, shown or written.

    Args:
        complaint: what is wrong.
        advice: what to do about it, where that is not --resume: after an interrupted restoration, that is what helps.
    """

    def __init__(self, complaint: str, *, advice: str = "") -> None:
        super().__init__(f"{complaint}; {advice}" if advice else complaint)
        self.advice = advice


class ExportError(VsgshiftError):
    """A network cannot be written for other runtimes."""


class WeightsError(VsgshiftError):
    """A model cannot be had."""


class CheckpointError(WeightsError, ValueError):
    """A file of weights is damaged, or not what it should be."""


class DownloadError(WeightsError):
    """The authors' file could not be fetched; the message says what to do."""


class MissingWeightsError(WeightsError, FileNotFoundError):
    """A model is known, but not installed; the message says how to install it."""


class UnknownModelError(WeightsError, ValueError):
    """There is no model of that name."""
