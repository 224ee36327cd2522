"""What a check finds."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Something optional does not work."""
    PROBLEM = "problem"
    """Restoring does not work."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    subject: str
    state: State
    text: str
    """What there is, or what is wrong; one line."""
    advice: str | None = None
    """What to do about it; one line. There is one whenever the state is not ok."""


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, state=State.OK, text=text)


def warning(subject: str, text: str, advice: str) -> Finding:
    """Something optional does not work."""
    return Finding(subject=subject, state=State.WARNING, text=text, advice=advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    """Restoring does not work."""
    return Finding(subject=subject, state=State.PROBLEM, text=text, advice=advice)
