/* Vectors of floats, and the tile that every dense convolution here is made of.
 *
 * Pixels lie one after the other, the channels of each together (NHWC). A convolution is then a sum over
 * segments, runs of inputs that lie together: a 1x1 convolution has one, the channels of the pixel; a 3x3
 * one has three, each the channels of three pixels side by side; a grouped one has one for each tap.
 *
 * Weights are packed in panels of 16 outputs: for each input in order, 16 weights. Where no more than 8
 * outputs are left, the last panel is 8 wide. A tile holds the sums of a few pixels for one panel in
 * registers, so that a weight is loaded once for all these pixels and an input once for the panel. */
#ifndef GSHIFT_VECTORS_H
#define GSHIFT_VECTORS_H

#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { PANEL = 16, HALF_PANEL = 8 };

#ifdef __AVX512F__
enum { LANES = 16, TILE_PIXELS = 12 }; /* 12 sums of one vector each */
#else
enum { LANES = 8, TILE_PIXELS = 6 }; /* 6 sums of two vectors each */
#endif
enum { HALF_TILE_PIXELS = 12, PANEL_VECTORS = PANEL / LANES };

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int Ints __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
/* Eight channels: every width of the family is a multiple of 8. */
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef int EightInts __attribute__((vector_size(32), aligned(4), may_alias));

INLINE Eight load8(const float *from) {
    return *(const Eight *)from;
}

INLINE void store8(float *to, Eight value) {
    *(Eight *)to = value;
}

