/* The part of `coupled` that `rich` does not have. The definition is the docstring of stinger.features.coupled. */
#include "stinger_internal.h"

#if STINGER_WITH_COUPLED

#define MAX_POINTS 32
#define SIGNALS 10
#define ANGLES 6 /* signals 0 to 2 are the accelerometer, 3 to 5 the gyroscope, 6 to 8 its angles, 9 its speed */
#define SPEED 9
#define BITS 12
#define GROUPS 9 /* of three correlations */

/* Keeps the order of an inner loop, which then fits the eight low registers. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#define NOW(a, b, c) __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(x), "+r"(y))
#else
#define NOINLINE
#define NOW(a, b, c) (void)0
#endif

static uint32_t distance(int16_t x, int16_t y) {
    return (uint32_t)(x < y ? (int32_t)y - x : (int32_t)x - y);
}

void stinger_coupled_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    uint16_t window = s->model->window;
    const int16_t *last = s->sample[at == 0 ? window - 1u : at - 1u];
    const int16_t *oldest = s->sample[at], *following = s->sample[at + 1u == window ? 0u : at + 1u];
    uint32_t *steps = s->steps;
    for (unsigned t = 0; t < 2; t++)
        for (unsigned c = s->model->triads[t], end = c + 3u; c < end; c++, steps++) {
            if (s->count > 0)
                *steps += distance(sample[c], last[c]);
            if (full)
                *steps -= distance(following[c], oldest[c]);
        }
}

/* Signals at up to 32 samples, oldest first, all ten of a sample side by side. Returns how many samples. */
static unsigned take_points(const stinger_stream *s, int32_t *x) {
    const stinger_model *m = s->model;
    unsigned window = m->window, spacing = (window + MAX_POINTS - 1u) / MAX_POINTS, points = window / spacing;
    /* s->next is the oldest sample, the one before it the newest. */
    unsigned at = s->next + window - 1u - (points - 1u) * spacing;
    int32_t turned_x = 0, turned_y = 0, turned_z = 0;
    for (unsigned i = 0; i < points; i++, x += SIGNALS, at += spacing) {
        if (at >= window)
            at -= window;
        const int16_t *a = s->sample[at] + m->triads[0], *g = s->sample[at] + m->triads[1];
        x[0] = a[0];
        x[1] = a[1];
        x[2] = a[2];
        x[3] = g[0];
        x[4] = g[1];
        x[5] = g[2];
        x[ANGLES] = turned_x += g[0];
        x[ANGLES + 1] = turned_y += g[1];
        x[ANGLES + 2] = turned_z += g[2];
        x[SPEED] = s->magnitude[at][1];
    }
    return points;
}

/* One signal, from its first value on, to v, in place. Returns r; *shift becomes k. */
static uint32_t centre(int32_t *x, unsigned points, unsigned *shift) {
    int32_t *const end = x + SIGNALS * points, sum = 0;
    for (int32_t *p = x; p != end; p += SIGNALS)
        sum += *p;
    uint32_t all = 0; /* has as many bits as the largest */
    for (int32_t *p = x; p != end; p += SIGNALS) {
        int32_t e = (int32_t)points * *p - sum;
        *p = e;
        all |= (uint32_t)(e < 0 ? -e : e);
    }
    unsigned k = 0;
    while (all >> (BITS + k) != 0)
        k++;
    uint32_t squares = 0;
    for (int32_t *p = x; p != end; p += SIGNALS) {
        int32_t v = *p >> k;
        *p = v;
        squares += (uint32_t)(v * v);
    }
    *shift = k;
    return stinger_isqrt32(squares);
}

/* Correlations of a signal with three that lie side by side. */
NOINLINE static void correlate(const int32_t *x, const int32_t *y, unsigned points, uint32_t q_x, const uint32_t *q_y,
                               int16_t *feature) {
    int32_t c0 = 0, c1 = 0, c2 = 0;
    for (const int32_t *end = x + SIGNALS * points; x != end; x += SIGNALS, y += SIGNALS) {
        int32_t v = *x;
        c0 += v * y[0];
        NOW(c0, c1, c2);
        c1 += v * y[1];
        NOW(c0, c1, c2);
        c2 += v * y[2];
        NOW(c0, c1, c2);
    }
    int32_t c[3] = {c0, c1, c2};
    for (unsigned j = 0; j < 3; j++) {
        uint32_t size = (uint32_t)(c[j] < 0 ? -c[j] : c[j]);
        size = ((((size >> 12) * q_x) >> 14) * q_y[j]) >> 16;
        feature[j] = (int16_t)(c[j] < 0 ? -(int32_t)size : (int32_t)size);
    }
}

void stinger_coupled(const stinger_stream *s, int16_t *feature) {
    static const uint8_t pairs[GROUPS][2] = {{0, 3}, {1, 3}, {2, 3}, {6, 3}, {7, 3}, {8, 3}, {9, 0}, {9, 3}, {9, 6}};
    int32_t x[MAX_POINTS * SIGNALS];
    uint32_t q[SIGNALS];
    unsigned points = take_points(s, x), k;
    for (unsigned c = 0; c < ANGLES; c++)
        *feature++ = stinger_limit(stinger_divide(8u * s->steps[c], 2u * s->model->window, s->reciprocal));
    for (unsigned c = 0; c < SIGNALS; c++) {
        uint32_t r = centre(x + c, points, &k);
        q[c] = r < 2048u ? 0 : stinger_quotient(UINT32_C(1) << 26, r);
        if (c >= ANGLES && c < SPEED)
            *feature++ = stinger_limit((r << k) >> 9);
    }
    for (unsigned i = 0; i < GROUPS; i++, feature += 3) {
        unsigned outer = pairs[i][0], inner = pairs[i][1];
        correlate(x + outer, x + inner, points, q[outer], q + inner, feature);
    }
}

#endif
