/* Aligned merge: the mean of a frame and its neighbours, moved onto it, weighed for each frequency of each 4x4 block.
 *
 * `vsgshift.network.merge` is the definition. Motion is found in integer arithmetic, so that every build finds the
 * same. The 16 blocks of a cell start two pixels apart and are the 16 lanes of a vector: samples are kept in four
 * planes by the parity of row and column, in which the same sample of all blocks of a cell is a square of 4x4.
 * Height and width are multiples of 8. */
#ifndef GSHIFT_MERGE_H
#define GSHIFT_MERGE_H

#include "blocks.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { CELL = 8, MARGIN = 16, LEVELS = 3, MOST_NEIGHBOURS = 32 };
static const float SAMPLE_SCALE = 8192; /* of the 16-bit opponent samples, which reach to +-4 */

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int IntLanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int16_t ShortLanes __attribute__((vector_size(32), aligned(2), may_alias));

/* Sizes of what is kept of a frame. */
typedef struct MergeLayout {
    int height, width, rows, columns;        /* pixels, cells */
    int level_height[LEVELS], level_width[LEVELS]; /* padded */
    size_t level[LEVELS];                    /* bytes to each level of the luma pyramid */
    int phase_height, phase_width;           /* of each of the planes [channel][row parity][column parity] */
    size_t phases;                           /* bytes to them */
    size_t size;
} MergeLayout;

static MergeLayout merge_layout(int height, int width) {
    MergeLayout l = {.height = height, .width = width, .rows = height / CELL, .columns = width / CELL};
    size_t at = 0;
    for (int level = 0; level < LEVELS; level++) {
        /* Cells of 8, 4 and, for two by two of them together, 4 pixels. */
        const int cell = level == 0 ? 8 : 4;
        const int rows = level == 2 ? (l.rows + 1) / 2 : l.rows, columns = level == 2 ? (l.columns + 1) / 2 : l.columns;
        l.level_height[level] = rows * cell + 2 * MARGIN;
        l.level_width[level] = columns * cell + 2 * MARGIN;
        l.level[level] = at;
        at += ((size_t)l.level_height[level] * l.level_width[level] + 63) / 64 * 64;
    }
    l.phase_height = l.rows * 4 + MARGIN;
    l.phase_width = l.columns * 4 + MARGIN;
    l.phases = at;
    l.size = at + ((size_t)12 * l.phase_height * l.phase_width * sizeof(int16_t) + 63) / 64 * 64;
    return l;
}

