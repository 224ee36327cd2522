/* Shift-Net's blocks for the CPU, fused: what they hand on from layer to layer stays in the caches.
 *
 * Built once for each instruction set; `vsgshift.engine.library` loads the one that the machine has.
 * Functions return 0 where memory is short. Shapes are checked before, in Python. */
#include "align.h"
#include "gated.h"
#include "residual.h"

#define EXPORT __attribute__((visibility("default")))

/* Frames' worth of room that `gated` must have. */
EXPORT int vsgshift_frames_at_once(int frames, int height, int width, int threads) {
    return frames_at_once((Clip){frames, height, width}, threads);
}

EXPORT int vsgshift_gated(const GatedBlock *block, int frames, int height, int width, const Half *halves, const float *side,
                          float *gated, float *out, int threads) {
    return run_gated(block, (Clip){frames, height, width}, halves, side, gated, out, threads);
}

EXPORT int vsgshift_residual(const ResidualBlock *block, int frames, int height, int width, const float *x, float *out,
                             int threads) {
    return run_residual(block, (Clip){frames, height, width}, x, out, threads);
}

EXPORT int vsgshift_align(const Align *align, int frames, int height, int width, const Half *arrived, float *out,
                          int threads) {
    return run_align(align, (Clip){frames, height, width}, arrived, out, threads);
}
