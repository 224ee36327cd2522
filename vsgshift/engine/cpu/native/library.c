/* The functions that `vsgshift/engine/cpu/library.py` calls: Shift-Net's blocks, fused, so that what a layer gives the
 * next stays in the caches. A block is a header here, a function below, and a declaration in library.py.
 *
 * Built once for each instruction set; Python loads the best one that the machine has. Functions return 0 if memory is
 * short. Python checks shapes before it calls them. */
#include "align.h"
#include "gated.h"
#include "merge.h"
#include "merged.h"
#include "residual.h"

/* To be raised, here and in library.py, with every change of a function's arguments or a structure's fields. */
EXPORT const int vsgshift_abi_version = 3;

/* Frames' worth of room that `gated` must have. */
EXPORT int vsgshift_frames_at_once(int frames, int height, int width, int threads) {
    return frames_at_once((Clip){frames, height, width}, threads);
}

EXPORT int vsgshift_gated(const Gated *block, int frames, int height, int width, const Half *halves, const float *side,
                          float *gated, float *out, int threads) {
    return run_gated(block, (Clip){frames, height, width}, halves, side, gated, out, threads);
}

EXPORT int vsgshift_residual(const Residual *block, int frames, int height, int width, const float *x, float *out,
                             int threads) {
    return run_residual(block, (Clip){frames, height, width}, x, out, threads);
}

EXPORT int vsgshift_align(const Align *align, int frames, int height, int width, const Half *arrived, float *out,
                          int threads) {
    return run_align(align, (Clip){frames, height, width}, arrived, out, threads);
}

/* Bytes that are kept of a frame. */
EXPORT int vsgshift_kept_size(int height, int width) {
    return (int)merge_layout(height, width).size;
}

/* `plane` and `line`: floats from a plane and a row of the frame to the next. */
EXPORT int vsgshift_keep(int height, int width, const float *frame, ptrdiff_t plane, ptrdiff_t line, unsigned char *kept,
                         int threads) {
    return run_keep(height, width, frame, plane, line, kept, threads);
}

EXPORT int vsgshift_merge(const Merge *merge, int threads) {
    return run_merge(merge, threads);
}

/* Height and width are the network's: half of the frames'. */
EXPORT int vsgshift_merged_input(int frames, int height, int width, const float *source, const float *change,
                                 const float *noise, const float *left, float *out, int threads) {
    return run_merged_input((Clip){frames, height, width}, source, change, noise, left, out, threads);
}

EXPORT int vsgshift_merged_output(int frames, int height, int width, const float *x, const float *source,
                                  const float *change, const float *noise, const float *strengths, float *out,
                                  int threads) {
    return run_merged_output((Clip){frames, height, width}, x, source, change, noise, strengths, out, threads);
}