INLINE int clamp(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

/* ---- what is kept of a frame --------------------------------------------------------------- */

typedef struct KeepTask {
    MergeLayout layout;
    const float *frame; /* [3][height][width] */
    ptrdiff_t plane, line;
    unsigned char *kept;
} KeepTask;

INLINE int16_t sample(float x) {
    x *= SAMPLE_SCALE;
    x = x > 32767 ? 32767 : x < -32767 ? -32767 : x; /* not a number becomes -32767 */
    return (int16_t)lrintf(x == x ? x : -32767);
}

/* A row of each of the samples' planes, by its number with the margin. */
static void keep_row(const void *given, int row, float *arena) {
    const KeepTask *task = given;
    const MergeLayout *l = &task->layout;
    const int y = clamp(row - MARGIN, 0, l->height - 1), width = l->width;
    const float *red = task->frame + y * task->line, *green = red + task->plane, *blue = green + task->plane;
    int16_t *samples = (int16_t *)arena; /* [3][width] */
    unsigned char *luma = row < l->level_height[0] ? task->kept + l->level[0] + (size_t)row * l->level_width[0] : NULL;
    unsigned char *bytes = (unsigned char *)(samples + 3 * width);
    for (int x = 0; x < width; x++) {
        const float r = red[x], g = green[x], b = blue[x];
        samples[x] = sample((r + g + b) * 0.57735026919f);
        samples[width + x] = sample((r - b) * 0.70710678119f);
        samples[2 * width + x] = sample((r - 2 * g + b) * 0.40824829046f);
        float value = (r + b + 2 * g) * 63.75f;
        value = value > 255 ? 255 : value > 0 ? value : 0;
        bytes[x] = (unsigned char)lrintf(value);
    }
    if (luma != NULL)
        for (int x = 0; x < l->level_width[0]; x++)
            luma[x] = bytes[clamp(x - MARGIN, 0, width - 1)];
    const size_t plane = (size_t)l->phase_height * l->phase_width;
    int16_t *phases = (int16_t *)(task->kept + l->phases);
    for (int c = 0; c < 3; c++)
        for (int parity = 0; parity < 2; parity++) {
            int16_t *to = phases + (c * 4 + (row & 1) * 2 + parity) * plane + (size_t)(row >> 1) * l->phase_width;
            for (int x = 0; x < l->phase_width; x++)
                to[x] = samples[c * width + clamp(2 * x + parity - MARGIN, 0, width - 1)];
        }
}

/* The next level of the pyramid: means of 2x2, of the level above without its margin. */
static void keep_level(const MergeLayout *l, unsigned char *kept, int level, int height, int width) {
    const unsigned char *above = kept + l->level[level - 1];
    const int stride = l->level_width[level - 1];
    unsigned char *to = kept + l->level[level];
    const int last_row = (height + 1) / 2 - 1, last_column = (width + 1) / 2 - 1;
    for (int row = 0; row < l->level_height[level]; row++) {
        const int y = clamp(row - MARGIN, 0, last_row);
        if (row > 0 && y == clamp(row - 1 - MARGIN, 0, last_row)) {
            memcpy(to + (size_t)row * l->level_width[level], to + (size_t)(row - 1) * l->level_width[level],
                   l->level_width[level]);
            continue;
        }
        const unsigned char *upper = above + (size_t)(2 * y + MARGIN) * stride + MARGIN;
        const unsigned char *lower = 2 * y + 1 < height ? upper + stride : upper;
        unsigned char *line = to + (size_t)row * l->level_width[level];
        for (int x = 0; x <= last_column; x++) {
            const int right = 2 * x + 1 < width ? 2 * x + 1 : 2 * x;
            line[MARGIN + x] = (unsigned char)((upper[2 * x] + upper[right] + lower[2 * x] + lower[right] + 2) >> 2);
        }
        memset(line, line[MARGIN], MARGIN);
        memset(line + MARGIN + last_column + 1, line[MARGIN + last_column],
               l->level_width[level] - MARGIN - last_column - 1);
    }
}

static int run_keep(int height, int width, const float *frame, ptrdiff_t plane, ptrdiff_t line, unsigned char *kept,
                    int threads) {
    const KeepTask task = {merge_layout(height, width), frame, plane, line, kept};
    const MergeLayout *l = &task.layout;
    const int rows = 2 * l->phase_height;
    if (!pool_run(keep_row, &task, rows, threads, 2 * (size_t)width + 16))
        return 0;
    keep_level(l, kept, 1, height, width);
    keep_level(l, kept, 2, (height + 1) / 2, (width + 1) / 2);
    return 1;
}

/* ---- motion -------------------------------------------------------------------------------- */

typedef struct Vector2 {
    int16_t y, x;
} Vector2;

typedef struct MotionTask {
    MergeLayout layout;
    const unsigned char *frame;
    int directions;
    const unsigned char *neighbour[2]; /* at this distance, before and after */
    int distance;
    const Vector2 *previous[2]; /* vectors of the cells at the distance before, or NULL */
    Vector2 *coarse[2], *middle[2], *fine[2];
} MotionTask;

INLINE int sad16(const unsigned char *a, const unsigned char *b, int stride) {
#if defined(__SSE2__)
    __m128i sum = _mm_setzero_si128();
    UNROLL for (int y = 0; y < 16; y++)
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(a + y * (ptrdiff_t)stride)),
                                              _mm_loadu_si128((const __m128i *)(b + y * (ptrdiff_t)stride))));
    return _mm_cvtsi128_si32(sum) + _mm_cvtsi128_si32(_mm_srli_si128(sum, 8));
