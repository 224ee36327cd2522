/* The gated block: x + beta * body(norm(cat(x, side))), in three passes over each frame.
 *
 * 1. Norm, expansion, depthwise 3x3, gate: reads x and side, writes the product of the gate, C channels.
 *    Expanded rows, 2 C wide, live in a ring of three, and never see memory outside the second cache.
 * 2. The 5x5, its expansion and gate: reads the product, writes C channels.
 * 3. The projection: reads those and x, writes the result.
 *
 * Between them lie the channel attentions, which need means over whole frames. Their factors go into
 * the next pass's inputs or weights. */
#ifndef GSHIFT_GATED_H
#define GSHIFT_GATED_H

#include "blocks.h"

typedef struct Gated {
    int channels, side;        /* C, and how many more come beside x; multiples of 16 and 8 */
    int group;                 /* channels in a group of the 5x5 convolution: 1 or 8 */
    const float *expand;       /* panels, C + side -> 2 C; the norm's weight is in it */
    const float *expand_bias;  /* the norm's bias, expanded */
    const float *depthwise;    /* [9][2 C], the identity in it */
    Attention first;           /* of the product; none in deblurring */
    const float *mix;          /* [25][C], or for each group a half panel of 25 * 8 inputs; all three in it */
    const float *gate;         /* panels, C -> 2 C */
    Attention second;
    const float *project;      /* panels, C -> C; beta in it */
    const float *project_bias; /* likewise */
} Gated;
EXPORT_SIZE(Gated);

typedef struct GatedTask {
    const Gated *block;
    Clip clip;
    const Half *halves; /* of x: two for each frame */
    const float *side;
    float *product, *gated, *out;
    double *sums;   /* [units][C] */
    float *factors; /* [frames][C] */
} GatedTask;

/* ---- first pass ---------------------------------------------------------------------------- */

INLINE Eight sum_of(const float *x, int channels, Eight sum) {
    for (int c = 0; c < channels; c += 8)
        sum += load8(x + c);
    return sum;
}

/* Writes x less the mean, and adds its squares up. */
INLINE Eight centred(const float *x, int channels, float mean, float *out, Eight squares) {
    for (int c = 0; c < channels; c += 8) {
        const Eight apart = load8(x + c) - mean;
        store8(out + c, apart);
        squares += apart * apart;
    }
    return squares;
}

/* The norm of a pixel's channels, which lie in three places; without weight and bias. */
INLINE void normalise(const float *first, const float *second, int half, const float *side, int more, float *out) {
    const int channels = 2 * half + more;
    const float scale = 1.0f / (float)channels;
    const Eight zero = {0};
    const float mean = sum8(sum_of(side, more, sum_of(second, half, sum_of(first, half, zero)))) * scale;
    Eight squares = centred(first, half, mean, out, zero);
    squares = centred(second, half, mean, out + half, squares);
    squares = centred(side, more, mean, out + 2 * half, squares);
    const float factor = 1.0f / sqrtf(sum8(squares) * scale + 1e-6f);
    for (int c = 0; c < channels; c += 8)
        store8(out + c, load8(out + c) * factor);
}

/* One row of a strip and its neighbours, columns left - 1 to right, expanded; zero outside the frame. */
static void expand_row(const GatedTask *task, int frame, int row, int left, int right, float *normal, float *out) {
    const Gated *block = task->block;
    const int channels = block->channels, side = block->side, inputs = channels + side, wide = 2 * channels;
    const int from = left > 0 ? left - 1 : 0, to = right < task->clip.width ? right + 1 : right;
    if (row < 0 || row >= task->clip.height) {
        memset(out, 0, (size_t)(right - left + 2) * wide * sizeof(float));
        return;
    }
    if (left == 0)
        memset(out, 0, wide * sizeof(float));
    if (right == task->clip.width)
        memset(out + (size_t)(right - left + 1) * wide, 0, wide * sizeof(float));
    const Half *halves = task->halves + 2 * frame;
    const float *first = half_at(&halves[0], task->clip, row, from), *second = half_at(&halves[1], task->clip, row, from);
    const float *beside = task->side + pixel(task->clip, frame, row, from) * side;
    for (int p = 0; p < to - from; p++)
        normalise(first + p * halves[0].stride, second + p * halves[1].stride, channels / 2, beside + (size_t)p * side,
                  side, normal + (size_t)p * inputs);
    const Segment segment = {normal, inputs};
    const Dense dense = {&segment, 1, inputs, block->expand, block->expand_bias, wide};
    const Finish finish = {out + (size_t)(from - left + 1) * wide, wide, NULL, NULL};
    convolve(&dense, to - from, &finish);
}

