/*
 * Integer features, kept up to date sample by sample. The definition is the docstring of stinger.features.integer;
 * sums are exact, so sliding them gives the same integers as computing a window afresh.
 */
#include "stinger_internal.h"

uint32_t stinger_isqrt32(uint32_t x) {
    /* Digit by digit, two bits of x for one of the root. */
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit != 0; bit >>= 2) {
        uint32_t trial = root + bit;
        root >>= 1;
        if (x >= trial) {
            x -= trial;
            root += bit;
        }
    }
    return root;
}

/* 32 x 32 -> 64 bits from 16-bit products: the Cortex-M0+ multiplies 32 x 32 -> 32 only. */
uint64_t stinger_multiply(uint32_t a, uint32_t b) {
    uint32_t al = a & 0xFFFFu, ah = a >> 16, bl = b & 0xFFFFu, bh = b >> 16;
    uint32_t low = al * bl;
    uint32_t middle = ah * bl + (low >> 16); /* below 2^32: (2^16 - 1)^2 + 2^16 - 1 */
    uint32_t cross = al * bh + (middle & 0xFFFFu);
    uint32_t high = ah * bh + (middle >> 16) + (cross >> 16);
    return ((uint64_t)high << 32) | (cross << 16) | (low & 0xFFFFu);
}

/* floor(x / d) for d = 2 * window and its reciprocal floor((2^32 - 1) / d): the estimate is at most 2 too small. */
uint32_t stinger_divide(uint32_t x, uint32_t d, uint32_t reciprocal) {
    uint32_t q = (uint32_t)(stinger_multiply(x, reciprocal) >> 32);
    uint32_t rest = x - q * d;
    while (rest >= d) {
        rest -= d;
        q++;
    }
    return q;
}

static uint16_t magnitude16(int16_t x) {
    return (uint16_t)(x < 0 ? -(int32_t)x : (int32_t)x);
}

int16_t stinger_limit(uint32_t x) {
    return (int16_t)(x > 32767u ? 32767u : x);
}

/* Note a new value's part in the running maximum. Returns true when the maximum itself has left the window. */
static bool slide_max(stinger_running *r, uint16_t value, uint16_t window) {
    if (value >= r->max) {
        r->max = value;
        r->max_age = 0;
        return false;
    }
    r->max_age++;
    return r->max_age == window;
}

/* The maximum has left: search the window, oldest first, so that the newest of equal maxima is kept longest. */
static void find_channel_max(stinger_stream *s, unsigned channel, uint16_t at) {
    stinger_running *r = &s->channel[channel];
    uint16_t window = s->model->window;
    uint16_t max = 0, newest = 0, i = at;
    for (uint16_t k = 0; k < window; k++) {
        i = (uint16_t)(i + 1u == window ? 0u : i + 1u);
        uint16_t value = magnitude16(s->sample[i][channel]);
        if (value >= max) {
            max = value;
            newest = k;
        }
    }
    r->max = max;
    r->max_age = (uint16_t)(window - 1u - newest);
}

static void find_triad_max(stinger_stream *s, unsigned triad, uint16_t at) {
    stinger_running *r = &s->triad[triad];
    uint16_t window = s->model->window;
    uint16_t max = 0, newest = 0, i = at;
    for (uint16_t k = 0; k < window; k++) {
        i = (uint16_t)(i + 1u == window ? 0u : i + 1u);
        uint16_t value = s->magnitude[i][triad];
        if (value >= max) {
            max = value;
            newest = k;
        }
    }
    r->max = max;
    r->max_age = (uint16_t)(window - 1u - newest);
}