#else
    int sum = 0;
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++)
            sum += abs(a[y * (ptrdiff_t)stride + x] - b[y * (ptrdiff_t)stride + x]);
    return sum;
#endif
}

INLINE int sad8(const unsigned char *a, const unsigned char *b, int stride) {
#if defined(__SSE2__)
    __m128i sum = _mm_setzero_si128();
    UNROLL for (int y = 0; y < 8; y++)
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadl_epi64((const __m128i *)(a + y * (ptrdiff_t)stride)),
                                              _mm_loadl_epi64((const __m128i *)(b + y * (ptrdiff_t)stride))));
    return _mm_cvtsi128_si32(sum);
#else
    int sum = 0;
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++)
            sum += abs(a[y * (ptrdiff_t)stride + x] - b[y * (ptrdiff_t)stride + x]);
    return sum;
#endif
}

/* A search of one cell: the best vector so far. Earlier candidates win where costs are equal. */
typedef struct Search {
    const unsigned char *window, *neighbour; /* both at the window's first pixel */
    int stride, wide, top, bottom, left, right;
    int cost;
    Vector2 best;
} Search;

enum { STEP = 64 };

INLINE void try_vector(Search *search, int y, int x, int steps) {
    y = clamp(y, search->top, search->bottom);
    x = clamp(x, search->left, search->right);
    const unsigned char *there = search->neighbour + (ptrdiff_t)y * search->stride + x;
    const int sum = search->wide ? sad16(search->window, there, search->stride) : sad8(search->window, there, search->stride);
    const int cost = sum * (STEP + steps);
    if (cost < search->cost) {
        search->cost = cost;
        search->best = (Vector2){(int16_t)y, (int16_t)x};
    }
}

/* Displacements by distance: 0, then those of one step, ... (as the definition lists them). */
static void try_around(Search *search, int y, int x, int reach) {
    for (int steps = 0; steps <= 2 * reach; steps++)
        for (int dy = -reach; dy <= reach; dy++) {
            const int rest = steps - abs(dy);
            if (rest < 0 || rest > reach)
                continue;
            try_vector(search, y + dy, x - rest, steps);
            if (rest > 0)
                try_vector(search, y + dy, x + rest, steps);
        }
}

static Search search_of(const MotionTask *task, int side, int level, int row, int column) {
    const MergeLayout *l = &task->layout;
    const int cell = level == 0 ? 8 : 4, window = level == 0 ? 16 : 8, stride = l->level_width[level];
    const int height = l->level_height[level] - 2 * MARGIN, width = stride - 2 * MARGIN;
    const ptrdiff_t at = (ptrdiff_t)(row * cell - window / 4 + MARGIN) * stride + column * cell - window / 4 + MARGIN;
    return (Search){.window = task->frame + l->level[level] + at,
                    .neighbour = task->neighbour[side] + l->level[level] + at,
                    .stride = stride,
                    .wide = level == 0,
                    .top = -row * cell - cell,
                    .bottom = height - row * cell,
                    .left = -column * cell - cell,
                    .right = width - column * cell,
                    .cost = INT32_MAX};
}

INLINE int scaled(int value, int distance) { /* value * distance / (distance - 1) / 4, rounded; by integers */
    const int over = 4 * (distance - 1), twice = 2 * value * distance + over;
    return (twice >= 0 ? twice : twice - 2 * over + 1) / (2 * over);
}

static void coarse_motion(const void *given, int unit, float *arena) {
    (void)arena;
    const MotionTask *task = given;
    const MergeLayout *l = &task->layout;
    const int rows = (l->rows + 1) / 2, columns = (l->columns + 1) / 2, side = unit / rows, row = unit % rows;
    if (task->neighbour[side] == NULL)
        return;
    for (int column = 0; column < columns; column++) {
        Search search = search_of(task, side, 2, row, column);
        Vector2 from = {0, 0};
        if (task->previous[side] != NULL) {
            const Vector2 before = task->previous[side][2 * row * l->columns + 2 * column];
            from = (Vector2){(int16_t)scaled(before.y, task->distance), (int16_t)scaled(before.x, task->distance)};
        }
        try_around(&search, from.y, from.x, task->distance == 1 ? 6 : 2);
        try_vector(&search, 0, 0, 0);
        task->coarse[side][row * columns + column] = search.best;
    }
}

