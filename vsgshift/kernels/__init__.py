"""Fused Triton kernels of the shift step, one operation a file; each is held equal to the plain modules.

Importing a kernel imports Triton, importing this package does not. All tensors are channels-last,
(T, C, H, W) in torch's words, so that the channels of a pixel lie side by side. Tensors are stored
in float16, bfloat16 or float32; sums, statistics and accumulators are float32, and products of
float32 matrices are not rounded to less. No kernel adds atomically: a sum over a frame is taken in
two stages whose order depends on the size alone (and on the configuration, see `tuning`), so that
equal inputs give equal bits.

The file of each kernel says what it reads and writes per pixel, and its ``cost`` counts it:
``cost(frames, height, width, channels, itemsize, ...)`` gives the bytes that must cross the memory
bus if every tensor is read and written once, and the floating-point operations of the formula
(a multiplication and an addition are two; what padding to a power of two adds is left out).
"""
