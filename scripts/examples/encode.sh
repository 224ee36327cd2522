#!/usr/bin/env bash
# Denoise a video straight into SVT-AV1 or x265, each through a Y4M pipe.
#
#   encode.sh noisy.mp4 clean.mkv          # SVT-AV1, as ffmpeg carries it
#   encode.sh noisy.mp4 clean.ivf          # SvtAv1EncApp
#   encode.sh noisy.mp4 clean.hevc         # x265
set -euo pipefail

source=${1:?name the video} target=${2:?name the result}
script=$(dirname "$0")/denoise.vpy
ffmpeg=${FFMPEG:-ffmpeg}

frames() { vspipe -c y4m -a "source=$source" "$script" -; }
case $target in
  *.ivf) frames | SvtAv1EncApp --preset 6 --crf 24 -i stdin -b "$target" ;;
  *.hevc) frames | x265 --y4m --preset slow --crf 18 -o "$target" - ;;
  *) frames | "$ffmpeg" -loglevel error -i - -c:v libsvtav1 -preset 6 -crf 24 "$target" ;;
esac
