/*
 * `invariant` and `invariant_rich`. The definition is the docstring of stinger.features.invariant, whose names are used
 * here; sums and extremes slide with the window, only the crossings are counted for each decision.
 *
 * v->step[i] is h of the step that ends at s->sample[i], so a full window has one at each sample but the oldest, and
 * the first half of the steps are those at the first half of the samples.
 */
#include "stinger_internal.h"

#if STINGER_WITH_INVARIANT

#define LARGEST_SQUARE ((UINT32_C(1) << 30) - 1u)
#define ONE 1024u

/* The peaks that are kept; the lowest magnitude is the highest complement. */
enum { PEAK_H, PEAK_M, PEAK_W, PEAK_NOT_M, PEAK_NOT_W };

static uint32_t square(int32_t x) {
    return (uint32_t)x * (uint32_t)x;
}

static void put(stinger_sums *sums, int32_t value) {
    sums->sum += value;
    sums->squares += square(value);
}

static void take(stinger_sums *sums, int32_t value) {
    sums->sum -= value;
    sums->squares -= square(value);
}

/* The ring position `k` after `at`. */
static unsigned after(unsigned at, unsigned k, unsigned window) {
    at += k;
    return at >= window ? at - window : at;
}

/* j, from one sample of the accelerometer to the next; returns e. */
static uint32_t jerk(const int16_t *from, const int16_t *to, int32_t *j) {
    uint32_t squares = 0;
    for (unsigned c = 0; c < 3u; c++) {
        int32_t x = (int32_t)to[c] - from[c];
        j[c] = x > 32767 ? 32767 : x < -32768 ? -32768 : x;
        squares += square(j[c]);
    }
    return squares > LARGEST_SQUARE ? LARGEST_SQUARE : squares;
}

/* Whether the sums of a channel are of use: for its own feature, or for the policy's gate. */
static bool summed(const stinger_model *m, unsigned channel) {
    if (m->feature_set == STINGER_INVARIANT_RICH && channel - m->triads[1] < 3u)
        return true;
    return m->policy != NULL && m->policy->gate_lsb != 0 && channel - m->policy->gyro < 3u;
}

/* A full window without its oldest sample; each later one has moved up, from half to half and out of the quarter. */
static void drop_oldest(stinger_stream *s, unsigned at) {
    const stinger_model *model = s->model;
    stinger_invariant_state *v = &s->invariant;
    unsigned n = model->window, a = model->triads[0], next = after(at, 1, n), middle = after(at, n / 2u, n);
    unsigned late = after(at, n - n / 4u, n), before = late == 0 ? n - 1u : late - 1u;
    int32_t j[3];
    v->last_e -= jerk(s->sample[before] + a, s->sample[late] + a, j);
    v->e -= jerk(s->sample[at] + a, s->sample[next] + a, j);
    v->first_h += v->step[middle];
    v->first_h -= v->step[next];
    take(&v->h, v->step[next]);
    take(&v->m, s->magnitude[at][0]);
    take(&v->w, s->magnitude[at][1]);
    take(&v->first_w, s->magnitude[at][1]);
    put(&v->first_w, s->magnitude[middle][1]);
    if (model->feature_set == STINGER_INVARIANT_RICH)
        for (unsigned c = 0; c < 3u; c++)
            take(&v->j[c], j[c]);
    for (unsigned c = 0; c < model->channels; c++)
        if (summed(model, c)) {
            s->channel[c].sum -= s->sample[at][c];
            s->channel[c].squares -= square(s->sample[at][c]);
        }
}

/* The peak has left the window: search it, oldest first, so that the newest of equal ones is kept longest. */
static void find_peak(stinger_stream *s, unsigned which, unsigned at) {
    stinger_peak *peak = &s->invariant.peak[which];
    unsigned n = s->model->window, age = which == PEAK_H ? n - 1u : n, i = after(at, n + 1u - age, n);
    unsigned triad = which == PEAK_W || which == PEAK_NOT_W;
    uint32_t flip = which >= PEAK_NOT_M ? 0xFFFFu : 0;
    peak->value = 0;
    while (age-- > 0) {
        uint32_t value = (which == PEAK_H ? s->invariant.step[i] : s->magnitude[i][triad]) ^ flip;
        if (value >= peak->value) {
            peak->value = (uint16_t)value;
            peak->age = (uint16_t)age;
        }
        i = i + 1u == n ? 0 : i + 1u;
    }
}

