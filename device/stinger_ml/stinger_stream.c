/* The sliding window: what enters it, what breaks it, when it is full. */
#include "stinger_internal.h"

#ifdef STINGER_ONLY_MODEL

extern const stinger_model STINGER_ONLY_MODEL;

static bool fits(const stinger_model *m) {
    return m == &STINGER_ONLY_MODEL;
}

#else

static bool policy_fits(const stinger_model *m, const stinger_policy *p) {
    if (!STINGER_WITH_POLICIES || p->period_us != m->period_us || p->period_us == 0 || p->positive >= m->classes)
        return false;
    if (p->attack > 4096u || p->release > 4096u || p->on > STINGER_ONE || p->off > p->on || p->off == 0)
        return false;
    return p->gate_lsb == 0 || p->gyro + 3u <= m->channels;
}

/* Length of the feature vector; 0 for a set that this build does not compute, or not of such windows. */
static unsigned features_of(const stinger_model *m) {
    unsigned summary = 3u * (m->channels + m->triad_count), rich = summary + m->channels;
    bool motion = m->triad_count == 2u && m->window >= 4u; /* accelerometer and gyroscope, and parts of a window */
    switch (m->feature_set) {
    case STINGER_SUMMARY:
        return STINGER_WITH_SUMMARY ? summary : 0;
    case STINGER_RICH:
        return STINGER_WITH_SUMMARY ? rich : 0;
    case STINGER_COUPLED:
        return STINGER_WITH_COUPLED && motion ? rich + STINGER_COUPLED_FEATURES : 0;
    case STINGER_INVARIANT:
        return STINGER_WITH_INVARIANT && motion ? STINGER_INVARIANT_FEATURES : 0;
    case STINGER_INVARIANT_RICH:
        return STINGER_WITH_INVARIANT && motion ? STINGER_INVARIANT_RICH_FEATURES : 0;
    case STINGER_MAGNETIC: /* magnetometer, accelerometer and gyroscope */
        return STINGER_WITH_MAGNETIC && m->triad_count == 3u && m->window >= 8u ? STINGER_MAGNETIC_FEATURES : 0;
    case STINGER_FLATTEN:
        return STINGER_WITH_FLATTEN && m->triad_count == 0 ? (unsigned)m->window * m->channels : 0;
    default:
        return 0;
    }
}

static bool shape_fits(const stinger_model *m) {
    if (STINGER_FIXED_SHAPE)
        return m->window == STINGER_MAX_WINDOW && m->channels == STINGER_MAX_CHANNELS;
    return m->window >= 2u && m->window <= STINGER_MAX_WINDOW && m->channels >= 1u &&
           m->channels <= STINGER_MAX_CHANNELS;
}

typedef char stinger_assert_triads[STINGER_MAX_TRIADS >= 1 && STINGER_MAX_TRIADS <= STINGER_TRIADS ? 1 : -1];

static bool fits(const stinger_model *m) {
    if (!shape_fits(m))
        return false;
    if (m->classes < 2u || m->classes > STINGER_MAX_CLASSES || m->triad_count > STINGER_MAX_TRIADS)
        return false;
    if (m->features == 0 || m->features != features_of(m) || m->features > STINGER_MAX_FEATURES)
        return false;
    for (unsigned t = 0; t < m->triad_count; t++)
        if (m->triads[t] + 3u > m->channels)
            return false;
    if (m->policy != NULL && !policy_fits(m, m->policy))
        return false;
    /* Exactly one, of a kind that this build runs: others count twice. */
    if ((m->network != NULL) * (2 - STINGER_WITH_NETWORKS) + (m->forest != NULL) * (2 - STINGER_WITH_FORESTS) +
            (m->boosted != NULL) * (2 - STINGER_WITH_BOOSTED) +
            (m->convolution != NULL) * (2 - STINGER_WITH_CONVOLUTIONS) !=
        1)
        return false;
#if STINGER_WITH_CONVOLUTIONS
    if (m->convolution != NULL && !stinger_convolution_fits(m))
        return false;
#endif
#if STINGER_WITH_NETWORKS
    if (m->network != NULL)
        for (unsigned l = 0; l < m->network->layer_count; l++) {
            const stinger_layer *layer = &m->network->layers[l];
            if (layer->rows > STINGER_MAX_UNITS || (!STINGER_WITH_WEIGHTS16 && layer->weight8 == NULL))
                return false;
        }
#endif
    return true;
}