/* Depthwise 3x3 of both halves, and their product; rows point at the pixel to the left of the first. */
static void gate_row(const Gated *block, const float *const rows[3], int pixels, float *out, float *sums) {
    const int channels = block->channels, wide = 2 * channels;
    for (int first = 0; first < pixels; first += 4) {
        const int some = pixels - first < 4 ? pixels - first : 4;
        for (int c = 0; c < channels; c += 8) {
            Eight a[4] = {{0}}, b[4] = {{0}};
            for (int dy = 0; dy < 3; dy++)
                for (int dx = 0; dx < 3; dx++) {
                    const float *weights = block->depthwise + (dy * 3 + dx) * wide + c;
                    const Eight wa = load8(weights), wb = load8(weights + channels);
                    const float *x = rows[dy] + (size_t)(first + dx) * wide + c;
                    UNROLL for (int p = 0; p < 4; p++) {
                        a[p] += wa * load8(x + p * wide);
                        b[p] += wb * load8(x + p * wide + channels);
                    }
                }
            Eight total = load8(sums + c);
            for (int p = 0; p < some; p++) {
                const Eight product = a[p] * b[p];
                total += product;
                store8(out + (size_t)(first + p) * channels + c, product);
            }
            store8(sums + c, total);
        }
    }
}

static size_t first_arena(const Gated *block) {
    return (size_t)(STRIP + SLACK) * (block->channels + block->side + 6 * block->channels) + MOST_CHANNELS;
}

static void first_pass(const void *given, int unit, float *arena) {
    const GatedTask *task = given;
    const Gated *block = task->block;
    const Band band = band_of(task->clip, unit);
    const int channels = block->channels, wide = 2 * channels;
    const int strips = strips_of(task->clip.width);
    float *normal = arena + MOST_CHANNELS, *ring[3];
    for (int i = 0; i < 3; i++)
        ring[i] = normal + (size_t)(STRIP + SLACK) * (channels + block->side + i * wide);
    double *sums = task->sums + (size_t)unit * channels;
    memset(sums, 0, channels * sizeof(double));
    for (int strip = 0; strip < strips; strip++) {
        const int left = task->clip.width * strip / strips, right = task->clip.width * (strip + 1) / strips;
        for (int row = band.top - 1; row <= band.bottom; row++) {
            expand_row(task, band.frame, row, left, right, normal, ring[(row + 3) % 3]);
            if (row <= band.top)
                continue;
            const float *const rows[3] = {ring[(row + 1) % 3], ring[(row + 2) % 3], ring[row % 3]};
            float *row_sums = arena;
            memset(row_sums, 0, channels * sizeof(float));
            gate_row(block, rows, right - left,
                     task->product + pixel(task->clip, band.frame, row - 1, left) * channels, row_sums);
            for (int c = 0; c < channels; c++)
                sums[c] += row_sums[c];
        }
    }
}

/* ---- second pass --------------------------------------------------------------------------- */

