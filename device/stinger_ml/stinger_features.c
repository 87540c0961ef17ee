/*
 * Integer features, kept up to date sample by sample. The definition is the docstring of stinger.features.integer;
 * sums are exact, so sliding them gives the same integers as computing a window afresh.
 */
#include "stinger_internal.h"

#if STINGER_WITH_SUMMARY || STINGER_WITH_MAGNETIC

static uint32_t magnitude(int32_t x) {
    return (uint32_t)(x < 0 ? -x : x);
}

/* floor(2 * sqrt(N * squares - sum^2) / N): the standard deviation in half counts, at most 65535. */
static uint32_t std_halves(const stinger_stream *s, const stinger_running *r) {
    /* N * squares - sum^2 = high * 2^22 + low: N * squares is below 2^52, |sum| below 2^26. */
    const uint32_t mask = (UINT32_C(1) << 22) - 1u;
    uint32_t n = stinger_window(s), q_low = (uint32_t)r->squares, size = magnitude(r->sum);
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
    uint32_t h = (stinger_root_below(head) * stinger_scaled(s)) >> down >> (stinger_bits(s) + shift);
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

STINGER_NOINLINE int16_t stinger_deviation(const stinger_stream *s, const stinger_running *r, unsigned shift) {
    return stinger_limit(((std_halves(s, r) >> shift) + 1u) >> 1);
}
#endif

#if STINGER_WITH_SUMMARY

static uint32_t square(int32_t x) {
    return (uint32_t)(x * x);
}

/*
 * Maxima that take as long whatever the samples are. The ring has two halves. While one is overwritten, the window
 * consists of what came in there anew, of the other half, and of the end of what was there before. The largest value of
 * the first two is known from filling them. Those of every end, the tails, are found while the other half is filled: one
 * sample back for each that comes in. At that time tails of the half that is overwritten are needed no more, one by one,
 * so both have the same rows: of the first half, which begins at 0, the tail from i on is in row i + 1; of the second,
 * the tail from i on is in row window - i. Before the first and behind the last is a row of zeros.
 */
STINGER_NOINLINE static void look_back(stinger_stream *s, unsigned at) {
    unsigned window = stinger_window(s), half = (window + 1u) / 2u;
    bool second = at >= half;
    unsigned look = (second ? 2u * half : window) - 1u - at, row = second ? look + 1u : at + 1u;
    const uint16_t *before = s->tail[second ? row + 1u : row - 1u]; /* the tail that is one sample shorter */
    uint16_t *tail = s->tail[row];
    for (unsigned c = 0; c < stinger_channels(s); c++) {
        uint32_t size = magnitude(s->sample[look][c]);
        tail[c] = (uint16_t)(size > before[c] ? size : before[c]);
    }
    before += STINGER_MAX_CHANNELS;
    tail += STINGER_MAX_CHANNELS;
    for (unsigned t = 0; t < stinger_triads(s->model); t++) {
        uint32_t length = s->magnitude[look][t];
        tail[t] = (uint16_t)(length > before[t] ? length : before[t]);
    }
}

/* The largest values of a half so far; it begins with its first sample. */
static uint16_t *highest_at(stinger_stream *s, unsigned at) {
    unsigned half = (stinger_window(s) + 1u) / 2u;
    uint16_t *highest = s->highest[at >= half];
    if (at == 0 || at == half)
        for (unsigned i = 0; i < STINGER_SIGNALS; i++)
            highest[i] = 0;
    return highest;
}

/* The row of the oldest part of a full window. */
static const uint16_t *tail_of(const stinger_stream *s) {
    unsigned next = s->next, window = stinger_window(s), half = (window + 1u) / 2u;
    if (next == 0)
        return s->tail[0]; /* all of both halves is new, and no tail is needed */
    return s->tail[next < half ? next + 1u : window - next];
}

/* The largest value in the window; of magnitudes, which have half the unit, rounded. */
STINGER_NOINLINE static int16_t max_of(const stinger_stream *s, const uint16_t *tail, unsigned signal) {
    uint32_t max = tail[signal], one = s->highest[0][signal], other = s->highest[1][signal];
    max = one > max ? one : max;
    max = other > max ? other : max;
    if (signal >= STINGER_MAX_CHANNELS)
        max = (max + 1u) >> 1;
    return stinger_limit(max);
}

static void summary_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    const stinger_model *m = s->model;
#if STINGER_WITH_COUPLED
    if (stinger_set(m) == STINGER_COUPLED)
        stinger_coupled_add(s, sample, at, full);
#endif
    int16_t *place = s->sample[at];
    uint16_t *length = s->magnitude[at];
    /* What leaves the window: nothing yet, a row of zeros. */
    const int16_t *gone = full ? place : (const int16_t *)s->tail[0];
    const uint16_t *gone_length = full ? length : s->tail[0];
    uint16_t *highest = highest_at(s, at);
    stinger_running *r = s->channel;
    for (unsigned c = 0; c < stinger_channels(s); c++, r++) {
        int32_t x = sample[c], old = gone[c];
        uint32_t size = magnitude(x), old_size = magnitude(old);
        place[c] = (int16_t)x;
        r->sum += x - old;
        r->absolute += size - old_size;
        r->squares += (uint64_t)((int64_t)(x * x - old * old)); /* both at most 2^30 */
        if (size > highest[c])
            highest[c] = (uint16_t)size;
    }
    highest += STINGER_MAX_CHANNELS;
    r = s->triad;
    for (unsigned t = 0; t < stinger_triads(s->model); t++, r++) {
        const int16_t *v = sample + m->triads[t];
        uint32_t squares = square(v[0]) + square(v[1]) + square(v[2]);
        uint32_t value = stinger_isqrt32(squares), old = gone_length[t];
        length[t] = (uint16_t)value;
        r->sum += (int32_t)(value - old);
        r->squares += (uint64_t)(value * value) - old * old;
        if (value > highest[t])
            highest[t] = (uint16_t)value;
    }
    look_back(s, at);
}

