#!/usr/bin/env bash
# Everything that only a GPU can tell, in minutes, into one report to commit: see scripts/gpu_check.py.
#
#   scripts/gpu_check.sh [--wheels DIR] [--against DIR] [--dry] [--minutes N] [--only STEP ...] [-o FILE]
#
# With --wheels nothing is fetched: the wheels of that folder are installed into an environment of their own, which
# borrows torch, CuPy and whatever else is there from $PYTHON (default: .venv's, else python3). Wanted there are
# vapoursynth and vsgshift, as *.whl; where vsgshift's is absent it is built from this checkout with the tools at hand.
# pytest (9 or later) with what it needs, and pytest-timeout, where they are not borrowed. On a machine with a registry:
#   pip wheel --no-deps -w DIR . vapoursynth pytest pluggy iniconfig pytest-timeout
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
wheels=
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --wheels) wheels=${2:?--wheels needs a folder}; shift 2 ;;
    *) arguments+=("$1"); shift ;;
  esac
done

if [ -n "$wheels" ]; then
  if [ -z "$(find "$wheels" -maxdepth 1 -name '*.whl' -print -quit 2>/dev/null)" ]; then
    echo "gpu_check.sh: no wheels in $wheels; see the head of this file" >&2
    exit 2
  fi
  environment=$PWD/build/gpu-check
  rm -rf "$environment"
  # Without pip of its own: bare systems lack what venv would make it from.
  "$python" -m venv --without-pip "$environment"
  install=("$python" -m pip --python "$environment/bin/python" install -q --no-index --no-deps)
  "${install[@]}" --find-links "$wheels" "$wheels"/*.whl
  # Only now what is borrowed, so that the wheels are not thought to be there already.
  "$python" - "$environment" <<'BORROW'
import site
import sys
import sysconfig
from pathlib import Path

version = f"python{sys.version_info.major}.{sys.version_info.minor}"
folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
if site.ENABLE_USER_SITE:
    folders.append(site.getusersitepackages())
borrowed = Path(sys.argv[1], "lib", version, "site-packages", "borrowed.pth")
borrowed.write_text("".join(f"{folder}\n" for folder in dict.fromkeys(folders)))
BORROW
  if ! "$environment/bin/python" -c 'import sys; sys.path.pop(0); import vsgshift' 2>/dev/null; then
    "${install[@]}" --no-build-isolation .
  fi
  python=$environment/bin/python
  # The sources of this checkout, with what was compiled for the wheel.
  export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
  # vspipe then knows which Python to use; without it only the steps through vspipe fail.
  "$environment/bin/vapoursynth" config || echo "gpu_check.sh: vapoursynth config failed" >&2
fi

exec "$python" scripts/gpu_check.py "${arguments[@]}"
