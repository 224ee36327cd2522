/* The two ends of a network that merges frames: what it is given, and the frames that are made of what it gives.
 *
 * Frames are planes of floats; the network's tensors have half their height and width, the channels of a pixel together.
 * Channel 4 c + 2 dy + dx of four is colour c of the pixel dy down and dx to the right. */
#ifndef GSHIFT_MERGED_H
#define GSHIFT_MERGED_H

#include "blocks.h"

enum { COLOURS = 3, INPUTS = 28, OUTPUTS = 12 };

typedef struct MergedTask {
    Clip clip; /* height and width are the network's */
    const float *source, *change; /* [frames][3][2 height][2 width] */
    const float *noise; /* [frames][height][width] */
    const float *left;  /* [frames][3][height][width] */
    const float *x;     /* [frames][height][width][12] */
    float largest, most_noise, strength;
    float *out;
} MergedTask;

static void merged_input_pass(const void *given, int unit, float *arena) {
    (void)arena;
    const MergedTask *task = given;
    const Band band = band_of(task->clip, unit);
    const int width = task->clip.width;
    const size_t plane = (size_t)task->clip.height * width, first = band.frame * plane;
    for (int row = band.top; row < band.bottom; row++) {
        float *out = task->out + (first + (size_t)row * width) * INPUTS;
        for (int c = 0; c < COLOURS; c++)
            for (int dy = 0; dy < 2; dy++) {
                const size_t line = 4 * (COLOURS * first + c * plane) + (size_t)(2 * row + dy) * 2 * width;
                const float *source = task->source + line, *change = task->change + line;
                float *to = out + 4 * c + 2 * dy;
                for (int column = 0; column < width; column++, to += INPUTS)
                    for (int dx = 0; dx < 2; dx++) {
                        to[dx] = source[2 * column + dx] + change[2 * column + dx];
                        to[OUTPUTS + dx] = source[2 * column + dx];
                    }
            }
        for (int i = 0; i < 1 + COLOURS; i++) {
            const float *from = i == 0 ? task->noise + first : task->left + COLOURS * first + (i - 1) * plane;
            for (int column = 0; column < width; column++)
                out[(size_t)column * INPUTS + 2 * OUTPUTS + i] = from[(size_t)row * width + column];
        }
    }
}

/* Sums over 6x6 pixels, of which the middle 2x2 are one of the network's pixels; ends of the picture are repeated. */
static void sum_windows(const float *columns, int width, float *sums) {
    for (int column = 0; column < width; column++)
        sums[column] = columns[2 * column] + columns[2 * column + 1];
    float before = sums[0], now = sums[0];
    for (int column = 0; column < width; column++) {
        const float after = sums[column + 1 < width ? column + 1 : column];
        sums[column] = before + now + after;
        before = now;
        now = after;
    }
}

static void merged_output_pass(const void *given, int unit, float *arena) {
    const MergedTask *task = given;
    const Band band = band_of(task->clip, unit);
    const int height = task->clip.height, width = task->clip.width;
    const size_t plane = (size_t)height * width, first = band.frame * plane;
    float *columns = arena, *squares = arena + 2 * width, *sums = arena + 4 * width, *most = arena + 5 * width;
    for (int row = band.top; row < band.bottom; row++)
        for (int c = 0; c < COLOURS; c++) {
            const size_t start = 4 * (COLOURS * first + c * plane);
            const float *source = task->source + start;
            memset(columns, 0, 4 * (size_t)width * sizeof(float));
            for (int near = row - 1; near <= row + 1; near++) {
                const int inside = near < 0 ? 0 : near < height ? near : height - 1;
                const float *upper = source + (size_t)4 * inside * width, *lower = upper + 2 * width;
                for (int i = 0; i < 2 * width; i++) {
                    columns[i] += upper[i] + lower[i];
                    squares[i] += upper[i] * upper[i] + lower[i] * lower[i];
                }
            }
            sum_windows(columns, width, sums);
            sum_windows(squares, width, most);
            const float *noise = task->noise + first + (size_t)row * width;
            for (int i = 0; i < width; i++) {
                const float mean = sums[i] / 36, power = most[i] / 36 - mean * mean;
                const float deviation = task->most_noise * sqrtf(power > 0 ? power : 0);
                most[i] = task->largest * (noise[i] < deviation ? noise[i] : deviation);
            }
            for (int dy = 0; dy < 2; dy++) {
                const size_t line = start + (size_t)(2 * row + dy) * 2 * width;
                const float *x = task->x + (first + (size_t)row * width) * OUTPUTS + 4 * c + 2 * dy;
                for (int i = 0; i < 2 * width; i++) {
                    const float limit = most[i / 2];
                    float change = x[(size_t)(i / 2) * OUTPUTS + i % 2] + task->change[line + i];
                    change = change > limit ? limit : change < -limit ? -limit : change;
                    task->out[line + i] = task->source[line + i] + task->strength * change;
                }
            }
        }
}

static int run_merged_input(Clip clip, const float *source, const float *change, const float *noise, const float *left,
                            float *out, int threads) {
    const MergedTask task = {.clip = clip, .source = source, .change = change, .noise = noise, .left = left, .out = out};
    return pool_run(merged_input_pass, &task, clip.frames * bands_of(clip), threads, 1);
}

/* `largest`, `most_noise`: as in vsgshift/network/merged.py. */
static int run_merged_output(Clip clip, const float *x, const float *source, const float *change, const float *noise,
                             const float strengths[3], float *out, int threads) {
    const MergedTask task = {.clip = clip, .x = x, .source = source, .change = change, .noise = noise, .out = out,
                             .largest = strengths[0], .most_noise = strengths[1], .strength = strengths[2]};
    return pool_run(merged_output_pass, &task, clip.frames * bands_of(clip), threads, 6 * (size_t)clip.width);
}

#endif
