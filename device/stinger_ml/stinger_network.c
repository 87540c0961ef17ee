/* Dense networks with int8 or int16 weights, int16 activations and 32-bit accumulators. */
#include "stinger_internal.h"

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#define COMPUTE_NOW(a, b, c, d) __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(weight), "+r"(input))
#else
#define NOINLINE
#define COMPUTE_NOW(a, b, c, d) (void)0
#endif

#define UNITS STINGER_PADDED(STINGER_MAX_UNITS)
#define INPUTS STINGER_PADDED(STINGER_MAX_FEATURES)
#define WIDEST (INPUTS > UNITS ? INPUTS : UNITS)

/*
 * The inner loops. Weights are stored as weight + 128 (or + 32768) because the Cortex-M0+ loads unsigned bytes with an
 * immediate offset but signed ones only with a register; the surplus, 128 * sum(input), is taken off beforehand. Four
 * rows share each load of an input. Arithmetic is modulo 2^32 on the way; the exporter proves that the sum fits int32.
 * Out of line and in order, so that the loop fits the eight low registers: left alone, compilers hoist loads and spill.
 */
#define STEP(k)                                                                                                        \
    x = input[k];                                                                                                      \
    a += weight[4 * (k)] * x;                                                                                          \
    b += weight[4 * (k) + 1] * x;                                                                                      \
    c += weight[4 * (k) + 2] * x;                                                                                      \
    d += weight[4 * (k) + 3] * x;                                                                                      \
    COMPUTE_NOW(a, b, c, d)
#define STEPS()                                                                                                        \
    uint32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3], x;                                                        \
    do {                                                                                                               \
        STEP(0);                                                                                                       \
        STEP(1);                                                                                                       \
        STEP(2);                                                                                                       \
        STEP(3);                                                                                                       \
        STEP(4);                                                                                                       \
        STEP(5);                                                                                                       \
        STEP(6);                                                                                                       \
        STEP(7);                                                                                                       \
        weight += 4 * STINGER_STRIDE;                                                                                  \
        input += STINGER_STRIDE;                                                                                       \
    } while (input != end);                                                                                            \
    acc[0] = a;                                                                                                        \
    acc[1] = b;                                                                                                        \
    acc[2] = c;                                                                                                        \
    acc[3] = d

NOINLINE static void accumulate8(const uint8_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    STEPS();
}

NOINLINE static void accumulate16(const uint16_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    STEPS();
}

NOINLINE static uint32_t sum_of(const uint32_t *input, const uint32_t *end) {
    uint32_t sum = 0;
    do {
        sum += input[0] + input[1] + input[2] + input[3] + input[4] + input[5] + input[6] + input[7];
        input += STINGER_STRIDE;
    } while (input != end);
    return sum;
}

/* Accumulators of four rows to outputs. */
NOINLINE static void rectify(const stinger_row *row, const uint32_t *acc, uint32_t *output) {
    for (const uint32_t *stop = acc + 4; acc != stop; acc++, row++) {
        uint32_t a = (int32_t)*acc > 0 ? *acc >> row->pre : 0u;
        a = (a > 65535u ? 65535u : a) * row->scale;
        a = (a + (UINT32_C(1) << (row->post - 1u))) >> row->post;
        *output++ = a > 32767u ? 32767u : a;
    }
}

NOINLINE static void to_logits(const stinger_row *row, const uint32_t *acc, uint32_t *output) {
    for (const uint32_t *stop = acc + 4; acc != stop; acc++, row++) {
        int32_t a = (int32_t)*acc >> row->pre;
        a = a > 32767 ? 32767 : a < -32768 ? -32768 : a;
        *output++ = (uint32_t)((a * (int32_t)row->scale) >> row->post);
    }
}

/* One layer; the output has room for a multiple of four rows. */
static void run_layer(const stinger_layer *layer, const uint32_t *input, uint32_t *output,
                      void (*finish)(const stinger_row *, const uint32_t *, uint32_t *)) {
    const uint32_t *end = input + layer->inputs;
    uint32_t surplus = sum_of(input, end) << (layer->weight8 != NULL ? 7 : 15);

    const uint8_t *weight8 = layer->weight8;
    const uint16_t *weight16 = layer->weight16;
    const stinger_row *row = layer->row, *stop = row + layer->rows;
    for (; row < stop; row += 4, output += 4) {
        uint32_t acc[4];
        for (unsigned k = 0; k < 4; k++)
            acc[k] = (uint32_t)row[k].bias - surplus;
        if (weight8 != NULL) {
            accumulate8(weight8, input, end, acc);
            weight8 += 4u * layer->inputs;
        } else {
            accumulate16(weight16, input, end, acc);
            weight16 += 4u * layer->inputs;
        }
        finish(row, acc, output);
    }
}

void stinger_layer_hidden(const stinger_layer *layer, const uint32_t *input, uint32_t *output) {
    run_layer(layer, input, output, rectify);
}

void stinger_layer_last(const stinger_layer *layer, const uint32_t *input, uint32_t *output) {
    run_layer(layer, input, output, to_logits);
}

void stinger_scale(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output) {
    for (unsigned i = 0; i < features; i++) {
        int32_t z = (feature[i] * scaler[i].scale + scaler[i].offset) >> scaler[i].shift;
        output[i] = (uint32_t)(z > 32767 ? 32767 : z < -32767 ? -32767 : z);
    }
}

static void pad(uint32_t *values, unsigned count) {
    for (; count % STINGER_STRIDE != 0; count++)
        values[count] = 0;
}

void stinger_network_decide(const stinger_network *network, const int16_t *feature, uint16_t features,
                            stinger_decision *d) {
    uint32_t one[WIDEST], other[UNITS]; /* signed values, two's complement */
    uint32_t *input = one, *output = other;
    stinger_scale(network->scaler, feature, features, input);
    pad(input, features);
    const stinger_layer *layer = network->layers, *last = layer + network->layer_count - 1;
    for (; layer != last; layer++) {
        stinger_layer_hidden(layer, input, output);
        pad(output, layer->rows);
        uint32_t *taken = input;
        input = output;
        output = taken;
    }
    stinger_layer_last(last, input, output);
    for (unsigned k = 0; k < last->rows; k++)
        d->score[k] = (int32_t)output[k];
    d->scores = (uint8_t)last->rows;
    stinger_probabilities(d);
}
