"""Put a Python for Windows together that runs under Wine: `check_windows.sh` calls this.

    python scripts/wine_python.py FOLDER

FOLDER holds wheels for Windows: of panda3d, which has Python's DLLs, and of msvc-runtime; and python/Lib/site-packages.
The library is that of the Python that runs this, which must be of the same version. python.exe and python3.dll, which
hands on to python312.dll, are compiled, and what Wine 10 lacks: the parts of complex numbers, for NumPy.
"""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pefile

import windows_python

WITHOUT = shutil.ignore_patterns("site-packages", "__pycache__", "test", "lib-dynload", "config-*")
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-O3", "-DNDEBUG"]
PROGRAM = """#include <wchar.h>
int Py_Main(int, wchar_t **);
int wmain(int count, wchar_t **words) { return Py_Main(count, words); }
"""
MATH, STAND_IN = b"api-ms-win-crt-math-l1-1-0.dll", b"xpi-ms-win-crt-math-l1-1-0.dll"
PARTS = {f"c{part}{kind}": "float" if kind == "f" else "double" for part in ("real", "imag") for kind in ("f", "", "l")}
OF_MODULES = ("libcrypto", "libffi", "libssl", "sqlite3", "tcl", "tk", "zlib1")
UMATH = "numpy/_core/_multiarray_umath.*.pyd"


def main(folder: Path) -> None:
    """Fill FOLDER/python."""
    python = folder / "python"
    for wheel, inside in (("panda3d*.whl", "deploy_libs/"), ("msvc_runtime*.whl", "Scripts/")):
        with zipfile.ZipFile(next(folder.glob(wheel))) as archive:
            for name in archive.namelist():
                if inside in name and name.endswith((".dll", ".pyd")):
                    # As Python's installer has them: what modules need lies beside them, where any program finds it.
                    beside = name.endswith(".pyd") or Path(name).name.startswith(OF_MODULES)
                    target = python / ("DLLs" if beside else "") / Path(name).name
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(archive.read(name))
    shutil.copytree(sysconfig.get_path("stdlib"), python / "Lib", ignore=WITHOUT, dirs_exist_ok=True)
    names = [name.removesuffix(" DATA") for name in windows_python.names(Path(sysconfig.get_path("include")))]
    _library(python / "python3.dll", {name: f"python312.{name}" for name in names})
    (folder / "python.c").write_text(PROGRAM)
    _compile(python / "python.exe", folder / "python.c", "-municode", python / "python312.dll")
    for umath in (python / "Lib" / "site-packages").glob(UMATH):
        with pefile.PE(umath, fast_load=False) as file:
            imported = next(each.imports for each in file.DIRECTORY_ENTRY_IMPORT if each.dll == MATH)
            names = [each.name.decode() for each in imported]
        umath.write_bytes(umath.read_bytes().replace(MATH, STAND_IN))
        known = {name: f"part_{name}" if name in PARTS else f"ucrtbase.{name}" for name in names}
        code = "typedef struct { float v[2]; } C_float;\ntypedef struct { double v[2]; } C_double;\n"
        for name, kind in PARTS.items():
            code += f"{kind} part_{name}(C_{kind} z) {{ return z.v[{int('imag' in name)}]; }}\n"
        _library(umath.with_name(STAND_IN.decode()), known, code)


def _library(file: Path, exports: Mapping[str, str], code: str = "") -> None:
    """A DLL that has these names for what is in another, or in the code."""
    lines = "".join(f'".ascii \\" -export:{name}={what}\\"\\n"\n' for name, what in exports.items())
    source = file.with_suffix(".c")
    source.write_text(f'{code}__asm__(".section .drectve,\\"yni\\"\\n"\n{lines});\n')
    _compile(file, source, "-shared")
    source.unlink()


def _compile(file: Path, source: Path, *words: str | Path) -> None:
    subprocess.run([*ZIG, *words, "-o", file, source], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