/* Vectors of a finer level from those of the one above, where each cell's parent is at (row >> shift, ...). */
INLINE void refine(const MotionTask *task, int side, int level, int row, const Vector2 *parents, int parent_rows,
                   int parent_columns, int shift, Vector2 *out) {
    const int columns = task->layout.columns;
    for (int column = 0; column < columns; column++) {
        const int above = row >> shift, left = column >> shift;
        const Vector2 own = parents[above * parent_columns + left];
        const Vector2 around[4] = {
            parents[clamp(above - 1, 0, parent_rows - 1) * parent_columns + left],
            parents[clamp(above + 1, 0, parent_rows - 1) * parent_columns + left],
            parents[above * parent_columns + clamp(left - 1, 0, parent_columns - 1)],
            parents[above * parent_columns + clamp(left + 1, 0, parent_columns - 1)],
        };
        Search search = search_of(task, side, level, row, column);
        try_around(&search, 2 * own.y, 2 * own.x, 1);
        for (int i = 0; i < 4; i++)
            if (around[i].y != own.y || around[i].x != own.x)
                try_vector(&search, 2 * around[i].y, 2 * around[i].x, 1);
        try_vector(&search, 0, 0, 0);
        out[row * columns + column] = search.best;
    }
}

static void middle_motion(const void *given, int unit, float *arena) {
    (void)arena;
    const MotionTask *task = given;
    const MergeLayout *l = &task->layout;
    const int side = unit / l->rows;
    if (task->neighbour[side] != NULL)
        refine(task, side, 1, unit % l->rows, task->coarse[side], (l->rows + 1) / 2, (l->columns + 1) / 2, 1,
               task->middle[side]);
}

static void fine_motion(const void *given, int unit, float *arena) {
    (void)arena;
    const MotionTask *task = given;
    const MergeLayout *l = &task->layout;
    const int side = unit / l->rows;
    if (task->neighbour[side] != NULL)
        refine(task, side, 0, unit % l->rows, task->middle[side], l->rows, l->columns, 0, task->fine[side]);
}

/* ---- merging ------------------------------------------------------------------------------- */

typedef struct Strength {
    float fall, free, common, doubt; /* FALL, FREE, COMMON and DOUBT of the definition */
} Strength;

typedef struct MergeTask {
    MergeLayout layout;
    Strength strength;
    const unsigned char *frame;
    int neighbours;
    const unsigned char *neighbour[MOST_NEIGHBOURS];
    const Vector2 *vectors[MOST_NEIGHBOURS];
    const float *noise; /* [4 rows][4 columns], standard deviation */
    float *strips;       /* for each row of cells [3][2][2][5][4 columns + 1] */
    float *remaining;   /* [3][4 rows][4 columns] */
    float *change;      /* [3][height][width] */
} MergeTask;

/* Blocks' samples in the cell at (row, column), moved by a vector: sample (a, b) of all 16. */
INLINE void load_blocks(const MergeLayout *l, const unsigned char *kept, int channel, int y, int x, ShortLanes *out) {
    const int16_t *planes = (const int16_t *)(kept + l->phases) + (size_t)channel * 4 * l->phase_height * l->phase_width;
    const size_t plane = (size_t)l->phase_height * l->phase_width;
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++) {
            const int py = (y + a) & 1, px = (x + b) & 1;
            const int16_t *from = planes + (py * 2 + px) * plane + (size_t)((y + a) >> 1) * l->phase_width + ((x + b) >> 1);
            char *to = (char *)&out[a * 4 + b];
            UNROLL for (int k = 0; k < 4; k++)
                memcpy(to + 8 * k, from + (size_t)k * l->phase_width, 8);
        }
}

