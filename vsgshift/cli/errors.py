"""The error that ends a command."""


class CommandError(Exception):
    """What stands between the user and a result, in one line."""
