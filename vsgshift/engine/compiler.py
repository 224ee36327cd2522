"""What Triton needs beside itself to start a kernel for the first time: a C compiler, and Python's headers."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def missing() -> tuple[str, str] | None:
    """What is missing of it, and what to do about it; None if all is there.

    Where Triton's cache has what it once compiled, it runs without.
    """
    named = os.environ.get("CC")
    if named is not None:
        if shutil.which(named) is None:
            return f"the C compiler that CC names, {named}, is not found", "set CC to one that is there, or unset it"
    elif not any(map(shutil.which, ("gcc", "clang"))):
        return "there is no C compiler", "install gcc, or set CC"
    scheme = sysconfig.get_default_scheme()
    # Debian's own scheme says where packages go, not where the headers are.
    include = sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)
    if not Path(include, "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"Python.h is not in {include}", f"install the headers of this Python, python{version}-dev or -devel"
    return None