#endif

STINGER_NOINLINE static void zero(void *at, size_t size) {
    for (uint8_t *byte = at, *end = byte + size; byte != end; byte++)
        *byte = 0;
}

STINGER_NOINLINE static void clear(stinger_stream *s) {
    zero(s->channel, sizeof s->channel);
#if STINGER_WITH_SUMMARY
    zero(s->triad, sizeof s->triad);
#endif
#if STINGER_WITH_COUPLED
    zero(s->steps, sizeof s->steps);
#endif
#if STINGER_WITH_INVARIANT
    stinger_invariant_clear(s);
#endif
#if STINGER_WITH_MAGNETIC
    stinger_magnetic_clear(s);
#endif
    s->count = 0;
    s->next = 0;
}

/* What divisions by the window need, unless all of it is constant. */
#define SETS_WINDOW (!STINGER_FIXED_SHAPE || STINGER_WITH_COUPLED || STINGER_WITH_MAGNETIC)
#if SETS_WINDOW
static void set_window(stinger_stream *s, uint32_t window) {
    unsigned bits = 0;
    while (window >> bits != 0)
        bits++;
    s->bits = (uint8_t)bits;
    s->reciprocal = stinger_inverse(2u * window);
    s->scaled = (uint16_t)(s->reciprocal >> (16u - bits));
}
#endif

bool stinger_stream_init(stinger_stream *s, const stinger_model *model) {
    zero(s, sizeof *s);
    s->model = fits(model) ? model : NULL;
    if (s->model == NULL)
        return false;
#if SETS_WINDOW
    set_window(s, model->window);
#endif
#if STINGER_WITH_INVARIANT
    if (stinger_is_invariant(model))
        stinger_invariant_init(s);
#endif
#if STINGER_WITH_MAGNETIC
    if (stinger_set(model) == STINGER_MAGNETIC)
        stinger_magnetic_init(s);
#endif
#if STINGER_WITH_POLICIES
    if (STINGER_HAS(model->policy))
        stinger_policy_init(model->policy, model->window, &s->policy);
#endif
    return true;
}

bool stinger_stream_push(stinger_stream *s, const int16_t *sample, uint32_t t_us, bool gap) {
    const stinger_model *m = s->model;
    if (m == NULL)
        return false;
    uint32_t step = t_us - s->last_t_us;
    if (gap || step == 0 || stinger_is_gap(step, m->period_us))
        clear(s);
    s->last_t_us = t_us;

    uint16_t at = s->next;
    bool full = s->count == stinger_window(s);
    stinger_features_add(s, sample, at, full);
    s->next = (uint16_t)(at + 1u == stinger_window(s) ? 0u : at + 1u);
    if (!full)
        s->count++;
    bool ready = s->count == stinger_window(s);
#if STINGER_WITH_POLICIES
    if (STINGER_HAS(m->policy) && !ready)
        stinger_policy_update(m->policy, &s->policy, t_us, false, 0, 0);
#endif
    return ready;
}

bool stinger_stream_on(const stinger_stream *s) {
    return s->policy.phase != 0;
}

void stinger_stream_decide(stinger_stream *s, stinger_decision *d) {
    const stinger_model *m = s->model;
    stinger_features(s, d->feature);
    d->classes = m->classes;
#if STINGER_WITH_NETWORKS
    if (STINGER_HAS(m->network))
        stinger_network_decide(m->network, d->feature, m->features, d);
#endif
#if STINGER_WITH_FORESTS
    if (STINGER_HAS(m->forest))
        stinger_forest_decide(m->forest, d->feature, d);
#endif
#if STINGER_WITH_BOOSTED
    if (STINGER_HAS(m->boosted))
        stinger_boosted_decide(m->boosted, d->feature, d);
#endif
#if STINGER_WITH_CONVOLUTIONS
    if (STINGER_HAS(m->convolution))
        stinger_convolution_decide(m, s->activation, d);
#endif
    d->on = false;
#if STINGER_WITH_POLICIES
    const stinger_policy *p = m->policy;
    if (STINGER_HAS(p)) {
        uint64_t motion = 0;
        if (p->gate_lsb != 0) {
            const stinger_running *gyro = &s->channel[p->gyro];
            motion = gyro[0].squares + gyro[1].squares + gyro[2].squares;
        }
        d->on = stinger_policy_update(p, &s->policy, s->last_t_us, true, d->probability[p->positive], motion);
    }
#endif
}
