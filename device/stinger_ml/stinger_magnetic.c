/*
 * `magnetic`. The definition is the docstring of stinger.features.magnetic, whose names are used here. All sums slide
 * with the window; of a sample that leaves, what it brought is computed again rather than kept.
 *
 * s->magnitude[i] holds the strength of the field, v as 16 bits, and w. A term is what sample i brings to U, P and C,
 * with samples i - lag to i.
 */
#include "stinger_internal.h"

#if STINGER_WITH_MAGNETIC

#define LEAST_PULL 64u
#define LIMIT 16383
#define BITS 13
#define UNIT 16384u
#define UNIT_BITS 14

enum { STRENGTH, VERTICAL, TURNING };

static uint32_t square(int32_t x) {
    return (uint32_t)x * (uint32_t)x;
}

static uint32_t magnitude(const int16_t *x) {
    return stinger_isqrt32(square(x[0]) + square(x[1]) + square(x[2]));
}

static int32_t limit(int32_t x) {
    return x > LIMIT ? LIMIT : x < -LIMIT ? -LIMIT : x;
}

/* The ring position `k` after `at`, or before it. */
static unsigned after(unsigned at, unsigned k, unsigned window) {
    at += k;
    return at >= window ? at - window : at;
}

static unsigned before(unsigned at, unsigned k, unsigned window) {
    return at >= k ? at - k : at + window - k;
}

static int32_t vertical(const int16_t *m, const int16_t *a, uint32_t strength) {
    uint32_t pull = magnitude(a);
    if (pull < LEAST_PULL)
        return 0;
    int64_t d = (int64_t)((int32_t)m[0] * a[0]) + (int32_t)m[1] * a[1] + (int32_t)m[2] * a[2];
    uint32_t size = stinger_quotient((uint32_t)(d < 0 ? -d : d), pull), most = strength > 32767u ? 32767u : strength;
    size = size > most ? most : size;
    return d < 0 ? -(int32_t)size : (int32_t)size;
}

static void put(stinger_running *r, int32_t value) {
    r->sum += value;
    r->squares += square(value);
}

static void take(stinger_running *r, int32_t value) {
    r->sum -= value;
    r->squares -= square(value);
}

/* U, P and C of one term; `turned` is the sum of the gyroscope's samples in it. */
typedef struct {
    uint32_t changes, turns;
    int32_t both;
} term;

static term term_of(const stinger_stream *s, unsigned at, const int32_t *turned) {
    const stinger_magnetic_state *v = &s->magnetic;
    unsigned n = stinger_window(s), first = s->model->triads[STRENGTH], bits = v->lag_bits;
    const int16_t *now = s->sample[at] + first, *then = s->sample[before(at, v->lag, n)] + first;
    const int16_t *middle = s->sample[before(at, v->lag / 2u, n)] + first;
    int32_t x = middle[0], y = middle[1], z = middle[2];
    int32_t tx = turned[0] >> bits, ty = turned[1] >> bits, tz = turned[2] >> bits;
    const int32_t p[3] = {limit((y * tz - z * ty) >> BITS), limit((z * tx - x * tz) >> BITS),
                          limit((x * ty - y * tx) >> BITS)};
    term t = {0, 0, 0};
    for (unsigned c = 0; c < 3u; c++) {
        int32_t u = limit((int32_t)now[c] - then[c]);
        t.changes += square(u);
        t.turns += square(p[c]);
        t.both += u * p[c];
    }
    return t;
}

/* Whether the sums of a channel are of use for the policy's gate. */
static bool gated(const stinger_model *m, unsigned channel) {
    return m->policy != NULL && m->policy->gate_lsb != 0 && channel - m->policy->gyro < 3u;
}

/* A full window without its oldest sample. */
static void drop_oldest(stinger_stream *s, unsigned at) {
    const stinger_model *model = s->model;
    stinger_magnetic_state *v = &s->magnetic;
    unsigned n = stinger_window(s), gyro = model->triads[TURNING];
    const uint16_t *gone = s->magnitude[at];
    term t = term_of(s, after(at, v->lag, n), v->tail);
    v->changes -= t.changes;
    v->turns -= t.turns;
    v->both -= t.both;
    const int16_t *in = s->sample[after(at, v->lag + 1u, n)] + gyro, *out = s->sample[after(at, 1, n)] + gyro;
    for (unsigned c = 0; c < 3u; c++)
        v->tail[c] += (int32_t)in[c] - out[c];
    take(&v->strength, gone[STRENGTH]);
    take(&v->vertical, (int16_t)gone[VERTICAL]);
    v->turning -= gone[TURNING];
    for (unsigned c = 0; c < model->channels; c++)
        if (gated(model, c))
            s->channel[c].squares -= square(s->sample[at][c]);
}