/* One row of the product, columns left - 2 to right + 1, times the frame's factors; zero outside the frame. */
static void scaled_row(const GatedTask *task, int frame, int row, int left, int right, float *out) {
    const int channels = task->block->channels;
    const float *factors = task->block->first.hidden ? task->factors + (size_t)frame * channels : NULL;
    const int from = left > 2 ? left - 2 : 0, to = right + 2 < task->clip.width ? right + 2 : task->clip.width;
    if (row < 0 || row >= task->clip.height) {
        memset(out, 0, (size_t)(right - left + 4) * channels * sizeof(float));
        return;
    }
    const size_t before = from - (left - 2), after = (right + 2) - to;
    memset(out, 0, before * channels * sizeof(float));
    memset(out + (right - left + 4 - after) * channels, 0, after * channels * sizeof(float));
    const float *x = task->product + pixel(task->clip, frame, row, from) * channels;
    out += before * channels;
    if (factors == NULL) {
        memcpy(out, x, (size_t)(to - from) * channels * sizeof(float));
        return;
    }
    for (int p = 0; p < to - from; p++, x += channels, out += channels)
        for (int c = 0; c < channels; c += 8)
            store8(out + c, load8(x + c) * load8(factors + c));
}

/* Depthwise 5x5; rows point two pixels to the left of the first. */
static void mix_depthwise(const Gated *block, const float *const rows[5], int pixels, float *out) {
    const int channels = block->channels;
    for (int first = 0; first < pixels; first += 8)
        for (int c = 0; c < channels; c += 8) {
            Eight sums[8] = {{0}};
            for (int dy = 0; dy < 5; dy++)
                for (int dx = 0; dx < 5; dx++) {
                    const Eight weights = load8(block->mix + (dy * 5 + dx) * channels + c);
                    const float *x = rows[dy] + (size_t)(first + dx) * channels + c;
                    UNROLL for (int p = 0; p < 8; p++)
                        sums[p] += weights * load8(x + p * channels);
                }
            UNROLL for (int p = 0; p < 8; p++)
                store8(out + (size_t)(first + p) * channels + c, sums[p]);
        }
}

/* 5x5 in groups of eight channels. */
static void mix_grouped(const Gated *block, const float *const rows[5], int pixels, float *out) {
    const int channels = block->channels;
    for (int c = 0; c < channels; c += 8) {
        Segment taps[25];
        for (int dy = 0; dy < 5; dy++)
            for (int dx = 0; dx < 5; dx++)
                taps[dy * 5 + dx] = (Segment){rows[dy] + (size_t)dx * channels + c, 8};
        const Dense dense = {taps, 25, channels, block->mix + (size_t)c * 25 * 8, NULL, 8};
        const Finish finish = {out + c, channels, NULL, NULL};
        convolve(&dense, pixels, &finish);
    }
}

static size_t second_arena(const Gated *block) {
    return (size_t)(STRIP + SLACK) * block->channels * (5 + 1 + 2) + MOST_CHANNELS;
}

static void second_pass(const void *given, int unit, float *arena) {
    const GatedTask *task = given;
    const Gated *block = task->block;
    const Band band = band_of(task->clip, unit);
    const int channels = block->channels, wide = 2 * channels;
    const int strips = strips_of(task->clip.width);
    const size_t row_size = (size_t)(STRIP + SLACK) * channels;
    float *row_sums = arena, *mixed = arena + MOST_CHANNELS, *halves = mixed + row_size, *ring = halves + 2 * row_size;
    double *sums = task->sums + (size_t)unit * channels;
    memset(sums, 0, channels * sizeof(double));
    for (int strip = 0; strip < strips; strip++) {
        const int left = task->clip.width * strip / strips, right = task->clip.width * (strip + 1) / strips;
        const int pixels = right - left;
        for (int row = band.top - 2; row < band.bottom + 2; row++) {
            scaled_row(task, band.frame, row, left, right, ring + (row + 5) % 5 * row_size);
            if (row < band.top + 2)
                continue;
            const float *rows[5];
            for (int i = 0; i < 5; i++)
                rows[i] = ring + (row + 1 + i) % 5 * row_size;
            (block->group == 1 ? mix_depthwise : mix_grouped)(block, rows, pixels, mixed);
            const Segment segment = {mixed, channels};
            const Dense dense = {&segment, 1, channels, block->gate, NULL, wide};
            const Finish finish = {halves, wide, NULL, NULL};
            convolve(&dense, pixels, &finish);
            float *out = task->gated + pixel(task->clip, band.frame, row - 2, left) * channels;
            memset(row_sums, 0, channels * sizeof(float));
            for (int p = 0; p < pixels; p++)
                for (int c = 0; c < channels; c += 8) {
                    const float *half = halves + (size_t)p * wide + c;
                    const Eight value = load8(half) * sigmoid8(load8(half + channels));
                    store8(out + (size_t)p * channels + c, value);
                    store8(row_sums + c, load8(row_sums + c) + value);
                }
            for (int c = 0; c < channels; c++)
                sums[c] += row_sums[c];
        }
    }
}

