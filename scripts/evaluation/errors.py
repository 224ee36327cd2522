"""What stands between the user and a result."""


class EvaluationError(Exception):
    """One line that says what is wrong and what to do."""