INLINE void dct4(Lanes *x, int step) {
    const float half = 0.5f, even = 0.65328148244f, odd = 0.27059805007f;
    const Lanes s0 = x[0] + x[3 * step], s1 = x[step] + x[2 * step], d0 = x[0] - x[3 * step], d1 = x[step] - x[2 * step];
    x[0] = (s0 + s1) * half;
    x[step] = d0 * even + d1 * odd;
    x[2 * step] = (s0 - s1) * half;
    x[3 * step] = d0 * odd - d1 * even;
}

INLINE void inverse4(Lanes *x, int step) {
    const float half = 0.5f, even = 0.65328148244f, odd = 0.27059805007f;
    const Lanes s0 = (x[0] + x[2 * step]) * half, s1 = (x[0] - x[2 * step]) * half;
    const Lanes d0 = x[step] * even + x[3 * step] * odd, d1 = x[step] * odd - x[3 * step] * even;
    x[0] = s0 + d0;
    x[step] = s1 + d1;
    x[2 * step] = s1 - d1;
    x[3 * step] = s0 - d0;
}

INLINE void transform(Lanes *x) {
    UNROLL for (int i = 0; i < 4; i++)
        dct4(x + 4 * i, 1);
    UNROLL for (int i = 0; i < 4; i++)
        dct4(x + i, 4);
}

INLINE void untransform(Lanes *x) {
    UNROLL for (int i = 0; i < 4; i++)
        inverse4(x + i, 4);
    UNROLL for (int i = 0; i < 4; i++)
        inverse4(x + 4 * i, 1);
}

INLINE void pool4(Lanes *x, int step) { /* sums of three side by side, the ends repeated */
    const Lanes a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    x[0] = a + a + b;
    x[step] = a + b + c;
    x[2 * step] = b + c + d;
    x[3 * step] = c + d + d;
}

/* Of coefficient i of a colour: luma's low frequencies, its high ones, or the colours. */
#define BAND(colour, i) ((colour) > 0 ? 2 : (i) % 4 < 2 && (i) < 8 ? 0 : 1)

