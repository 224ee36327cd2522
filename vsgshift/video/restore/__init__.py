"""Restoring a video file: BestSource decodes, the filter runs in vspipe, ffmpeg encodes, PyAV puts the file together.

`probe` asks what the picture is, `container` what else a file holds; `plan` decides; `parts` keeps what is
finished; `mux` joins it with sound, subtitles and timestamps; `job` is the order of all this.
Of several machines `machine` tells whether they make the same frames, `sharing` who makes what; `cluster` is Ray's.
"""
