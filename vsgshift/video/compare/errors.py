"""The error that ends a comparison."""


class CompareError(OSError):
    """What stands between the user and a comparison, in one line."""