static void merge_cell(const MergeTask *task, int row, int column, float *strip) {
    const MergeLayout *l = &task->layout;
    ShortLanes own[3][16], other[16];
    Lanes sums[3][16], weights[3][16], squares[3][16], seen[3] = {{0}, {0}, {0}};
    Lanes inverse;
    const int y = row * CELL - 1 + MARGIN, x = column * CELL - 1 + MARGIN, wide = 4 * l->columns;
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 4; i++) {
            const float sigma = task->noise[(size_t)(4 * row + k) * wide + 4 * column + i] * SAMPLE_SCALE;
            inverse[4 * k + i] = 1 / (2 * sigma * sigma + 1e-4f);
        }
    for (int c = 0; c < 3; c++) {
        load_blocks(l, task->frame, c, y, x, own[c]);
        for (int i = 0; i < 16; i++) {
            sums[c][i] = (Lanes){0};
            weights[c][i] = squares[c][i] = (Lanes){0} + 1;
        }
    }
    const float fall = task->strength.fall / 8, bias = 1 + fall * task->strength.free, common_share = task->strength.common;
    const Lanes ones = (Lanes){0} + 1;
    for (int n = 0; n < task->neighbours; n++) {
        const Vector2 vector = task->vectors[n][row * l->columns + column];
        Lanes difference[3][16], common[16];
        for (int c = 0; c < 3; c++) {
            load_blocks(l, task->neighbour[n], c, y + vector.y, x + vector.x, other);
            for (int i = 0; i < 16; i++)
                difference[c][i] = __builtin_convertvector(__builtin_convertvector(other[i], IntLanes) -
                                                               __builtin_convertvector(own[c][i], IntLanes),
                                                           Lanes);
            transform(difference[c]);
        }
        for (int i = 0; i < 16; i++)
            common[i] = (difference[0][i] * difference[0][i] + difference[1][i] * difference[1][i] +
                         difference[2][i] * difference[2][i]) * (common_share / 3);
        for (int c = 0; c < 3; c++) {
            Lanes excess[16];
            for (int i = 0; i < 16; i++)
                excess[i] = difference[c][i] * difference[c][i] * (1 - common_share) + common[i];
            UNROLL for (int i = 0; i < 4; i++)
                pool4(excess + 4 * i, 1);
            UNROLL for (int i = 0; i < 4; i++)
                pool4(excess + i, 4);
            const Lanes scale = inverse * (fall / 9);
            for (int i = 0; i < 16; i++) {
                /* exp(-fall * max(excess - free, 0)), nearly: the eighth power of what it is to first order. */
                const Lanes fallen = excess[i] * scale;
                Lanes w = bias - fallen;
                w = (Lanes)(((IntLanes)w & (w < 1)) | ((IntLanes)ones & (w >= 1)));
                w = (Lanes)((IntLanes)w & (w > 0));
                w *= w;
                w *= w;
                w *= w;
                sums[c][i] += w * difference[c][i];
                weights[c][i] += w;
                squares[c][i] += w * w;
                seen[BAND(c, i)] += w * fallen;
            }
        }
    }
    static const float WINDOW[4] = {0.25f, 0.75f, 0.75f, 0.25f};
    Lanes remaining[3] = {{0}, {0}, {0}}, others[3] = {{0}, {0}, {0}};
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 16; i++) {
            const Lanes per = 1 / weights[c][i];
            sums[c][i] *= per;
            const Lanes share = squares[c][i] * per * per;
            remaining[BAND(c, i)] += share;
            others[BAND(c, i)] += weights[c][i] - 1;
        }
        untransform(sums[c]);
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 4; b++) {
                const Lanes value = sums[c][a * 4 + b] * (WINDOW[a] * WINDOW[b] / SAMPLE_SCALE);
                float *to = strip + ((((size_t)c * 2 + (a & 1)) * 2 + (b & 1)) * 5 + (a >> 1)) * (wide + 1) +
                            4 * column + (b >> 1);
                UNROLL for (int k = 0; k < 4; k++)
                    UNROLL for (int i = 0; i < 4; i++)
                        to[(size_t)k * (wide + 1) + i] += value[4 * k + i];
            }
    }
    static const float COUNTS[3] = {1.0f / 4, 1.0f / 12, 1.0f / 32};
    for (int s = 0; s < 3; s++) {
        const Lanes doubt = (Lanes){0} + task->strength.doubt / COUNTS[s];
        remaining[s] *= (doubt + seen[s] * (1 / fall)) / (doubt + others[s]);
    }
    for (int s = 0; s < 3; s++)
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < 4; i++)
                task->remaining[((size_t)s * 4 * l->rows + 4 * row + k) * wide + 4 * column + i] =
                    remaining[s][4 * k + i] * COUNTS[s];
}

static size_t strip_size(const MergeLayout *l) {
    return (size_t)3 * 4 * 5 * (4 * l->columns + 1);
}

static void merge_row(const void *given, int row, float *arena) {
    (void)arena;
    const MergeTask *task = given;
    float *strip = task->strips + row * strip_size(&task->layout);
    memset(strip, 0, strip_size(&task->layout) * sizeof(float));
    for (int column = 0; column < task->layout.columns; column++)
        merge_cell(task, row, column, strip);
}

