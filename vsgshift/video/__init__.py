"""Files of video: opening them, running vspipe and ffmpeg, restoring a whole file, showing before and after.

`programs` finds vspipe and ffmpeg; `script` writes a VapourSynth script and `encoder` the ffmpeg command; `pipe` runs
the two. `restore` does a whole file with all that it holds; `compare` makes a picture, a page or a film of before and
after. Nothing here imports torch: that is for vspipe.
"""
