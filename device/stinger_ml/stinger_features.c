/*
 * Integer features, kept up to date sample by sample. The definition is the docstring of stinger.features.integer;
 * sums are exact, so sliding them gives the same integers as computing a window afresh.
 */
#include "stinger_internal.h"

/* Keeps what is rarely done out of the registers of what is done always. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))
#else
#define NOINLINE
#define INLINE static inline
#endif

static uint32_t magnitude(int32_t x) {
    return (uint32_t)(x < 0 ? -x : x);
}

static uint32_t square(int32_t x) {
    return (uint32_t)(x * x);
}

/*
 * A value takes the place of an old one in the ring, and so in its block; the window's maximum is the largest of the
 * blocks', at any time. Returns false when the block's maximum may have gone with the old one: it must be found anew.
 */
static bool slide_max(stinger_running *r, unsigned at, uint32_t value, uint32_t old) {
    uint16_t *block = &r->block_max[at >> STINGER_BLOCK_SHIFT];
    if (value < *block)
        return old != *block;
    *block = (uint16_t)value;
    if (value > r->max)
        r->max = (uint16_t)value;
    return true;
}

/* Eight values, one after the other: a loop would take as long as what it does. */
#define EIGHT(LOOK) LOOK(0) LOOK(1) LOOK(2) LOOK(3) LOOK(4) LOOK(5) LOOK(6) LOOK(7)

NOINLINE static void set_block_max(stinger_running *r, unsigned at, uint32_t max) {
    uint32_t before = r->block_max[at >> STINGER_BLOCK_SHIFT];
    r->block_max[at >> STINGER_BLOCK_SHIFT] = (uint16_t)max;
    if (before != r->max || before == max)
        return;
    for (unsigned b = 0; b < STINGER_BLOCKS; b += 8) {
        const uint16_t *block = &r->block_max[b];
#define LOOK(i) max = block[i] > max ? block[i] : max;
        EIGHT(LOOK)
#undef LOOK
    }
    r->max = (uint16_t)max;
}

NOINLINE static void find_channel_max(stinger_stream *s, unsigned channel, unsigned at) {
    int16_t (*sample)[STINGER_MAX_CHANNELS] = &s->sample[at >> STINGER_BLOCK_SHIFT << STINGER_BLOCK_SHIFT];
    int32_t x, highest = 0, lowest = 0;
    uint32_t range = 0; /* from lowest to highest: most values are within, which one comparison tells */
    for (unsigned left = STINGER_BLOCK; left != 0; left -= 8, sample += 8) {
#define LOOK(i)                                                                                                        \
    x = sample[i][channel];                                                                                            \
    if ((uint32_t)(x - lowest) > range) {                                                                              \
        highest = x > highest ? x : highest;                                                                           \
        lowest = x < lowest ? x : lowest;                                                                              \
        range = (uint32_t)(highest - lowest);                                                                          \
    }
        EIGHT(LOOK)
#undef LOOK
    }
    set_block_max(&s->channel[channel], at, (uint32_t)(highest > -lowest ? highest : -lowest));
}

NOINLINE static void find_triad_max(stinger_stream *s, unsigned triad, unsigned at) {
    uint16_t (*m)[STINGER_MAX_TRIADS] = &s->magnitude[at >> STINGER_BLOCK_SHIFT << STINGER_BLOCK_SHIFT];
    uint32_t max = 0;
    for (unsigned left = STINGER_BLOCK; left != 0; left -= 8, m += 8) {
#define LOOK(i) max = m[i][triad] > max ? m[i][triad] : max;
        EIGHT(LOOK)
#undef LOOK
    }
    set_block_max(&s->triad[triad], at, max);
}

void stinger_features_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    const stinger_model *m = s->model;
#if STINGER_WITH_INVARIANT
    if (stinger_is_invariant(m)) {
        stinger_invariant_add(s, sample, at, full);
        return;
    }
#endif
#if STINGER_WITH_FLATTEN
    if (m->feature_set == STINGER_FLATTEN) {
        stinger_flatten_add(s, sample, at, full);
        return;
    }
#endif
    if (!STINGER_WITH_SUMMARY)
        return; /* and the compiler leaves out what follows */
#if STINGER_WITH_COUPLED
    if (m->feature_set == STINGER_COUPLED)
        stinger_coupled_add(s, sample, at, full);
#endif
    int16_t *place = s->sample[at];
    stinger_running *r = s->channel;
    for (unsigned c = 0; c < m->channels; c++, r++) {
        int32_t x = sample[c], old = full ? place[c] : 0;
        uint32_t size = magnitude(x), old_size = magnitude(old);
        place[c] = (int16_t)x;
        r->sum += x - old;
        r->absolute += size - old_size;
        r->squares += (uint64_t)((int64_t)(x * x - old * old)); /* both at most 2^30 */
        if (!slide_max(r, at, size, old_size))
            find_channel_max(s, c, at);
    }
    r = s->triad;
    for (unsigned t = 0; t < m->triad_count; t++, r++) {
        const int16_t *v = sample + m->triads[t];
        uint32_t squares = square(v[0]) + square(v[1]) + square(v[2]);
        uint32_t value = stinger_isqrt32(squares), old = full ? s->magnitude[at][t] : 0;
        s->magnitude[at][t] = (uint16_t)value;
        r->sum += (int32_t)(value - old);
        r->squares += value * value;
        r->squares -= old * old;
        if (!slide_max(r, at, value, old))
            find_triad_max(s, t, at);
    }
}

