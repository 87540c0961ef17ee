/* Dense networks with int8 or int16 weights, int16 activations and 32-bit accumulators; softmax by table. */
#include "stinger_internal.h"

#define WIDEST (STINGER_MAX_FEATURES > STINGER_MAX_UNITS ? STINGER_MAX_FEATURES : STINGER_MAX_UNITS)

/* round(32768 * 2^(-i / 64)) */
static const uint16_t power_of_half[65] = {
    32768, 32415, 32066, 31720, 31379, 31041, 30706, 30376, 30048, 29725, 29405, 29088, 28774, 28464, 28158, 27855,
    27554, 27258, 26964, 26674, 26386, 26102, 25821, 25543, 25268, 24995, 24726, 24460, 24196, 23936, 23678, 23423,
    23170, 22921, 22674, 22430, 22188, 21949, 21713, 21479, 21247, 21019, 20792, 20568, 20347, 20127, 19911, 19696,
    19484, 19274, 19066, 18861, 18658, 18457, 18258, 18061, 17867, 17674, 17484, 17296, 17109, 16925, 16743, 16562,
    16384};

/* exp(-d / 1024) in 1/32768, for d >= 0. */
static uint32_t exp_negative(uint32_t d) {
    if (d >= 12288u) /* exp(-12) is below half a unit */
        return 0;
    uint32_t t = d * 94548u; /* log2(e) * 2^16: the exponent of one half, in 2^-26 */
    uint32_t i = (t >> 20) & 63u, part = (t >> 4) & 0xFFFFu;
    uint32_t above = power_of_half[i], below = power_of_half[i + 1u];
    return (above - (((above - below) * part) >> 16)) >> (t >> 26);
}

static int32_t accumulate8(const int8_t *weight, const int16_t *input, uint16_t inputs, int32_t acc) {
    const int16_t *end = input + inputs;
    while (end - input >= 4) {
        acc += weight[0] * input[0];
        acc += weight[1] * input[1];
        acc += weight[2] * input[2];
        acc += weight[3] * input[3];
        weight += 4;
        input += 4;
    }
    while (input != end)
        acc += *weight++ * *input++;
    return acc;
}

static int32_t accumulate16(const int16_t *weight, const int16_t *input, uint16_t inputs, int32_t acc) {
    const int16_t *end = input + inputs;
    while (input != end)
        acc += *weight++ * *input++;
    return acc;
}

static int32_t accumulate(const stinger_layer *layer, unsigned row, const int16_t *input) {
    uint32_t first = (uint32_t)row * layer->inputs;
    if (layer->weight8 != NULL)
        return accumulate8(layer->weight8 + first, input, layer->inputs, layer->bias[row]);
    return accumulate16(layer->weight16 + first, input, layer->inputs, layer->bias[row]);
}

static void hidden(const stinger_layer *layer, const int16_t *input, int16_t *output) {
    for (unsigned row = 0; row < layer->rows; row++) {
        int32_t acc = accumulate(layer, row, input);
        uint32_t a = acc > 0 ? (uint32_t)acc >> layer->pre[row] : 0u;
        a = (a > 65535u ? 65535u : a) * layer->scale[row];
        a = (a + (UINT32_C(1) << (layer->post[row] - 1u))) >> layer->post[row];
        output[row] = (int16_t)(a > 32767u ? 32767u : a);
    }
}

static void logits(const stinger_layer *layer, const int16_t *input, int32_t *output) {
    for (unsigned row = 0; row < layer->rows; row++) {
        int32_t a = accumulate(layer, row, input) >> layer->pre[row];
        a = a > 32767 ? 32767 : a < -32768 ? -32768 : a;
        output[row] = (a * (int32_t)layer->scale[row]) >> layer->post[row];
    }
}

static void two_classes(stinger_decision *d) {
    int32_t logit = d->score[0];
    uint32_t likely = STINGER_ONE + exp_negative((uint32_t)(logit < 0 ? -logit : logit));
    likely = ((UINT32_C(1) << 30) + likely / 2u) / likely;
    d->label = logit > 0;
    d->probability[d->label] = (uint16_t)likely;
    d->probability[1 - d->label] = (uint16_t)(STINGER_ONE - likely);
}

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
        d->probability[k] = (uint16_t)((power[k] * STINGER_ONE + total / 2u) / total);
    d->label = (uint8_t)best;
}

void stinger_network_decide(const stinger_network *network, const int16_t *feature, uint8_t features,
                            stinger_decision *d) {
    int16_t buffer[2][WIDEST];
    unsigned in = 0;
    for (unsigned i = 0; i < features; i++) {
        const stinger_scaler *scaler = &network->scaler[i];
        int32_t z = (feature[i] * scaler->scale + scaler->offset) >> scaler->shift;
        buffer[0][i] = (int16_t)(z > 32767 ? 32767 : z < -32767 ? -32767 : z);
    }
    unsigned last = network->layer_count - 1u;
    for (unsigned l = 0; l < last; l++) {
        hidden(&network->layers[l], buffer[in], buffer[1u - in]);
        in = 1u - in;
    }
    logits(&network->layers[last], buffer[in], d->score);
    d->scores = (uint8_t)network->layers[last].rows;
    if (d->scores == 1u)
        two_classes(d);
    else
        many_classes(d);
}
