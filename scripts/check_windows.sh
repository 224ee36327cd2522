#!/usr/bin/env bash
# Install the wheel for Windows under Wine and try it, in a chroot of Debian 13: for root on Debian, with its archive in reach.
#
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl                   # whole: filters restore a clip; the demo
#   scripts/check_windows.sh wheelhouse/*win_amd64.whl --without-torch   # the plugin, the bridge, locks and processes
#
# The chroot is kept in ~/.cache/vsgshift/windows (1.3 GB, 3 GB with torch), where CI finds it; Python for Windows is put
# together in it. The commands are printed with their times and what is on the disk then.
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$1
root=${XDG_CACHE_HOME:-$HOME/.cache}/vsgshift/windows
lab=$root/lab
left_out() { echo "Left out: $1"; exit 0; }

[ "$(id -u)" = 0 ] || left_out 'Wine runs in a chroot, which only root can make.'
command -v debootstrap >/dev/null || { apt-get update && apt-get install -y debootstrap; } >/dev/null 2>&1 ||
  left_out 'there is no debootstrap.'
mkdir -p "$root"
exec 9>"$root.lock"
flock 9
umount "$root/proc" 2>/dev/null || true
if [ ! -e "$root/made" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  { debootstrap --variant=minbase trixie "$root" &&
    chroot "$root" apt-get install -y --no-install-recommends wine wine64; } >"$root.log" 2>&1 ||
    left_out "the chroot cannot be made: $(tail -n 1 "$root.log")"
  touch "$root/made"
fi
rm -rf "$lab"
mkdir -p "$lab"
# Those of release.sh, if they are there: zig compiles the C library for Windows once for each place where it lies.
tools=$PWD/build/release/tools
[ -e "$tools" ] || { tools=$lab/tools && python3.12 -m venv "$tools"; }
"$tools/bin/pip" install -q pefile ziglang
for_windows=(--only-binary :all: --platform win_amd64 --python-version 3.12 --no-deps)
"$tools/bin/pip" download -q "${for_windows[@]}" -d "$lab" panda3d msvc-runtime
# NumPy is there first: Wine lacks what it needs, and wine_python.py puts that beside it.
"$tools/bin/pip" install -q "${for_windows[@]}" --target "$lab/python/Lib/site-packages" 'numpy>=2'
"$tools/bin/python" scripts/wine_python.py "$lab"
cp "$wheel" scripts/check_wheel.py "$lab"
# This machine's: its network may have a proxy that is known by them.
cp /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf "$lab"
cp /etc/resolv.conf "$root/etc/"

mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
under_wine() {
  local since=$SECONDS
  printf '\n> %s\n' "$*"
  (cd "$root/lab" && chroot "$root" env -i -C /lab HOME=/root PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/tmp WINEDEBUG=-all \
    WINEDLLOVERRIDES='mscoree,mshtml=' WINEPATH='Z:\lab\python;Z:\lab\python\Scripts' PIP_CERT='Z:\lab\ca-certificates.crt' \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_NO_COMPILE=1 wine "$@" 9>&-)
  echo "[done after $((SECONDS - since)) s; $(du -sh "$lab/python" | cut -f 1) in Python's folder]"
}
echo "$(date -I), $(chroot "$root" wine --version 2>/dev/null), $(basename "$wheel"): $(du -h "$wheel" | cut -f 1)"
wheel=$(basename "$wheel")
under_wine python -m ensurepip
if [ "${2:-}" = --without-torch ]; then
  under_wine python -m pip install -q --no-deps "$wheel" 'safetensors>=0.5' 'vapoursynth>=81'
else
  under_wine python -m pip install -q "$wheel[restore,compare]"
  under_wine vapoursynth config
fi
under_wine python -I check_wheel.py "${@:2}"
if [ "${2:-}" != --without-torch ]; then
  under_wine vsgshift demo
fi
