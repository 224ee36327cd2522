/* The residual block with channel attention: x + attention(conv3(PReLU(conv3(x)))), in two passes over each frame.
 *
 * 1. Both convolutions: reads x, writes C channels. The rows between them live in a ring of three.
 * 2. The attention's factors: reads those and x, writes the result.
 *
 * Widths need not be multiples of a vector: rows lie in memory as they come, 3 C inputs side by side for each
 * row of taps. */
#ifndef GSHIFT_RESIDUAL_H
#define GSHIFT_RESIDUAL_H

#include "blocks.h"

typedef struct Residual {
    int channels;
    const float *first, *second; /* panels, inputs ordered by row of taps, column of taps, channel */
    const float *slope;          /* of the PReLU */
    Attention attention;
} Residual;
EXPORT_SIZE(Residual);

typedef struct ResidualTask {
    const Residual *block;
    Clip clip;
    const float *x;
    float *out;
    double *sums;   /* [units][C] */
    float *factors; /* [frames][C] */
} ResidualTask;

/* Columns from - 1 to to of a row of x, where `from` may be -1; zero outside the frame. */
static void source_row(const ResidualTask *task, int frame, int row, int from, int to, float *out) {
    const int channels = task->block->channels, width = task->clip.width;
    const size_t pixels = to - from + 2;
    if (row < 0 || row >= task->clip.height) {
        memset(out, 0, pixels * channels * sizeof(float));
        return;
    }
    const int inside = from - 1 > 0 ? from - 1 : 0, end = to + 1 < width ? to + 1 : width;
    const size_t before = inside - (from - 1), count = end - inside;
    memset(out, 0, before * channels * sizeof(float));
    memcpy(out + before * channels, task->x + pixel(task->clip, frame, row, inside) * channels,
           count * channels * sizeof(float));
    memset(out + (before + count) * channels, 0, (pixels - before - count) * channels * sizeof(float));
}

/* A 3x3 convolution of pixels side by side; rows point at the pixel to the left of the first. */
static void convolve_rows(int channels, const float *const rows[3], const float *panels, int pixels, float *out,
                          const float *slope) {
    const Segment segments[3] = {{rows[0], 3 * channels}, {rows[1], 3 * channels}, {rows[2], 3 * channels}};
    const Dense dense = {segments, 3, channels, panels, NULL, channels};
    const Finish finish = {out, channels, NULL, slope};
    convolve(&dense, pixels, &finish);
}

/* Columns left - 1 to right of a row between the convolutions; zero outside the frame. `rows` begin at left - 2. */
static void middle_row(const ResidualTask *task, int row, int left, int right, const float *const rows[3], float *out) {
    const Residual *block = task->block;
    const int channels = block->channels, pixels = right - left + 2;
    if (row < 0 || row >= task->clip.height) {
        memset(out, 0, (size_t)pixels * channels * sizeof(float));
        return;
    }
    convolve_rows(channels, rows, block->first, pixels, out, block->slope);
    if (left == 0)
        memset(out, 0, channels * sizeof(float));
    if (right == task->clip.width)
        memset(out + (size_t)(pixels - 1) * channels, 0, channels * sizeof(float));
}

static size_t residual_arena(const Residual *block) {
    return 6 * (size_t)(STRIP + SLACK) * block->channels;
}

static void residual_pass(const void *given, int unit, float *arena) {
    const ResidualTask *task = given;
    const Residual *block = task->block;
    const Band band = band_of(task->clip, unit);
    const int channels = block->channels, strips = strips_of(task->clip.width);
    const size_t row_size = (size_t)(STRIP + SLACK) * channels;
    float *sources = arena, *middles = arena + 3 * row_size;
    double *sums = task->sums + (size_t)unit * channels;
    memset(sums, 0, channels * sizeof(double));
    for (int strip = 0; strip < strips; strip++) {
        const int left = task->clip.width * strip / strips, right = task->clip.width * (strip + 1) / strips;
        for (int row = band.top - 2; row < band.bottom + 2; row++) {
            source_row(task, band.frame, row, left - 1, right + 1, sources + (row + 3) % 3 * row_size);
            if (row < band.top)
                continue;
            const int middle = row - 1;
            const float *const around[3] = {sources + (row + 1) % 3 * row_size, sources + (row + 2) % 3 * row_size,
                                            sources + row % 3 * row_size};
            middle_row(task, middle, left, right, around, middles + (middle + 3) % 3 * row_size);
            if (row < band.top + 2)
                continue;
            const float *const rows[3] = {middles + (middle + 1) % 3 * row_size, middles + (middle + 2) % 3 * row_size,
                                          middles + middle % 3 * row_size};
            float *out = task->out + pixel(task->clip, band.frame, row - 2, left) * channels;
            convolve_rows(channels, rows, block->second, right - left, out, NULL);
            float row_sums[MOST_CHANNELS] = {0};
            for (int p = 0; p < right - left; p++)
                for (int c = 0; c < channels; c++)
                    row_sums[c] += out[(size_t)p * channels + c];
            for (int c = 0; c < channels; c++)
                sums[c] += row_sums[c];
        }
    }
}

static size_t attention_arena(const Residual *block) {
    return 8 * (size_t)block->channels;
}

static void attention_pass(const void *given, int unit, float *arena) {
    const ResidualTask *task = given;
    const int channels = task->block->channels;
    const Band band = band_of(task->clip, unit);
    /* Eight pixels are whole vectors, whatever the width. */
    for (int i = 0; i < 8 * channels; i++)
        arena[i] = task->factors[(size_t)band.frame * channels + i % channels];
    const size_t count = (size_t)(band.bottom - band.top) * task->clip.width * channels;
    const size_t start = pixel(task->clip, band.frame, band.top, 0) * channels;
    const float *x = task->x + start;
    float *out = task->out + start;
    size_t i = 0;
    for (; i + 8 * channels <= count; i += 8 * channels)
        for (int lane = 0; lane < 8 * channels; lane += 8)
            store8(out + i + lane, load8(x + i + lane) + load8(arena + lane) * load8(out + i + lane));
    for (int lane = 0; i < count; i++, lane++)
        out[i] = x[i] + arena[lane] * out[i];
}

/* x and out (frames, height, width, C). */
static int run_residual(const Residual *block, Clip clip, const float *x, float *out, int threads) {
    const int channels = block->channels, at_once = frames_at_once(clip, threads), bands = bands_of(clip);
    double *sums = malloc((size_t)at_once * bands * channels * sizeof(double));
    float *factors = malloc((size_t)at_once * channels * sizeof(float));
    int done = sums != NULL && factors != NULL;
    for (int first = 0; first < clip.frames && done; first += at_once) {
        const Clip part = {clip.frames - first < at_once ? clip.frames - first : at_once, clip.height, clip.width};
        const size_t start = pixel(clip, first, 0, 0) * channels;
        const ResidualTask task = {block, part, x + start, out + start, sums, factors};
        done = pool_run(residual_pass, &task, part.frames * bands, threads, residual_arena(block));
        if (done)
            attend(&block->attention, channels, part, sums, factors);
        done = done && pool_run(attention_pass, &task, part.frames * bands, threads, attention_arena(block));
    }
    free(sums);
    free(factors);
    return done;
}

#endif