void stinger_invariant_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    const stinger_model *model = s->model;
    stinger_invariant_state *v = &s->invariant;
    unsigned n = model->window, place = full ? n - 1u : s->count; /* in the window, from the oldest on */
    const int16_t *a = sample + model->triads[0], *g = sample + model->triads[1];
    uint32_t m = stinger_isqrt32(square(a[0]) + square(a[1]) + square(a[2]));
    uint32_t w = stinger_isqrt32(square(g[0]) + square(g[1]) + square(g[2])), h = 0;
    if (full)
        drop_oldest(s, at);
    put(&v->m, (int32_t)m);
    put(&v->w, (int32_t)w);
    if (place < n / 2u)
        put(&v->first_w, (int32_t)w);
    if (place > 0) {
        int32_t j[3];
        uint32_t e = jerk(s->sample[at == 0 ? n - 1u : at - 1u] + model->triads[0], a, j);
        h = stinger_isqrt32(4u * e);
        v->e += e;
        if (place >= n - n / 4u)
            v->last_e += e;
        put(&v->h, (int32_t)h);
        if (place < n / 2u)
            v->first_h += h;
        if (model->feature_set == STINGER_INVARIANT_RICH)
            for (unsigned c = 0; c < 3u; c++)
                put(&v->j[c], j[c]);
    }
    for (unsigned c = 0; c < model->channels; c++) {
        s->sample[at][c] = sample[c];
        if (summed(model, c)) {
            s->channel[c].sum += sample[c];
            s->channel[c].squares += square(sample[c]);
        }
    }
    s->magnitude[at][0] = (uint16_t)m;
    s->magnitude[at][1] = (uint16_t)w;
    v->step[at] = (uint16_t)h;

    const uint32_t value[] = {h, m, w, m ^ 0xFFFFu, w ^ 0xFFFFu};
    for (unsigned which = place > 0 ? PEAK_H : PEAK_M; which <= PEAK_NOT_W; which++) {
        stinger_peak *peak = &v->peak[which];
        peak->age++;
        if (value[which] >= peak->value) {
            peak->value = (uint16_t)value[which];
            peak->age = 0;
        } else if (peak->age == (which == PEAK_H ? n - 1u : n))
            find_peak(s, which, at);
    }
}

void stinger_invariant_clear(stinger_stream *s) {
    s->invariant = (stinger_invariant_state){0};
}

static stinger_length length_of(uint32_t n) {
    return (stinger_length){n, stinger_inverse(2u * n)};
}

void stinger_invariant_init(stinger_stream *s) {
    uint32_t n = s->model->window;
    s->length.all = length_of(n);
    s->length.steps = length_of(n - 1u);
    s->length.changes = length_of(n - 2u);
    s->length.first = length_of(n / 2u);
    s->length.second = length_of(n - n / 2u);
}

/* x * n for x below 2^42 and n up to 1024. */
static uint64_t times(uint64_t x, uint32_t n) {
    uint32_t low = ((uint32_t)x & 0xFFFFu) * n, middle = ((uint32_t)x >> 16) * n + (low >> 16);
    return ((uint64_t)((uint32_t)(x >> 32) * n + (middle >> 16)) << 32) | (middle << 16) | (low & 0xFFFFu);
}

/* x // (2 * n). */
static uint32_t half_over(uint32_t x, const stinger_length *l) {
    return stinger_divide(x, 2u * l->n, l->reciprocal);
}

/* N * squares - sum^2, below 2^50. */
static uint64_t spread(const stinger_sums *sums, uint32_t n) {
    uint32_t size = (uint32_t)(sums->sum < 0 ? -sums->sum : sums->sum);
    return times(sums->squares, n) - stinger_multiply(size, size);
}

/* isqrt(x // (n * n)) for x below 2^60, which is isqrt(x) // n. */
static uint32_t root_over(uint64_t x, const stinger_length *l) {
    uint32_t high = (uint32_t)(x >> 32), low = (uint32_t)x;
    uint32_t root = stinger_isqrt32(high == 0 ? low : high);
    if (high != 0) {
        /* The other 16 bits. The rest is at most twice the root, so four times that and 3 still has 32 bits. */
        uint32_t rest = high - root * root;
        for (unsigned i = 0; i < 16u; i++) {
            rest = (rest << 2) | (low >> 30);
            low <<= 2;
            uint32_t trial = (root << 2) + 1u;
            root <<= 1;
            if (rest >= trial) {
                rest -= trial;
                root++;
            }
        }
    }
    return half_over(2u * root, l);
}

static int16_t std(const stinger_sums *sums, const stinger_length *l) {
    return stinger_limit((root_over(spread(sums, l->n) << 2, l) + 1u) >> 1);
}

