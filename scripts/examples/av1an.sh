#!/usr/bin/env bash
# Denoise within av1an, which cuts the script into chunks and encodes them side by side.
#
#   av1an.sh noisy.mp4 clean.mkv
#
# Each chunk's frames are those of one run over the whole: the filter itself asks for the frames
# around the chunk that it needs. Every worker loads the network, and the filter uses all cores: on a
# CPU one worker is best, on a GPU as many as its memory holds.
set -euo pipefail

source=${1:?name the video} target=${2:?name the result}
exec av1an -i "$(dirname "$0")/denoise.vpy" --vspipe-args "source=$source" \
  --encoder svt-av1 --video-params "--preset 6 --crf 24" --workers "${WORKERS:-1}" -o "$target"