INLINE float sum8(Eight x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

INLINE Eight choose8(EightInts which, Eight yes, Eight no) {
    return (Eight)((which & (EightInts)yes) | (~which & (EightInts)no));
}

/* 1 / (1 + exp(-x)), to about two units in the last place. */
INLINE Eight sigmoid8(Eight x) {
    x = -x;
    x = choose8(x > 87.0f, (Eight){87, 87, 87, 87, 87, 87, 87, 87}, x);
    x = choose8(x < -87.0f, (Eight){-87, -87, -87, -87, -87, -87, -87, -87}, x);
    /* exp(x) = 2^n exp(r), n the whole number next to x / ln 2: adding 1.5 * 2^23 leaves it in the low bits. */
    const Eight shifted = x * 1.44269504f + 12582912.0f;
    const Eight n = shifted - 12582912.0f;
    const Eight r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Eight series = r * (1.0f / 720) + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    const EightInts power = (EightInts)series + ((EightInts)shifted << 23);
    return 1.0f / (1.0f + (Eight)power);
}

typedef struct Segment {
    const float *start;
    int length;
} Segment;

/* A convolution of pixels in a row. */
typedef struct Dense {
    const Segment *segments; /* inputs of the first pixel */
    int count;
    ptrdiff_t stride; /* floats from a pixel's inputs to those of the next */
    const float *panels;
    const float *bias; /* for each output of the panels, or NULL */
    int outputs;
} Dense;

/* What becomes of the sums. */
typedef struct Finish {
    float *out;
    ptrdiff_t stride;      /* floats from one pixel to the next */
    const float *residual; /* added, laid out as `out`; or NULL */
    const float *slope;    /* of a PReLU; or NULL */
} Finish;

INLINE void store_some(float *to, const float *from, int lanes) {
    for (int lane = 0; lane < lanes; lane++)
        to[lane] = from[lane];
}

#define DEFINE_TILE(NAME, TYPE, INTS, VECTORS)                                                                          \
    INLINE void NAME(int pixels, const Dense *dense, const float *panel, const float *bias, int output, int first,  \
                     const Finish *finish) {                                                                       \
        enum { WIDTH = (int)(sizeof(TYPE) / 4) };                                                                  \
        TYPE sums[12][VECTORS];                                                                                    \
        UNROLL for (int p = 0; p < pixels; p++)                                                                    \
            UNROLL for (int v = 0; v < VECTORS; v++)                                                               \
                sums[p][v] = bias != NULL ? *(const TYPE *)(bias + v * WIDTH) : (TYPE){0};                           \
        for (int s = 0; s < dense->count; s++) {                                                                   \
            const float *x = dense->segments[s].start + first * dense->stride;                                     \
            const ptrdiff_t stride = dense->stride;                                                                \
            for (int k = dense->segments[s].length; k > 0; k--) {                                                  \
                TYPE weights[VECTORS];                                                                             \
                UNROLL for (int v = 0; v < VECTORS; v++)                                                           \
                    weights[v] = *(const TYPE *)(panel + v * WIDTH);                                               \
                UNROLL for (int p = 0; p < pixels; p++)                                                            \
                    UNROLL for (int v = 0; v < VECTORS; v++)                                                       \
                        sums[p][v] += x[p * stride] * weights[v];                                                  \
                x++;                                                                                               \
                panel += VECTORS * WIDTH;                                                                          \
            }                                                                                                      \
        }                                                                                                          \
        if (finish->slope != NULL) {                                                                               \
            const float slope = *finish->slope;                                                                    \
            UNROLL for (int p = 0; p < pixels; p++)                                                                \
                UNROLL for (int v = 0; v < VECTORS; v++) {                                                         \
                    const TYPE positive = (TYPE)((INTS)sums[p][v] & (sums[p][v] > 0));                             \
                    sums[p][v] = positive + (sums[p][v] - positive) * slope;                                       \
                }                                                                                                  \
        }                                                                                                          \
        const int left = dense->outputs - output;                                                                  \
        UNROLL for (int p = 0; p < pixels; p++) {                                                                  \
            const ptrdiff_t place = (first + p) * finish->stride + output;                                         \
            UNROLL for (int v = 0; v < VECTORS; v++) {                                                             \
                const int lanes = left - v * WIDTH;                                                                \
                float *to = finish->out + place + v * WIDTH;                                                       \
                if (lanes >= WIDTH) {                                                                              \
                    if (finish->residual != NULL)                                                                  \
                        sums[p][v] += *(const TYPE *)(finish->residual + place + v * WIDTH);                       \
                    *(TYPE *)to = sums[p][v];                                                                      \
                } else if (lanes > 0) {                                                                            \
                    float some[WIDTH];                                                                             \
                    *(TYPE *)some = sums[p][v];                                                                    \
                    for (int lane = 0; finish->residual != NULL && lane < lanes; lane++)                           \
                        some[lane] += finish->residual[place + v * WIDTH + lane];                                  \
                    store_some(to, some, lanes);                                                                   \
                }                                                                                                  \
            }                                                                                                      \
        }                                                                                                          \
    }
DEFINE_TILE(full_tile, Vector, Ints, PANEL_VECTORS)
DEFINE_TILE(half_tile, Eight, EightInts, 1)

#define TILE_CASE(NAME, PIXELS)                                                   \
    case PIXELS:                                                                  \
        NAME(PIXELS, dense, panel, bias, output, first, finish);                  \
        break;
#define SIX_CASES(NAME)                                                                                            \
    TILE_CASE(NAME, 1) TILE_CASE(NAME, 2) TILE_CASE(NAME, 3) TILE_CASE(NAME, 4) TILE_CASE(NAME, 5) TILE_CASE(NAME, 6)
#define TWELVE_CASES(NAME)                                                                                         \
    SIX_CASES(NAME)                                                                                                \
    TILE_CASE(NAME, 7) TILE_CASE(NAME, 8) TILE_CASE(NAME, 9)                                                       \
    TILE_CASE(NAME, 10) TILE_CASE(NAME, 11) TILE_CASE(NAME, 12)

/* Pixels whose inputs stay in the first cache while all panels pass by. */
enum { CHUNK = 96 };

/* The convolution of `pixels` pixels side by side. */
static void convolve(const Dense *dense, int pixels, const Finish *finish) {
    int inputs = 0;
    for (int s = 0; s < dense->count; s++)
        inputs += dense->segments[s].length;
    for (int chunk = 0; chunk < pixels; chunk += CHUNK) {
        const int end = pixels - chunk < CHUNK ? pixels : chunk + CHUNK;
        const float *panel = dense->panels;
        for (int output = 0; output < dense->outputs;) {
            const float *bias = dense->bias != NULL ? dense->bias + output : NULL;
            if (dense->outputs - output > HALF_PANEL) {
                for (int first = chunk; first < end; first += TILE_PIXELS)
                    switch (end - first < TILE_PIXELS ? end - first : TILE_PIXELS) {
#ifdef __AVX512F__
                        TWELVE_CASES(full_tile)
#else
                        SIX_CASES(full_tile)
#endif
                    }
                panel += (size_t)inputs * PANEL;
                output += PANEL;
            } else {
                for (int first = chunk; first < end; first += HALF_TILE_PIXELS)
                    switch (end - first < HALF_TILE_PIXELS ? end - first : HALF_TILE_PIXELS) {
                        TWELVE_CASES(half_tile)
                    }
                panel += (size_t)inputs * HALF_PANEL;
                output += HALF_PANEL;
            }
        }
    }
}

#endif