/* floor(x / (2 * window)) for a quotient below 2^16, from 16-bit products: the estimate is at most 3 too small. */
typedef struct {
    uint32_t d, scaled, bits;
} divisor;

INLINE divisor divisor_of(const stinger_stream *s) {
    divisor by = {2u * s->model->window, s->scaled, s->bits + 1u};
    return by;
}

INLINE uint32_t divided(uint32_t x, divisor by) {
    uint32_t high = x >> by.bits, low = x - (high << by.bits);
    uint32_t q = (high * by.scaled + ((low * by.scaled) >> by.bits)) >> 15;
    for (uint32_t rest = x - q * by.d; rest >= by.d; rest -= by.d)
        q++;
    return q;
}

/* The channels' means; sums are shifted by 32768 a sample to divide no negative ones. */
static void put_means(const stinger_stream *s, int16_t *feature, uint32_t channels) {
    divisor by = divisor_of(s);
    uint32_t offset = (by.d << 15) + by.d / 2u;
    for (const stinger_running *r = s->channel, *end = r + channels; r != end; r++)
        *feature++ = (int16_t)((int32_t)divided(2u * (uint32_t)r->sum + offset, by) - 32768);
}

static void put_mean_sizes(const stinger_stream *s, int16_t *feature, uint32_t channels) {
    divisor by = divisor_of(s);
    for (const stinger_running *r = s->channel, *end = r + channels; r != end; r++)
        *feature++ = stinger_limit(divided(2u * r->absolute + by.d / 2u, by));
}

/* floor(2 * sqrt(N * squares - sum^2) / N): the standard deviation in half counts, at most 65535. */
static uint32_t std_halves(const stinger_stream *s, const stinger_running *r) {
    /* N * squares - sum^2 = high * 2^22 + low: N * squares is below 2^52, |sum| below 2^26. */
    const uint32_t mask = (UINT32_C(1) << 22) - 1u;
    uint32_t n = s->model->window, q_low = (uint32_t)r->squares, size = magnitude(r->sum);
    uint32_t a = size >> 11, b = size & 0x7FFu, product = n * (q_low & mask);
    uint32_t high = n * ((uint32_t)(r->squares >> 32) << 10 | q_low >> 22) + (product >> 22);
    uint32_t low = product & mask;
    high -= a * a + ((a * b) >> 10);
    low -= (((a * b) & 0x3FFu) << 12) + b * b; /* may be negative */
    uint32_t spread = (high << 22) + low;      /* modulo 2^32 */

    unsigned down = 14, shift = 0;
    uint32_t head = spread;
    if (high >= 1024u) {
        head = (high << 2) + (uint32_t)((int32_t)low >> 20);
        down = 4;
    }
    if (head == 0)
        return 0;
    for (; head >> 24 == 0; head <<= 8)
        shift += 4;
    for (; head >> 30 == 0; head <<= 2)
        shift++;
    /* Both factors are rounded down: h is never too large, and at most 8 too small. */
    uint32_t h = (stinger_root_below(head) * s->scaled) >> down >> (s->bits + shift);
    uint32_t square_n = n * n;
    /* What (h * n)^2 leaves of the spread is below 9 * 2^17 * n^2. */
#if STINGER_MAX_WINDOW <= 60
    uint32_t rest = (spread << 2) - h * n * (h * n), step = (2u * h + 1u) * square_n;
#else
    uint64_t whole = ((uint64_t)high << 22) + (uint64_t)(int64_t)(int32_t)low;
    uint64_t rest = (whole << 2) - stinger_multiply(h * n, h * n), step = stinger_multiply(2u * h + 1u, square_n);
#endif
    for (; rest >= step; h++) {
        rest -= step;
        step += 2u * square_n;
    }
    return h;
}

void stinger_features(const stinger_stream *s, int16_t *feature) {
    const stinger_model *m = s->model;
#if STINGER_WITH_INVARIANT
    if (stinger_is_invariant(m)) {
        stinger_invariant(s, feature);
        return;
    }
#endif
#if STINGER_WITH_FLATTEN
    if (m->feature_set == STINGER_FLATTEN) {
        stinger_flatten(s, feature);
        return;
    }
#endif
    if (!STINGER_WITH_SUMMARY)
        return;
    uint32_t channels = m->channels;
    put_means(s, feature, channels);
    feature += channels;
    for (const stinger_running *r = s->channel, *end = r + channels; r != end; r++, feature++) {
        feature[0] = stinger_limit((std_halves(s, r) + 1u) >> 1);
        feature[channels] = stinger_limit(r->max);
    }
    feature += channels;
    if (m->feature_set != STINGER_SUMMARY) {
        put_mean_sizes(s, feature, channels);
        feature += channels;
    }
    for (const stinger_running *r = s->triad, *end = r + m->triad_count; r != end; r++, feature += 3) {
        feature[0] = stinger_limit(divided((uint32_t)r->sum + m->window, divisor_of(s)));
        /* isqrt(V / N^2) is half of std_halves rounded down; then to units of two counts, rounded. */
        feature[1] = stinger_limit(((std_halves(s, r) >> 1) + 1u) >> 1);
        feature[2] = stinger_limit(((uint32_t)r->max + 1u) >> 1);
    }
#if STINGER_WITH_COUPLED
    if (m->feature_set == STINGER_COUPLED)
        stinger_coupled(s, feature);
#endif
}
