"""``python -m vsgshift``: the command line."""

from vsgshift.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