static uint32_t square(int32_t x) {
    return (uint32_t)(x * x);
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
    for (unsigned c = 0; c < m->channels; c++) {
        stinger_running *r = &s->channel[c];
        int16_t x = sample[c];
        uint16_t size = magnitude16(x);
        r->sum += x;
        r->squares += square(x);
        r->absolute += size;
        if (full) {
            int16_t old = s->sample[at][c];
            r->sum -= old;
            r->squares -= square(old);
            r->absolute -= magnitude16(old);
        }
        s->sample[at][c] = x;
        if (slide_max(r, size, m->window))
            find_channel_max(s, c, at);
    }
    for (unsigned t = 0; t < m->triad_count; t++) {
        stinger_running *r = &s->triad[t];
        const int16_t *v = sample + m->triads[t];
        uint32_t value = stinger_isqrt32(square(v[0]) + square(v[1]) + square(v[2]));
        r->sum += (int32_t)value;
        r->squares += value * value;
        if (full) {
            uint32_t old = s->magnitude[at][t];
            r->sum -= (int32_t)old;
            r->squares -= old * old;
        }
        s->magnitude[at][t] = (uint16_t)value;
        if (slide_max(r, (uint16_t)value, m->window))
            find_triad_max(s, t, at);
    }
}

/* floor(2 * sqrt(N * squares - sum^2) / N): the standard deviation in half counts, at most 65535. */
static uint32_t std_halves(const stinger_stream *s, const stinger_running *r) {
    uint32_t n = s->model->window;
    uint32_t size = (uint32_t)(r->sum < 0 ? -r->sum : r->sum);
    uint64_t spread = stinger_multiply(n, (uint32_t)r->squares) + ((uint64_t)(n * (uint32_t)(r->squares >> 32)) << 32);
    spread = (spread - stinger_multiply(size, size)) << 2; /* below 2^52: (2 * std * N)^2 */
    if (spread == 0)
        return 0;

    /* First 16 bits of the root, from a 32-bit head: sqrt(spread) ~ isqrt(head) * 2^shift. */
    unsigned shift = 0;
    uint64_t head = spread;
    while (head >> 32 != 0) {
        head >>= 2;
        shift++;
    }
    /* (estimate + 1) * 2^shift is above the root, so the first h is not too small; it is at most 3 too large. */
    uint32_t root = (stinger_isqrt32((uint32_t)head) + 1u) << shift;
    uint32_t h = stinger_divide(2u * root, 2u * n, s->reciprocal);
    while (stinger_multiply(h * n, h * n) > spread)
        h--;
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
    uint32_t n = m->window, channels = m->channels;
    int16_t *mean = feature, *std = mean + channels, *max = std + channels, *absolute = max + channels;
    for (unsigned c = 0; c < channels; c++) {
        const stinger_running *r = &s->channel[c];
        /* Shifted by 32768 to divide a non-negative number. */
        uint32_t shifted = (uint32_t)(r->sum + (int32_t)(n << 15));
        mean[c] = (int16_t)((int32_t)stinger_divide(2u * shifted + n, 2u * n, s->reciprocal) - 32768);
        std[c] = stinger_limit((std_halves(s, r) + 1u) >> 1);
        max[c] = stinger_limit(r->max);
        if (m->feature_set != STINGER_SUMMARY)
            absolute[c] = stinger_limit(stinger_divide(2u * r->absolute + n, 2u * n, s->reciprocal));
    }
    int16_t *of_triad = feature + (m->feature_set != STINGER_SUMMARY ? 4u : 3u) * channels;
    for (unsigned t = 0; t < m->triad_count; t++) {
        const stinger_running *r = &s->triad[t];
        of_triad[0] = stinger_limit(stinger_divide((uint32_t)r->sum + n, 2u * n, s->reciprocal));
        /* isqrt(V / N^2) is half of std_halves rounded down; then to units of two counts, rounded. */
        of_triad[1] = stinger_limit(((std_halves(s, r) >> 1) + 1u) >> 1);
        of_triad[2] = stinger_limit(((uint32_t)r->max + 1u) >> 1);
        of_triad += 3;
    }
#if STINGER_WITH_COUPLED
    if (m->feature_set == STINGER_COUPLED)
        stinger_coupled(s, of_triad);
#endif
}
