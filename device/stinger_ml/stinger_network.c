/* Dense networks with int8 or int16 weights, int16 activations and 32-bit accumulators. */
#include "stinger_internal.h"

#if defined(__GNUC__) && defined(__ARM_ARCH_6M__) && !defined(STINGER_PLAIN_C)
#define ASSEMBLY 1
#else
#define ASSEMBLY 0
#endif

#define UNITS STINGER_PADDED(STINGER_MAX_UNITS)
#define INPUTS STINGER_PADDED(STINGER_MAX_FEATURES)
#define WIDEST (INPUTS > UNITS ? INPUTS : UNITS)
#define ROW_GROUP 4u
/* Two classes take one row. */
#define ONE_ROW(layer) (STINGER_MAX_CLASSES == 2 || (layer)->rows == 1u)

static inline bool is8(const stinger_layer *layer) {
    return !STINGER_WITH_WEIGHTS16 || layer->weight8 != NULL;
}

/*
 * The inner loops: for each group of four rows, the products of the inputs with the four rows' weights, which lie side by
 * side, are added up, modulo 2^32. Weights are stored as weight + 128 (or + 32768); what that makes too much of the sums,
 * 128 * sum(input), is the same for all rows and taken off afterwards, when their biases are added. The exporter proves
 * that what comes out then fits int32.
 */
#if !ASSEMBLY

static void add_products8(const uint8_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc,
                          const uint32_t *stop) {
    for (; acc < stop; acc += 4) {
        acc[0] = acc[1] = acc[2] = acc[3] = 0;
        for (const uint32_t *at = input; at != end; at++, weight += 4)
            for (unsigned k = 0; k < 4; k++)
                acc[k] += weight[k] * *at;
    }
}

#if STINGER_WITH_WEIGHTS16
static void add_products16(const uint16_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc,
                           const uint32_t *stop) {
    for (; acc < stop; acc += 4) {
        acc[0] = acc[1] = acc[2] = acc[3] = 0;
        for (const uint32_t *at = input; at != end; at++, weight += 4)
            for (unsigned k = 0; k < 4; k++)
                acc[k] += weight[k] * *at;
    }
}
#endif

#else

/*
 * The same for the Cortex-M0+, which loads a word in 2 cycles and each further one in 1 more, but a byte in 2. Four
 * weights w0 to w3 come as one word; w3 is what is left of it after a shift by 24 bits, but the others are not cut out:
 * shifted by 16 bits the word is w2 + 256 * w3, so the sum of its products is too large by 256 times the sum that w3
 * gives, and so on down. Subtractions at the end put that right. The sums are in r8 to r11, which can be added to and
 * little else; r12 holds the end of the inputs, the stack their beginning and where the last sums go.
 */
#define PRODUCTS8(word, input)                                                                                         \
    "lsrs r2, " word ", #24\n muls r2, " input ", r2\n add r11, r2\n"                                                  \
    "lsrs r2, " word ", #16\n muls r2, " input ", r2\n add r10, r2\n"                                                  \
    "lsrs r2, " word ", #8\n muls r2, " input ", r2\n add r9, r2\n"                                                    \
    "muls " word ", " input ", " word "\n add r8, " word "\n"
#define TWO_INPUTS8                                                                                                    \
    "ldmia %[weight]!, {r3, r4}\n ldmia %[input]!, {r5, r6}\n" PRODUCTS8("r3", "r5") PRODUCTS8("r4", "r6")
#define LESS8                                                                                                          \
    "lsls r2, r4, #8\n subs r3, r3, r2\n lsls r2, r5, #8\n subs r4, r4, r2\n lsls r2, r6, #8\n subs r5, r5, r2\n"
/* Two words hold four weights of 16 bits. */
#define PRODUCTS16(input, word, low, high)                                                                             \
    "lsrs r2, " word ", #16\n muls r2, " input ", r2\n add " high ", r2\n"                                             \
    "muls " word ", " input ", " word "\n add " low ", " word "\n"
