"""The error that ends a restoration."""


class RestoreError(OSError):
    """What stands between the user and a restored file, in one line.

    Args:
        complaint: what is wrong.
        advice: what to do about the parts that are finished; where it is empty and there are such, going on
            with --resume is what helps.
    """

    def __init__(self, complaint: str, *, advice: str = "") -> None:
        super().__init__(f"{complaint}; {advice}" if advice else complaint)
        self.advice = advice