/* ---- third pass ---------------------------------------------------------------------------- */

static size_t third_arena(const Gated *block) {
    return (size_t)block->channels * (block->channels + PANEL + STRIP);
}

static void third_pass(const void *given, int unit, float *arena) {
    const GatedTask *task = given;
    const Gated *block = task->block;
    const Band band = band_of(task->clip, unit);
    const int channels = block->channels;
    const float *factors = task->factors + (size_t)band.frame * channels;
    /* The attention's factors go into the weights. */
    const float *from = block->project;
    float *to = arena;
    for (int output = 0; output < channels;) {
        const int lanes = channels - output > HALF_PANEL ? PANEL : HALF_PANEL;
        for (int k = 0; k < channels; k++)
            for (int lane = 0; lane < lanes; lane++)
                *to++ = *from++ * factors[k];
        output += lanes;
    }
    float *x = arena + (size_t)channels * (channels + PANEL);
    const Half *halves = task->halves + 2 * band.frame;
    for (int row = band.top; row < band.bottom; row++)
        for (int left = 0; left < task->clip.width; left += STRIP) {
            const int pixels = task->clip.width - left < STRIP ? task->clip.width - left : STRIP;
            const size_t start = pixel(task->clip, band.frame, row, left) * channels;
            for (int i = 0; i < 2; i++) {
                const float *half = half_at(&halves[i], task->clip, row, left);
                for (int p = 0; p < pixels; p++)
                    for (int c = 0; c < channels / 2; c += 8)
                        store8(x + (size_t)p * channels + i * channels / 2 + c, load8(half + p * halves[i].stride + c));
            }
            const Segment segment = {task->gated + start, channels};
            const Dense dense = {&segment, 1, channels, arena, block->project_bias, channels};
            const Finish finish = {task->out + start, channels, x, NULL};
            convolve(&dense, pixels, &finish);
        }
}

/* ---- the block ------------------------------------------------------------------------------ */

/* Two halves for each frame; out (frames, height, width, C), which must not overlap them; side likewise with its channels;
 * gated has room for `frames_at_once`. */
static int run_gated(const Gated *block, Clip clip, const Half *halves, const float *side, float *gated,
                     float *out, int threads) {
    const int channels = block->channels, at_once = frames_at_once(clip, threads), bands = bands_of(clip);
    double *sums = malloc((size_t)at_once * bands * channels * sizeof(double));
    float *factors = malloc((size_t)at_once * channels * sizeof(float));
    int done = sums != NULL && factors != NULL;
    for (int first = 0; first < clip.frames && done; first += at_once) {
        const Clip part = {clip.frames - first < at_once ? clip.frames - first : at_once, clip.height, clip.width};
        const int units = part.frames * bands;
        const size_t start = pixel(clip, first, 0, 0);
        /* The product has done its duty when the result is written over it. */
        float *result = out + start * channels;
        const GatedTask task = {block, part,   halves + 2 * first, side + start * block->side, result,
                                gated, result, sums,               factors};
        done = pool_run(first_pass, &task, units, threads, first_arena(block));
        if (block->first.hidden && done)
            attend(&block->first, channels, part, sums, factors);
        done = done && pool_run(second_pass, &task, units, threads, second_arena(block));
        if (done)
            attend(&block->second, channels, part, sums, factors);
        done = done && pool_run(third_pass, &task, units, threads, third_arena(block));
    }
    free(sums);
    free(factors);
    return done;
}

#endif