/* The pixels of a row of cells, from its strip and the ones above and below. */
static void unite_row(const void *given, int row, float *arena) {
    (void)arena;
    const MergeTask *task = given;
    const MergeLayout *l = &task->layout;
    const int wide = 4 * l->columns;
    const size_t line = wide + 1, plane = (size_t)l->height * l->width;
    for (int y = row * CELL; y < row * CELL + CELL && y < l->height; y++) {
        /* The strip's first row is the pixel above the cell. */
        const int at = y - row * CELL + 1;
        const float edge_row = y == 0 || y == l->rows * CELL - 1 ? 4.0f / 3 : 1;
        for (int x = 0; x < l->width; x++) {
            float sum[3];
            for (int c = 0; c < 3; c++) {
                const size_t phase = (((size_t)c * 2 + (at & 1)) * 2 + ((x + 1) & 1)) * 5;
                const size_t place = (phase + (at >> 1)) * line + ((x + 1) >> 1);
                sum[c] = task->strips[row * strip_size(l) + place];
                if (at < 2 && row > 0)
                    sum[c] += task->strips[(row - 1) * strip_size(l) + place + 4 * line];
                if (at > 7 && row + 1 < l->rows)
                    sum[c] += task->strips[(row + 1) * strip_size(l) + place - 4 * line];
                if (x == 0 || x == l->columns * CELL - 1)
                    sum[c] *= 4.0f / 3;
                sum[c] *= edge_row;
            }
            const float luma = sum[0] * 0.57735026919f, tilt = sum[1] * 0.70710678119f, green = sum[2] * 0.40824829046f;
            float *out = task->change + (size_t)y * l->width + x;
            out[0] = luma + tilt + green;
            out[plane] = luma - 2 * green;
            out[2 * plane] = luma - tilt + green;
        }
    }
}

typedef struct Merge {
    int height, width, before, after; /* neighbours */
    Strength strength;
    const void *const *kept; /* of the neighbours before, the nearest first; those after, likewise; then the frame's own */
    const float *noise; /* [height / 2][width / 2], standard deviation */
    float *change, *remaining; /* [3][height][width], [3][height / 2][width / 2] */
} Merge;

EXPORT_SIZE(Merge);

static int run_merge(const Merge *merge, int threads) {
    const MergeLayout layout = merge_layout(merge->height, merge->width);
    const int cells = layout.rows * layout.columns, neighbours = merge->before + merge->after;
    if (neighbours > MOST_NEIGHBOURS)
        return 0;
    const size_t strips = layout.rows * strip_size(&layout);
    float *room = malloc(strips * sizeof(float) + (size_t)cells * (neighbours + 4) * sizeof(Vector2));
    if (room == NULL)
        return 0;
    Vector2 *vectors = (Vector2 *)(room + strips), *spare = vectors + (size_t)cells * neighbours;
    const unsigned char *const *kept = (const unsigned char *const *)merge->kept;
    MergeTask task = {.layout = layout, .strength = merge->strength, .frame = kept[neighbours], .neighbours = neighbours,
                      .noise = merge->noise, .strips = room, .remaining = merge->remaining, .change = merge->change};
    int done = 1;
    const int most = merge->before > merge->after ? merge->before : merge->after;
    for (int distance = 1; distance <= most && done; distance++) {
        MotionTask motion = {.layout = layout, .frame = kept[neighbours], .distance = distance};
        for (int side = 0; side < 2; side++) {
            if (distance > (side ? merge->after : merge->before))
                continue;
            const int n = (side ? merge->before : 0) + distance - 1;
            motion.neighbour[side] = kept[n];
            motion.fine[side] = vectors + (size_t)n * cells;
            motion.previous[side] = distance > 1 ? vectors + (size_t)(n - 1) * cells : NULL;
            motion.coarse[side] = spare + 2 * side * cells;
            motion.middle[side] = motion.coarse[side] + cells;
            task.neighbour[n] = kept[n];
            task.vectors[n] = motion.fine[side];
        }
        done = pool_run(coarse_motion, &motion, 2 * ((layout.rows + 1) / 2), threads, 1) &&
               pool_run(middle_motion, &motion, 2 * layout.rows, threads, 1) &&
               pool_run(fine_motion, &motion, 2 * layout.rows, threads, 1);
    }
    done = done && pool_run(merge_row, &task, layout.rows, threads, 1) && pool_run(unite_row, &task, layout.rows, threads, 1);
    free(room);
    return done;
}

#endif
