"""Make what extensions for Windows are compiled against out of the Python that runs this: headers and names of symbols.

    python scripts/windows_python.py FOLDER

FOLDER becomes `include/` and `python3.def`, from which a dlltool makes an import library. The headers are the same
everywhere, apart from pyconfig.h; the one written here is for 64 bits and the limited API.
"""

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

SIZES = {"SHORT": 2, "INT": 4, "LONG": 4, "WCHAR_T": 2, "FLOAT": 4, "TIME_T": 8}
EIGHT = ("LONG_LONG", "VOID_P", "SIZE_T", "DOUBLE", "FPOS_T", "UINTPTR_T")
DEFINED = ("MS_WINDOWS", "MS_WIN32", "MS_WIN64", "NT_THREADS", "Py_ENABLE_SHARED", "HAVE_DECLSPEC_DLL")
DECLARATION = re.compile(r"PyAPI_(FUNC|DATA)\([^)]*\)\s*\**\s*(_?Py\w+)")


def main(folder: Path) -> None:
    """Write both."""
    include = folder / "include"
    shutil.copytree(sysconfig.get_path("include"), include)
    sizes = SIZES | dict.fromkeys(EIGHT, 8)
    lines = [f"#define {name} 1" for name in DEFINED] + [
        f"#define SIZEOF_{name} {size}" for name, size in sizes.items()
    ]
    (include / "pyconfig.h").write_text("\n".join([*lines, ""]), encoding="ascii")
    _write(folder / "python3.def", ["LIBRARY python3.dll", "EXPORTS", *sorted(names(include))])


def names(include: Path) -> set[str]:
    """What Python's headers declare, " DATA" after what is no function."""
    return {
        f"{name} DATA" if kind == "DATA" else name
        for header in include.rglob("*.h")
        for kind, name in DECLARATION.findall(header.read_text(encoding="utf-8"))
    }


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