/* 1/64 counts, of magnitudes. */
static uint32_t fine_std(const stinger_sums *sums, const stinger_length *l) {
    return root_over(spread(sums, l->n) << 12, l);
}

static int16_t ratio(uint64_t p, uint64_t q, uint32_t otherwise) {
    return (int16_t)stinger_ratio(p, q, otherwise);
}

/* How often h changes from below its mean to the mean or above it, or back. */
static uint32_t crossings(const stinger_stream *s) {
    const uint16_t *h = s->invariant.step, *const end = h + s->length.all.n;
    const uint16_t *oldest = h + s->next, *before = oldest == h ? end - 1 : oldest - 1;
    const uint16_t *next = oldest + 1 == end ? h : oldest + 1;
    uint32_t changes = 0, sum = (uint32_t)s->invariant.h.sum;
    /* (N - 1) * h >= S is h >= S / (N - 1), rounded up. */
    uint32_t least = half_over(2u * (sum + s->length.changes.n), &s->length.steps);
    uint32_t above = end[-1] >= least, gone = *oldest >= least;
    /* All around the ring; but the step to the oldest sample is not in the window. */
    changes -= gone ^ (*before >= least);
    changes -= gone ^ (*next >= least);
    while (h != end) {
        uint32_t now = *h++ >= least;
        changes += now ^ above;
        above = now;
    }
    return changes;
}

static uint32_t larger(uint32_t x, uint32_t y) {
    return x > y ? x : y;
}

void stinger_invariant(const stinger_stream *s, int16_t *feature) {
    const stinger_model *model = s->model;
    const stinger_invariant_state *v = &s->invariant;
    const stinger_length *all = &s->length.all, *steps = &s->length.steps, *changes = &s->length.changes;
    const stinger_length *first = &s->length.first, *second = &s->length.second;
    const uint32_t n = all->n;
    const uint32_t sum_h = (uint32_t)v->h.sum, sum_m = (uint32_t)v->m.sum, sum_w = (uint32_t)v->w.sum;

    *feature++ = stinger_limit(half_over(sum_h + steps->n, steps));
    *feature++ = stinger_limit((root_over(spread(&v->h, steps->n), steps) + 1u) >> 1);
    *feature++ = stinger_limit((v->peak[PEAK_H].value + 1u) >> 1);
    *feature++ = stinger_limit((root_over(times(v->e << 2, steps->n), steps) + 1u) >> 1);

    uint32_t highest = v->peak[PEAK_M].value, lowest = v->peak[PEAK_NOT_M].value ^ 0xFFFFu;
    *feature++ = std(&v->m, all);
    uint32_t deviation = larger(n * highest - sum_m, sum_m - n * lowest);
    *feature++ = stinger_limit(half_over(deviation + n, all));
    *feature++ = stinger_limit((highest - lowest + 1u) >> 1);

    highest = v->peak[PEAK_W].value;
    lowest = v->peak[PEAK_NOT_W].value ^ 0xFFFFu;
    *feature++ = stinger_limit(half_over(sum_w + n, all));
    *feature++ = std(&v->w, all);
    *feature++ = stinger_limit((highest + 1u) >> 1);
    *feature++ = stinger_limit((highest - lowest + 1u) >> 1);

    const stinger_sums second_w = {v->w.squares - v->first_w.squares, v->w.sum - v->first_w.sum};
    uint32_t sum_first = (uint32_t)v->first_w.sum, both = first->n * second->n;
    /* Moved up by 32768 to divide what is not negative. */
    uint64_t rise = stinger_multiply((uint32_t)second_w.sum, first->n) + ((uint64_t)both << 16) + both;
    rise -= stinger_multiply(sum_first, second->n);
    *feature++ = (int16_t)((int32_t)stinger_wide_quotient(rise, 2u * both) - 32768);
    *feature++ =
        ratio(stinger_multiply(sum_h - v->first_h, first->n - 1u), stinger_multiply(v->first_h, second->n), ONE);
    *feature++ = ratio(fine_std(&second_w, second), fine_std(&v->first_w, first), ONE);
    *feature++ = ratio(v->last_e, v->e, ONE / 4u);
    uint32_t share = (crossings(s) << 11) + changes->n;
    *feature++ = (int16_t)half_over(share, changes);

    if (model->feature_set == STINGER_INVARIANT_RICH) {
        for (unsigned c = 0; c < 3u; c++) {
            const stinger_running *g = &s->channel[model->triads[1] + c];
            const stinger_sums sums = {g->squares, g->sum};
            *feature++ = std(&sums, all);
        }
        for (unsigned c = 0; c < 3u; c++)
            *feature++ = std(&v->j[c], steps);
    }
}

#endif
