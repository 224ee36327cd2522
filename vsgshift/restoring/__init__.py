"""Restoring a video file: BestSource decodes, the filter runs in vspipe, ffmpeg encodes, PyAV puts the file together.

`source` asks what the picture is, `container` what else a file holds; `plan` decides; `script` writes
the VapourSynth script and `encoder` the ffmpeg command; `pipe` runs the two; `parts` keeps what is
finished; `mux` joins it with sound, subtitles and timestamps; `job` is the order of all this. Nothing
here imports torch: that is for vspipe.
"""
