/* What all blocks share: how frames are cut up for threads and caches, and channel attention.
 *
 * A frame is cut into bands of rows and these into strips of columns, in a way that depends on its size alone:
 * results do not depend on the number of threads or of frames run together. */
#ifndef GSHIFT_BLOCKS_H
#define GSHIFT_BLOCKS_H

#include <math.h>
#include <stdint.h>

#include "pool.h"
#include "vectors.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
/* Tells Python, which declares the same structure again, how large it is here. */
#define EXPORT_SIZE(STRUCT) EXPORT const size_t vsgshift_sizeof_##STRUCT = sizeof(STRUCT)

enum { BAND_ROWS = 32, STRIP = 96, MOST_CHANNELS = 192, SLACK = 64 };

/* Two 1x1 convolutions between means and factors, weights as torch has them; no hidden channels: no attention. */
typedef struct Attention {
    int hidden;
    const float *squeeze, *excite;
} Attention;
EXPORT_SIZE(Attention);

typedef struct Clip {
    int frames, height, width;
} Clip;

/* Half of a frame's channels, where they are. A temporal shift puts halves of two frames together; they are read in
 * place, not copied. */
typedef struct Half {
    const float *start;
    ptrdiff_t stride; /* floats from one pixel to the next */
} Half;
EXPORT_SIZE(Half);

static int bands_of(Clip clip) {
    return (clip.height + BAND_ROWS - 1) / BAND_ROWS;
}

typedef struct Band {
    int frame, top, bottom;
} Band;

static Band band_of(Clip clip, int unit) {
    const int bands = bands_of(clip), index = unit % bands;
    return (Band){unit / bands, clip.height * index / bands, clip.height * (index + 1) / bands};
}

static int strips_of(int width) {
    return (width + STRIP - 1) / STRIP;
}

static size_t pixel(Clip clip, int frame, int row, int column) {
    return ((size_t)frame * clip.height + row) * clip.width + column;
}

static const float *half_at(const Half *half, Clip clip, int row, int column) {
    return half->start + (ptrdiff_t)pixel(clip, 0, row, column) * half->stride;
}

/* ---- channel attention --------------------------------------------------------------------- */

/* Factors of each frame's channels from the sums of its bands. */
static void attend(const Attention *attention, int channels, Clip clip, const double *sums, float *factors) {
    const int bands = bands_of(clip);
    const double pixels = (double)clip.height * clip.width;
    for (int frame = 0; frame < clip.frames; frame++, factors += channels) {
        float means[MOST_CHANNELS], hidden[MOST_CHANNELS];
        for (int c = 0; c < channels; c++) {
            double sum = 0;
            for (int band = 0; band < bands; band++)
                sum += sums[((size_t)frame * bands + band) * channels + c];
            means[c] = (float)(sum / pixels);
        }
        for (int h = 0; h < attention->hidden; h++) {
            float sum = 0;
            for (int c = 0; c < channels; c++)
                sum += attention->squeeze[h * channels + c] * means[c];
            hidden[h] = sum > 0 ? sum : 0;
        }
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int h = 0; h < attention->hidden; h++)
                sum += attention->excite[c * attention->hidden + h] * hidden[h];
            factors[c] = 1 / (1 + expf(-sum));
        }
    }
}

/* Frames that are taken through all passes of a block together: few, so that they stay in the last cache from pass to
 * pass, but enough to keep the threads busy. */
static int frames_at_once(Clip clip, int threads) {
    const int wanted = (2 * threads + bands_of(clip) - 1) / bands_of(clip);
    return wanted < clip.frames ? wanted : clip.frames;
}

#endif
