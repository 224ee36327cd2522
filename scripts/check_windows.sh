#!/usr/bin/env bash
# Try the wheel for Windows under Wine, in a chroot of Debian 13: for root on Debian, with its archive in reach.
#
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl                   # whole: filters restore a clip
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl --without-torch   # the plugin, the bridge, locks and processes
#
# The chroot is kept in build/windows (2 GB with torch). Python for Windows is put together there: its DLLs are in the wheel
# of panda3d, its library is that of Linux, python.exe and python3.dll, which hands on to python312.dll, are compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$1
root=$PWD/build/windows
lab=$root/lab
python=$lab/python
left_out() { echo "Left out: $1"; exit 0; }

[ "$(id -u)" = 0 ] || left_out 'Wine runs in a chroot, which only root can make.'
command -v debootstrap >/dev/null || { apt-get update && apt-get install -y debootstrap; } >/dev/null 2>&1 ||
  left_out 'there is no debootstrap.'
if [ ! -e "$root/usr/bin/wine" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  { debootstrap --variant=minbase trixie "$root" &&
    chroot "$root" apt-get install -y --no-install-recommends wine wine64; } >"$root.log" 2>&1 ||
    left_out "the chroot cannot be made: $(tail -n 1 "$root.log")"
fi
if [ ! -e "$python/python.exe" ]; then
  rm -rf "$lab"
  mkdir -p "$python/DLLs"
  python3.12 -m venv "$lab/tools"
  "$lab/tools/bin/pip" install -q ziglang
  "$lab/tools/bin/pip" download -q --no-deps --only-binary :all: --platform win_amd64 --python-version 3.12 -d "$lab" panda3d
  "$lab/tools/bin/python" scripts/windows_python.py "$lab/names"
  "$lab/tools/bin/python" - "$lab" <<'PYTHON'
import shutil, sys, sysconfig, zipfile
from pathlib import Path

lab = Path(sys.argv[1])
python = lab / "python"
with zipfile.ZipFile(next(lab.glob("panda3d*.whl"))) as wheel:
    for name in wheel.namelist():
        if name.startswith("deploy_libs/"):
            folder = python / "DLLs" if name.endswith(".pyd") else python
            (folder / Path(name).name).write_bytes(wheel.read(name))
skip = shutil.ignore_patterns("site-packages", "__pycache__", "test", "lib-dynload", "config-*")
shutil.copytree(sysconfig.get_path("stdlib"), python / "Lib", ignore=skip)
names = [line.split()[0] for line in (lab / "names" / "python3.def").read_text().splitlines()[2:]]
exports = "".join(f'".ascii \\" -export:{name}=python312.{name}\\"\\n"\n' for name in names)
(lab / "python3.c").write_text(f'__asm__(".section .drectve,\\"yni\\"\\n"\n{exports});\n')
(lab / "python.c").write_text(
    "#include <wchar.h>\nint Py_Main(int, wchar_t **);\nint wmain(int n, wchar_t **words) { return Py_Main(n, words); }\n"
)
PYTHON
  zig="$lab/tools/bin/python -m ziglang cc -target x86_64-windows-gnu"
  $zig -shared -o "$python/python3.dll" "$lab/python3.c"
  $zig -municode -o "$python/python.exe" "$lab/python.c" "$python/python312.dll"
fi

site=$python/Lib/site-packages
rm -rf "$site"
needed=("$wheel")
if [ "${2:-}" = --without-torch ]; then needed=(--no-deps "$wheel" 'numpy>=2' 'safetensors>=0.5' 'vapoursynth>=81'); fi
"$lab/tools/bin/pip" install -q --target "$site" --platform win_amd64 --python-version 3.12 --only-binary :all: "${needed[@]}"
cp scripts/check_wheel.py "$lab"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
chroot "$root" env HOME=/lab WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' PYTHONHOME='Z:\lab\python' \
  wine 'Z:\lab\python\python.exe' -I 'Z:\lab\check_wheel.py' "${@:2}"
chroot "$root" env HOME=/lab wineserver -w || true