#define INPUT16(input)                                                                                                 \
    "ldmia %[weight]!, {r3, r4}\n" PRODUCTS16(input, "r3", "r8", "r9") PRODUCTS16(input, "r4", "r10", "r11")
#define TWO_INPUTS16 "ldmia %[input]!, {r5, r6}\n" INPUT16("r5") INPUT16("r6")
#define LESS16 "lsls r2, r4, #16\n subs r3, r3, r2\n lsls r2, r6, #16\n subs r5, r5, r2\n"
#define ADD_PRODUCTS(two_inputs, less)                                                                                 \
    register uint32_t scratch __asm__("r2") = (uint32_t)end;                                                           \
    register uint32_t last __asm__("r3") = (uint32_t)stop;                                                             \
    __asm__ volatile(".syntax unified\n push {%[input], r3}\n mov r12, r2\n"                                           \
                     "1: ldr %[input], [sp]\n movs r2, #0\n mov r8, r2\n mov r9, r2\n mov r10, r2\n mov r11, r2\n"     \
                     "2:\n" two_inputs "cmp %[input], r12\n bne 2b\n"                                                  \
                     "mov r3, r8\n mov r4, r9\n mov r5, r10\n mov r6, r11\n" less                                      \
                     "stmia %[acc]!, {r3, r4, r5, r6}\n ldr r2, [sp, #4]\n cmp %[acc], r2\n blo 1b\n add sp, #8\n"     \
                     : [weight] "+l"(weight), [input] "+l"(input), [acc] "+l"(acc), "+l"(scratch), "+l"(last)          \
                     :                                                                                                 \
                     : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory")

static void add_products8(const uint8_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc,
                          const uint32_t *stop) {
    ADD_PRODUCTS(TWO_INPUTS8, LESS8);
}

#if STINGER_WITH_WEIGHTS16
static void add_products16(const uint16_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc,
                           const uint32_t *stop) {
    ADD_PRODUCTS(TWO_INPUTS16, LESS16);
}
#endif

#endif

/* One row, whose weights are `apart` places from one another; two inputs at a time. */
STINGER_NOINLINE static uint32_t one_product(const stinger_layer *layer, const uint32_t *input, const uint32_t *end,
                                             unsigned apart) {
    uint32_t acc = 0;
    if (is8(layer))
        for (const uint8_t *weight = layer->weight8; input != end; weight += 2u * apart, input += 2)
            acc += weight[0] * input[0] + weight[apart] * input[1];
#if STINGER_WITH_WEIGHTS16
    else
        for (const uint16_t *weight = layer->weight16; input != end; weight += 2u * apart, input += 2)
            acc += weight[0] * input[0] + weight[apart] * input[1];
#endif
    return acc;
}

/* The sums of a layer; there is room for a multiple of four. */
STINGER_NOINLINE static void accumulate(const stinger_layer *layer, const uint32_t *input, uint32_t *acc) {
    const uint32_t *end = input + layer->inputs, *stop = acc + layer->rows;
#if STINGER_WITH_WEIGHTS16
    if (!is8(layer)) {
        add_products16(layer->weight16, input, end, acc, stop);
        return;
    }
#endif
    add_products8(layer->weight8, input, end, acc, stop);
}

/* What a row's weights, stored without sign, add to its sum too much, when the inputs' is `sum`. */
static uint32_t surplus_of(const stinger_layer *layer, uint32_t sum) {
    return sum << (is8(layer) ? 7 : 15);
}

/* Sums to outputs of a hidden layer, in place. Returns the sum of the outputs. */
#if !ASSEMBLY

static uint32_t rectify(const stinger_row *row, const stinger_row *stop, uint32_t *value, uint32_t surplus) {
    uint32_t sum = 0;
    do {
        uint32_t a = *value + (uint32_t)row->bias - surplus;
        if ((int32_t)a > 0) {
            a >>= row->pre;
            if (a >> 16 != 0)
                a = 65535u;
            a = (a * row->scale) >> (row->post - 1u);
            a = (a + 1u) >> 1; /* rounded */
            if (a >> 15 != 0)
                a = 32767u;
            sum += a;
        } else {
            a = 0; /* rounding does not make more of it */
        }
        *value++ = a;
    } while (++row != stop);
    return sum;
}

#else

typedef char stinger_assert_row[offsetof(stinger_row, bias) == 0 && offsetof(stinger_row, scale) == 4 &&
                                        offsetof(stinger_row, pre) == 6 && offsetof(stinger_row, post) == 7 &&
                                        sizeof(stinger_row) == 8
                                    ? 1
                                    : -1];

/*
 * A row comes as two words, of which the second is scale and both shifts. The last bit that the second shift drops, the
 * carry, is the one to round by. r8 holds the end, r9 the sum.
 */
static uint32_t rectify(const stinger_row *row, const stinger_row *stop, uint32_t *value, uint32_t surplus) {
    register uint32_t sum __asm__("r2") = (uint32_t)stop;
    __asm__ volatile(".syntax unified\n mov r8, r2\n movs r2, #0\n mov r9, r2\n"
                     "1: ldmia %[row]!, {r4, r5}\n ldr r2, [%[value]]\n adds r4, r4, r2\n subs r4, r4, %[surplus]\n"
                     "cmp r4, #0\n ble 5f\n"
                     "lsrs r6, r5, #16\n lsrs r4, r6\n lsrs r2, r4, #16\n bne 4f\n"
                     "2: uxth r5, r5\n muls r4, r5, r4\n lsrs r6, r6, #8\n movs r2, #0\n lsrs r4, r6\n adcs r4, r2\n"
                     "lsrs r2, r4, #15\n bne 6f\n"
                     "3: add r9, r4\n stmia %[value]!, {r4}\n cmp %[row], r8\n bne 1b\n"
                     "mov r2, r9\n b 7f\n"
                     "4: movs r4, #0\n mvns r4, r4\n uxth r4, r4\n b 2b\n"
                     "5: movs r4, #0\n b 3b\n"
                     "6: movs r4, #0\n mvns r4, r4\n lsrs r4, r4, #17\n b 3b\n"
                     "7:\n"
                     : [row] "+l"(row), [value] "+l"(value), "+l"(sum)
                     : [surplus] "l"(surplus)
                     : "r4", "r5", "r6", "r8", "r9", "cc", "memory");
    return sum;
}

#endif

static int32_t to_logit(const stinger_row *row, uint32_t acc) {
    int32_t a = (int32_t)(acc + (uint32_t)row->bias) >> row->pre;
    a = a > 32767 ? 32767 : a < -32768 ? -32768 : a;
    return (a * (int32_t)row->scale) >> row->post;
}

#if !ASSEMBLY

static uint32_t scale_all(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output) {
    uint32_t sum = 0;
    const stinger_scaler *stop = scaler + features;
    do {
        int32_t z = (*feature++ * scaler->scale + scaler->offset) >> scaler->shift;
        if ((uint32_t)z + 32767u > 65534u)
            z = z < 0 ? -32767 : 32767;
        *output++ = (uint32_t)z;
        sum += (uint32_t)z;
    } while (++scaler != stop);
    return sum;
}

#else

typedef char stinger_assert_scale[offsetof(stinger_scaler, offset) == 0 && offsetof(stinger_scaler, scale) == 4 &&
                                          offsetof(stinger_scaler, shift) == 6 && sizeof(stinger_scaler) == 8
                                      ? 1
                                      : -1];

/*
 * The same in 23 cycles a feature, where compilers take 30 to 40. A scaler comes as two words, of which the second is
 * scale and shift; shifts only look at the last eight bits. r8 to r10 hold the end and what limits, r11 the sum.
 */
static uint32_t scale_all(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output) {
    register uint32_t sum __asm__("r2") = (uint32_t)(scaler + features);
    register uint32_t most __asm__("r4") = 32767u;
    __asm__ volatile(".syntax unified\n mov r8, r2\n mov r9, r4\n adds r4, r4, r4\n mov r10, r4\n"
                     "movs r4, #0\n mov r11, r4\n"
                     "1: ldmia %[scaler]!, {r5, r6}\n"
                     "movs r2, #0\n ldrsh r4, [%[feature], r2]\n adds %[feature], #2\n"
                     "sxth r2, r6\n muls r4, r2, r4\n adds r4, r4, r5\n lsrs r6, r6, #16\n asrs r4, r6\n"
                     "movs r2, r4\n add r2, r9\n cmp r2, r10\n bhi 3f\n"
                     "2: stmia %[output]!, {r4}\n add r11, r4\n cmp %[scaler], r8\n bne 1b\n"
                     "mov r2, r11\n b 4f\n"
                     "3: asrs r2, r4, #31\n mov r4, r9\n eors r4, r2\n subs r4, r4, r2\n b 2b\n"
                     "4:\n"
                     : [scaler] "+l"(scaler), [feature] "+l"(feature), [output] "+l"(output), "+l"(sum), "+l"(most)
                     :
                     : "r5", "r6", "r8", "r9", "r10", "r11", "cc", "memory");
    return sum;
}

#endif

/*
 * `count` numbers are written to `output`: zeros behind them, as far as the next layer may read. Rows of images are padded
 * to whole strides, those of generated networks to pairs; convolutions see to it themselves.
 */
static void pad(uint32_t *output, unsigned count) {
#ifdef STINGER_ONLY_MODEL
    if (count % 2u != 0)
        output[count] = 0;
#else
    for (; count % STINGER_STRIDE != 0; count++)
        output[count] = 0;
#endif
}

uint32_t stinger_scale(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output) {
    pad(output, features);
    return scale_all(scaler, feature, features, output);
}

uint32_t stinger_sum(const uint32_t *input, const uint32_t *end) {
    uint32_t sum = 0;
    do {
        sum += input[0] + input[1] + input[2] + input[3] + input[4] + input[5] + input[6] + input[7];
        input += STINGER_STRIDE;
    } while (input != end);
    return sum;
}

uint32_t stinger_layer_hidden(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output) {
    accumulate(layer, input, output);
    pad(output, layer->rows);
    return rectify(layer->row, layer->row + layer->rows, output, surplus_of(layer, sum));
}

/* `apart`: of the weights of an only row. */
static void last_layer(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output,
                       unsigned apart, stinger_decision *d) {
    uint32_t surplus = surplus_of(layer, sum);
    if (ONE_ROW(layer)) {
        d->scores = 1;
        d->score[0] = to_logit(layer->row, one_product(layer, input, input + layer->inputs, apart) - surplus);
    } else {
        d->scores = (uint8_t)layer->rows;
        accumulate(layer, input, output);
        for (unsigned k = 0; k < layer->rows; k++)
            d->score[k] = to_logit(&layer->row[k], output[k] - surplus);
    }
    stinger_probabilities(d);
}

void stinger_layer_last(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output,
                        stinger_decision *d) {
    last_layer(layer, input, sum, output, ROW_GROUP, d);
}

void stinger_network_decide(const stinger_network *network, const int16_t *feature, uint16_t features,
                            stinger_decision *d) {
    uint32_t one[WIDEST], other[UNITS]; /* signed values, two's complement */
    uint32_t *input = one, *output = other;
    const stinger_layer *layer = network->layers, *last = layer + network->layer_count - 1;
    uint32_t sum = stinger_scale(network->scaler, feature, features, input);
    for (; layer != last; layer++) {
        sum = stinger_layer_hidden(layer, input, sum, output);
        uint32_t *taken = input;
        input = output;
        output = taken;
    }
    last_layer(last, input, sum, output, network->alone ? 1u : ROW_GROUP, d);
}
