#!/usr/bin/env bash
# Try the wheel for Windows under Wine, in a chroot of Debian 13: for root on Debian, with its archive in reach.
#
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl                   # whole: filters restore a clip
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl --without-torch   # the plugin, the bridge, locks and processes
#
# The chroot is kept in build/windows (2 GB with torch), and Python for Windows put together in it.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$1
root=$PWD/build/windows
lab=$root/lab
left_out() { echo "Left out: $1"; exit 0; }

[ "$(id -u)" = 0 ] || left_out 'Wine runs in a chroot, which only root can make.'
command -v debootstrap >/dev/null || { apt-get update && apt-get install -y debootstrap; } >/dev/null 2>&1 ||
  left_out 'there is no debootstrap.'
if [ ! -e "$root/made" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  { debootstrap --variant=minbase trixie "$root" &&
    chroot "$root" apt-get install -y --no-install-recommends wine wine64; } >"$root.log" 2>&1 ||
    left_out "the chroot cannot be made: $(tail -n 1 "$root.log")"
  touch "$root/made"
fi
umount "$root/proc" 2>/dev/null || true
rm -rf "$lab"
mkdir -p "$lab"
python3.12 -m venv "$lab/tools"
"$lab/tools/bin/pip" install -q pefile ziglang
for_windows=(--only-binary :all: --platform win_amd64 --python-version 3.12)
"$lab/tools/bin/pip" download -q "${for_windows[@]}" --no-deps -d "$lab" panda3d msvc-runtime
needed=('numpy>=2' 'safetensors>=0.5' 'vapoursynth>=81')
# By name: pip would take what torch needs on Linux.
if [ "${2:-}" != --without-torch ]; then
  needed+=('torch>=2.11' filelock fsspec jinja2 markupsafe mpmath networkx sympy typing-extensions)
fi
"$lab/tools/bin/pip" install -q "${for_windows[@]}" --no-deps "$wheel" --target "$lab/python/Lib/site-packages" "${needed[@]}"
"$lab/tools/bin/python" scripts/wine_python.py "$lab"

cp scripts/check_wheel.py "$lab"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
chroot "$root" env HOME=/root WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' \
  wine 'Z:\lab\python\python.exe' -I 'Z:\lab\check_wheel.py' "${@:2}"
chroot "$root" env HOME=/root wineserver -w || true