/* floor(x / (2 * window)) for a quotient below 2^16, from 16-bit products: the estimate is at most 3 too small. */
STINGER_NOINLINE static uint32_t divided(const stinger_stream *s, uint32_t x) {
    uint32_t d = 2u * stinger_window(s), scaled = stinger_scaled(s), bits = stinger_bits(s) + 1u;
    uint32_t high = x >> bits, low = x - (high << bits);
    uint32_t q = (high * scaled + ((low * scaled) >> bits)) >> 15;
    for (uint32_t rest = x - q * d; rest >= d; rest -= d) {
        q++;
        STINGER_OPAQUE(rest);
    }
    return q;
}

static void summary(const stinger_stream *s, int16_t *feature) {
    const stinger_model *m = s->model;
    uint32_t channels = stinger_channels(s), n = stinger_window(s);
    const uint16_t *tail = tail_of(s);
    bool rich = stinger_set(m) != STINGER_SUMMARY;
    for (unsigned c = 0; c < channels; c++) {
        const stinger_running *r = &s->channel[c];
        /* Sums are shifted by 32768 a sample to divide no negative ones. */
        feature[c] = (int16_t)((int32_t)divided(s, 2u * (uint32_t)r->sum + (n << 16) + n) - 32768);
        feature[c + channels] = stinger_deviation(s, r, 0);
        feature[c + 2u * channels] = max_of(s, tail, c);
        if (rich)
            feature[c + 3u * channels] = stinger_limit(divided(s, 2u * r->absolute + n));
    }
    feature += (rich ? 4u : 3u) * channels;
    for (unsigned t = 0; t < stinger_triads(m); t++, feature += 3) {
        const stinger_running *r = &s->triad[t];
        feature[0] = stinger_limit(divided(s, (uint32_t)r->sum + n));
        feature[1] = stinger_deviation(s, r, 1);
        feature[2] = max_of(s, tail, STINGER_MAX_CHANNELS + t);
    }
#if STINGER_WITH_COUPLED
    if (stinger_set(m) == STINGER_COUPLED)
        stinger_coupled(s, feature);
#endif
}
#endif

void stinger_features_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
#if STINGER_WITH_INVARIANT
    if (stinger_is_invariant(s->model)) {
        stinger_invariant_add(s, sample, at, full);
        return;
    }
#endif
#if STINGER_WITH_MAGNETIC
    if (stinger_set(s->model) == STINGER_MAGNETIC) {
        stinger_magnetic_add(s, sample, at, full);
        return;
    }
#endif
#if STINGER_WITH_FLATTEN
    if (stinger_set(s->model) == STINGER_FLATTEN) {
        stinger_flatten_add(s, sample, at, full);
        return;
    }
#endif
#if STINGER_WITH_SUMMARY
    summary_add(s, sample, at, full);
#endif
}

void stinger_features(const stinger_stream *s, int16_t *feature) {
#if STINGER_WITH_INVARIANT
    if (stinger_is_invariant(s->model)) {
        stinger_invariant(s, feature);
        return;
    }
#endif
#if STINGER_WITH_MAGNETIC
    if (stinger_set(s->model) == STINGER_MAGNETIC) {
        stinger_magnetic(s, feature);
        return;
    }
#endif
#if STINGER_WITH_FLATTEN
    if (stinger_set(s->model) == STINGER_FLATTEN) {
        stinger_flatten(s, feature);
        return;
    }
#endif
#if STINGER_WITH_SUMMARY
    summary(s, feature);
#endif
}
