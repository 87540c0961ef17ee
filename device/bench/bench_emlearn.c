/*
 * A stand-in for stinger_forest.c, for `stinger bench device`: the library's window, features and policy, with a model
 * that emlearn generated behind them. emlearn_model.h is generated: it includes emlearn's header and says what to call.
 *
 * Scores are the bits of the probabilities, so that the host sees every one of them.
 */
#include "stinger_internal.h"

#include "emlearn_model.h"

void stinger_forest_decide(const stinger_forest *forest, const int16_t *feature, stinger_decision *decision) {
    float probability[STINGER_MAX_CLASSES];
    (void)forest;
    bool failed = BENCH_PREDICT(feature, probability) != 0;
    uint8_t best = 0;
    for (uint8_t i = 0; i < decision->classes; i++) {
        const union {
            float value;
            int32_t bits;
        } p = {.value = failed ? -1.0f : probability[i]};
        if (probability[i] > probability[best]) {
            best = i;
        }
        decision->score[i] = p.bits;
        decision->probability[i] = (uint16_t)(probability[i] * (float)STINGER_ONE + 0.5f);
    }
    decision->scores = decision->classes;
    decision->label = best;
}
