/* From logits to probabilities, by a table of powers of one half; see stinger_ml.h for the units. */
#include "stinger_internal.h"

/* round(32768 * 2^(-i / 64)) */
static const uint16_t power_of_half[65] = {32768, 32415, 32066, 31720, 31379, 31041, 30706, 30376, 30048, 29725, 29405,
                                           29088, 28774, 28464, 28158, 27855, 27554, 27258, 26964, 26674, 26386, 26102,
                                           25821, 25543, 25268, 24995, 24726, 24460, 24196, 23936, 23678, 23423, 23170,
                                           22921, 22674, 22430, 22188, 21949, 21713, 21479, 21247, 21019, 20792, 20568,
                                           20347, 20127, 19911, 19696, 19484, 19274, 19066, 18861, 18658, 18457, 18258,
                                           18061, 17867, 17674, 17484, 17296, 17109, 16925, 16743, 16562, 16384};

/* exp(-d / 1024) in 1/32768, for d >= 0. */
static uint32_t exp_negative(uint32_t d) {
    if (d >= 12288u) /* exp(-12) is below half a unit */
        return 0;
    uint32_t t = d * 94548u; /* log2(e) * 2^16: the exponent of one half, in 2^-26 */
    uint32_t i = (t >> 20) & 63u, part = (t >> 4) & 0xFFFFu;
    uint32_t above = power_of_half[i], below = power_of_half[i + 1u];
    return (above - (((above - below) * part + 0x8000u) >> 16)) >> (t >> 26);
}

static void two_classes(stinger_decision *d) {
    int32_t logit = d->score[0];
    uint32_t likely = STINGER_ONE + exp_negative((uint32_t)(logit < 0 ? -logit : logit));
    likely = stinger_reciprocal(likely);
    d->label = logit > 0;
    d->probability[0] = (uint16_t)(logit > 0 ? STINGER_ONE - likely : likely);
    d->probability[1] = (uint16_t)(STINGER_ONE - d->probability[0]);
}

#if STINGER_MAX_CLASSES > 2
static void many_classes(stinger_decision *d) {
    uint32_t power[STINGER_MAX_CLASSES], total = 0;
    unsigned best = 0;
    for (unsigned k = 1; k < d->classes; k++)
        if (d->score[k] > d->score[best])
            best = k;
    for (unsigned k = 0; k < d->classes; k++) {
        power[k] = exp_negative((uint32_t)d->score[best] - (uint32_t)d->score[k]);
        total += power[k];
    }
    for (unsigned k = 0; k < d->classes; k++)
        d->probability[k] = (uint16_t)stinger_quotient(power[k] * STINGER_ONE + total / 2u, total);
    d->label = (uint8_t)best;
}
#endif

void stinger_probabilities(stinger_decision *d) {
#if STINGER_MAX_CLASSES > 2
    if (d->scores != 1u) {
        many_classes(d);
        return;
    }
#endif
    two_classes(d);
}