void stinger_magnetic_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    const stinger_model *model = s->model;
    stinger_magnetic_state *v = &s->magnetic;
    unsigned n = stinger_window(s), place = full ? n - 1u : s->count; /* in the window, from the oldest on */
    const int16_t *m = sample + model->triads[STRENGTH], *a = sample + model->triads[VERTICAL];
    const int16_t *g = sample + model->triads[TURNING];
    uint32_t strength = magnitude(m), w = magnitude(g);
    int32_t up = vertical(m, a, strength);
    if (full)
        drop_oldest(s, at);
    for (unsigned c = 0; c < stinger_channels(s); c++) {
        s->sample[at][c] = sample[c];
        if (gated(model, c))
            s->channel[c].squares += square(sample[c]);
    }
    uint16_t *place_of = s->magnitude[at];
    place_of[STRENGTH] = (uint16_t)strength;
    place_of[VERTICAL] = (uint16_t)((uint32_t)up & 0xFFFFu);
    place_of[TURNING] = (uint16_t)w;
    put(&v->strength, (int32_t)strength);
    put(&v->vertical, up);
    v->turning += w;

    v->late_strength += strength;
    v->late_vertical += up;
    if (place >= v->latest) {
        const uint16_t *old = s->magnitude[before(at, v->latest, n)];
        v->late_strength -= old[STRENGTH];
        v->late_vertical -= (int16_t)old[VERTICAL];
    }
    for (unsigned c = 0; c < 3u; c++) {
        v->head[c] += g[c];
        if (place >= 1u && place <= v->lag)
            v->tail[c] += g[c];
    }
    if (place >= v->lag) {
        const int16_t *out = s->sample[before(at, v->lag, n)] + model->triads[TURNING];
        for (unsigned c = 0; c < 3u; c++)
            v->head[c] -= out[c];
        term t = term_of(s, at, v->head);
        v->changes += t.changes;
        v->turns += t.turns;
        v->both += t.both;
    }
}

void stinger_magnetic_clear(stinger_stream *s) {
    stinger_magnetic_state *v = &s->magnetic;
    *v = (stinger_magnetic_state){
        .terms = v->terms, .latest = v->latest, .late_bits = v->late_bits, .lag = v->lag, .lag_bits = v->lag_bits};
}

void stinger_magnetic_init(stinger_stream *s) {
    stinger_magnetic_state *v = &s->magnetic;
    unsigned n = s->model->window, bits = 0;
    while (n >> (bits + 3u) != 0)
        bits++;
    v->late_bits = (uint8_t)bits;
    v->latest = (uint16_t)(1u << bits);
    v->lag_bits = (uint8_t)(bits > 4u ? 4u : bits);
    v->lag = (uint16_t)(1u << v->lag_bits);
    v->terms.n = n - v->lag;
    v->terms.reciprocal = stinger_inverse(2u * v->terms.n);
}

/* (sum + N) // (2 * N) of 16-bit values, for sums that may be negative. */
static int16_t mean(const stinger_stream *s, int32_t sum) {
    uint32_t n = stinger_window(s), moved = (uint32_t)(sum + (int32_t)(n << 16)) + n;
    return (int16_t)((int32_t)stinger_divide(moved, 2u * n, s->reciprocal) - 32768);
}

static uint32_t root(uint64_t x) {
    unsigned s = 0;
    for (; x >> 32 != 0; x >>= 2)
        s++;
    return stinger_isqrt32((uint32_t)x) << s;
}

/* x // n for x below 2^40 and a quotient of 32 bits; twice both, as the reciprocal is of 2 * n. */
static uint32_t divided(uint64_t x, const stinger_length *l) {
    uint32_t d = 2u * l->n, top = (uint32_t)(x >> 15), high = stinger_divide(top, d, l->reciprocal);
    uint32_t rest = ((top - high * d) << 16) | (((uint32_t)x & 0x7FFFu) << 1);
    return (high << 16) + stinger_divide(rest, d, l->reciprocal);
}

static int16_t with_sign(uint32_t size, bool negative) {
    return (int16_t)(negative ? -(int32_t)size : (int32_t)size);
}

void stinger_magnetic(const stinger_stream *s, int16_t *feature) {
    const stinger_magnetic_state *v = &s->magnetic;
    unsigned shift = v->late_bits + 1u;
    int32_t half = v->latest, sum_v = v->vertical.sum;
    uint32_t mean_m = (uint32_t)mean(s, v->strength.sum), size_v = (uint32_t)mean(s, sum_v < 0 ? -sum_v : sum_v);
    uint32_t dip = mean_m == 0 ? 0 : stinger_quotient(size_v << UNIT_BITS, mean_m);
    *feature++ = (int16_t)mean_m;
    *feature++ = stinger_deviation(s, &v->strength, 0);
    *feature++ = (int16_t)((v->late_strength + (uint32_t)half) >> shift);
    *feature++ = mean(s, sum_v);
    *feature++ = (int16_t)size_v;
    *feature++ = stinger_deviation(s, &v->vertical, 0);
    *feature++ = (int16_t)((v->late_vertical + half) >> shift);
    *feature++ = (int16_t)stinger_isqrt32(mean_m * mean_m - size_v * size_v);
    *feature++ = with_sign(dip, sum_v < 0);
    *feature++ = mean(s, (int32_t)v->turning);

    bool negative = v->both < 0;
    uint64_t size = (uint64_t)(negative ? -v->both : v->both);
    uint64_t largest = stinger_multiply(root(v->changes), root(v->turns));
    uint32_t r = stinger_ratio(size << 4, largest, 0), gain = stinger_ratio(size << 2, v->turns, 0);
    r = r > UNIT ? UNIT : r;
    *feature++ = with_sign(r, negative);
    *feature++ = with_sign(gain, negative);
    uint32_t rest = stinger_isqrt32(divided(v->changes, &v->terms)) * stinger_isqrt32(UNIT * UNIT - r * r);
    *feature++ = (int16_t)((rest + UNIT / 2u) >> UNIT_BITS);
}

#endif
