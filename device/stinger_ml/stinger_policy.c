/* From probabilities to on and off. The definition is the docstring of stinger.models.policy. */
#include "stinger_internal.h"

#define MAX_MISSED_SHIFT 10 /* after 1024 periods of silence a policy starts afresh */
#define ENVELOPE_SHIFT 3    /* envelopes are in units of 2^-18, probabilities of 2^-15 */
#define RATE_SHIFT 12

enum { PHASE_OFF = 0, PHASE_HELD_ON = 1, PHASE_ON = 2 };

void stinger_policy_init(const stinger_policy *p, uint16_t window, stinger_policy_state *s) {
    /* gate_lsb^2 * window, by halves: windows have at most 1024 samples, and 64-bit products cost a library call. */
    uint32_t square = (uint32_t)p->gate_lsb * p->gate_lsb;
    s->gate_energy = ((uint64_t)((square >> 16) * window) << 16) + (square & 0xFFFFu) * window;
    s->envelope = 0;
    s->last_t_us = 0;
    s->held_t_us = 0;
    s->on_t_us = 0;
    s->held = 0;
    s->phase = PHASE_OFF;
    s->started = false;
}

/* One period passes, or one sample comes. |difference| <= 2^18 and rates <= 2^12: products fit int32. */
static void tick(const stinger_policy *p, stinger_policy_state *s, uint32_t t_us) {
    if (s->held != 0 && t_us - s->held_t_us > p->stale_us)
        s->held = 0;
    int32_t difference = ((int32_t)s->held << ENVELOPE_SHIFT) - s->envelope;
    int32_t rate = p->release, up = 0;
    if (difference > 0) {
        rate = p->attack;
        up = (1 << RATE_SHIFT) - 1;
    }
    s->envelope += (rate * difference + up) >> RATE_SHIFT;

    if (s->phase == PHASE_OFF) {
        if (s->envelope >= (int32_t)p->on << ENVELOPE_SHIFT) {
            s->phase = PHASE_HELD_ON;
            s->on_t_us = t_us;
        }
        return;
    }
    if (s->phase == PHASE_HELD_ON && t_us - s->on_t_us >= p->min_on_us)
        s->phase = PHASE_ON;
    if (s->phase == PHASE_ON && s->envelope < (int32_t)p->off << ENVELOPE_SHIFT)
        s->phase = PHASE_OFF;
}

STINGER_SMALL bool stinger_policy_update(const stinger_policy *p, stinger_policy_state *s, uint32_t t_us, bool ready,
                                         uint16_t probability, uint64_t motion) {
    uint32_t period = p->period_us, step = t_us - s->last_t_us;
    if (!s->started || (step >> MAX_MISSED_SHIFT) >= period) {
        s->started = true;
        s->envelope = 0;
        s->held = 0;
        s->phase = PHASE_OFF;
    } else {
        for (; stinger_is_gap(step, period); step -= period) {
            s->last_t_us += period;
            tick(p, s, s->last_t_us);
        }
    }
    if (ready) {
        s->held = motion < s->gate_energy ? 0 : probability;
        s->held_t_us = t_us;
    }
    s->last_t_us = t_us;
    tick(p, s, t_us);
    return s->phase != PHASE_OFF;
}
