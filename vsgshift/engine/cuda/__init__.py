"""Fused Triton kernels of the shift step and the merge, one operation a file; `blocks` puts them into a network.

Importing a kernel imports Triton, importing this package does not. The shift step's tensors are channels-last,
(T, C, H, W) in torch's words: the channels of a pixel are contiguous. Tensors are stored in float16,
bfloat16 or float32. Sums, statistics and accumulators are float32, and products of float32 matrices
are not rounded to less. No kernel adds atomically: a sum over a frame is taken in two stages whose
order depends only on the size and on the configuration (see `tuning`), so that equal inputs give
equal bits.

The file of each kernel says what it reads and writes per pixel.
"""
