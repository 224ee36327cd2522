/* Grouped spatial shift and the depthwise 3x3 after it, without storing the shifted tensor.
 *
 * Reads the channels that arrived from the neighbouring frame in place, and writes as many. */
#ifndef GSHIFT_ALIGN_H
#define GSHIFT_ALIGN_H

#include "blocks.h"

typedef struct Align {
    int channels;           /* that are shifted */
    const int16_t *offsets; /* [channels][2]: down and right, pixels */
    const float *weights;   /* [9][channels] */
} Align;
EXPORT_SIZE(Align);

typedef struct AlignTask {
    const Align *align;
    Clip clip;
    const Half *arrived; /* one for each frame */
    float *out;
} AlignTask;

/* Columns -1 to width of a row of the shifted picture. */
static void shifted_row(const AlignTask *task, int frame, int row, float *out) {
    const Align *align = task->align;
    const int channels = align->channels, width = task->clip.width;
    memset(out, 0, (size_t)(width + 2) * channels * sizeof(float));
    if (row < 0 || row >= task->clip.height)
        return;
    out += channels;
    const ptrdiff_t stride = task->arrived[frame].stride;
    for (int c = 0; c < channels; c++) {
        const int source_row = row - align->offsets[2 * c], right = align->offsets[2 * c + 1];
        if (source_row < 0 || source_row >= task->clip.height)
            continue;
        const int from = right > 0 ? right : 0, to = right < 0 ? width + right : width;
        const float *x = half_at(&task->arrived[frame], task->clip, source_row, 0) + c;
        for (int column = from; column < to; column++)
            out[(ptrdiff_t)column * channels + c] = x[(column - right) * stride];
    }
}

static void align_pass(const void *given, int unit, float *arena) {
    const AlignTask *task = given;
    const Align *align = task->align;
    const Band band = band_of(task->clip, unit);
    const int channels = align->channels, width = task->clip.width;
    const size_t row_size = (size_t)(width + SLACK) * channels;
    for (int row = band.top - 1; row <= band.bottom; row++) {
        shifted_row(task, band.frame, row, arena + (row + 3) % 3 * row_size);
        if (row <= band.top)
            continue;
        float *out = task->out + pixel(task->clip, band.frame, row - 1, 0) * channels;
        for (int first = 0; first < width; first += 8) {
            const int some = width - first < 8 ? width - first : 8;
            for (int c = 0; c < channels; c += 8) {
                Eight sums[8] = {{0}};
                for (int dy = 0; dy < 3; dy++)
                    for (int dx = 0; dx < 3; dx++) {
                        const Eight weights = load8(align->weights + (dy * 3 + dx) * channels + c);
                        const float *x = arena + (row + 1 + dy) % 3 * row_size + (size_t)(first + dx) * channels + c;
                        UNROLL for (int p = 0; p < 8; p++)
                            sums[p] += weights * load8(x + p * channels);
                    }
                for (int p = 0; p < some; p++)
                    store8(out + (size_t)(first + p) * channels + c, sums[p]);
            }
        }
    }
}

/* out (frames, height, width, channels). */
static int run_align(const Align *align, Clip clip, const Half *arrived, float *out, int threads) {
    const AlignTask task = {align, clip, arrived, out};
    const size_t arena = 3 * (size_t)(clip.width + SLACK) * align->channels;
    return pool_run(align_pass, &task, clip.frames * bands_of(clip), threads, arena);
}

#endif
