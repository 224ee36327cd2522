"""The error that ends a restoration."""


class RestoreError(OSError):
    """What stands between the user and a restored file, in one line."""
