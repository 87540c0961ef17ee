/* Dense networks with int8 or int16 weights, int16 activations and 32-bit accumulators. */
#include "stinger_internal.h"

#if defined(__GNUC__) && defined(__ARM_ARCH_6M__) && !defined(STINGER_PLAIN_C)
#define ASSEMBLY 1
#else
#define ASSEMBLY 0
#endif

/* Loops that need all registers. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

#define UNITS STINGER_PADDED(STINGER_MAX_UNITS)
#define INPUTS STINGER_PADDED(STINGER_MAX_FEATURES)
#define WIDEST (INPUTS > UNITS ? INPUTS : UNITS)

/*
 * The inner loops: products of the inputs with four rows of weights side by side are added to four accumulators, modulo
 * 2^32; the exporter proves that what they end as fits int32. Weights are stored as weight + 128 (or + 32768), and the
 * surplus, 128 * sum(input), is taken off beforehand.
 */
#if !ASSEMBLY

static void add_products8(const uint8_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    for (; input != end; input++, weight += 4)
        for (unsigned k = 0; k < 4; k++)
            acc[k] += weight[k] * *input;
}

#if STINGER_WITH_WEIGHTS16
static void add_products16(const uint16_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    for (; input != end; input++, weight += 4)
        for (unsigned k = 0; k < 4; k++)
            acc[k] += weight[k] * *input;
}
#endif

#else

/*
 * The same for the Cortex-M0+, which loads a word in 2 cycles and each further one in 1 more, but a byte in 2. Four
 * weights w0 to w3 come as one word; w3 is what is left of it after a shift by 24 bits, but the others are not cut out:
 * shifted by 16 bits the word is w2 + 256 * w3, so the sum of its products is too large by 256 times the sum that w3
 * gives, and so on down. Subtractions at the end put that right. The sums are in r8 to r11, which can be added to and
 * little else; r12 holds the end.
 */
#define PRODUCTS8(word, input)                                                                                         \
    "lsrs r2, " word ", #24\n muls r2, " input ", r2\n add r11, r2\n"                                                  \
    "lsrs r2, " word ", #16\n muls r2, " input ", r2\n add r10, r2\n"                                                  \
    "lsrs r2, " word ", #8\n muls r2, " input ", r2\n add r9, r2\n"                                                    \
    "muls " word ", " input ", " word "\n add r8, " word "\n"
#define TWO_INPUTS8                                                                                                    \
    "ldmia %[weight]!, {r3, r4}\n ldmia %[input]!, {r5, r6}\n" PRODUCTS8("r3", "r5") PRODUCTS8("r4", "r6")
/* Two words hold four weights of 16 bits. */
#define PRODUCTS16(input, word, low, high)                                                                             \
    "lsrs r2, " word ", #16\n muls r2, " input ", r2\n add " high ", r2\n"                                             \
    "muls " word ", " input ", " word "\n add " low ", " word "\n"
#define INPUT16(input)                                                                                                 \
    "ldmia %[weight]!, {r3, r4}\n" PRODUCTS16(input, "r3", "r8", "r9") PRODUCTS16(input, "r4", "r10", "r11")
#define TWO_INPUTS16 "ldmia %[input]!, {r5, r6}\n" INPUT16("r5") INPUT16("r6")
/* STINGER_STRIDE inputs at a time; then the sums are in a to d. */
#define ADD_PRODUCTS(two_inputs)                                                                                       \
    register uint32_t scratch __asm__("r2") = (uint32_t)end;                                                           \
    register uint32_t a __asm__("r3");                                                                                 \
    register uint32_t b __asm__("r4");                                                                                 \
    register uint32_t c __asm__("r5");                                                                                 \
    register uint32_t d __asm__("r6");                                                                                 \
    __asm__ volatile(".syntax unified\n mov r12, r2\n movs r2, #0\n"                                                   \
                     "mov r8, r2\n mov r9, r2\n mov r10, r2\n mov r11, r2\n"                                           \
                     "1:\n" two_inputs two_inputs two_inputs two_inputs "cmp %[input], r12\n bne 1b\n"                 \
                     "mov r3, r8\n mov r4, r9\n mov r5, r10\n mov r6, r11\n"                                           \
                     : [weight] "+l"(weight), [input] "+l"(input), "+l"(scratch), "=&l"(a), "=&l"(b), "=&l"(c),        \
                       "=&l"(d)                                                                                        \
                     :                                                                                                 \
                     : "r8", "r9", "r10", "r11", "r12", "cc", "memory")

static void add_products8(const uint8_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    ADD_PRODUCTS(TWO_INPUTS8);
    acc[0] += a - (b << 8);
    acc[1] += b - (c << 8);
    acc[2] += c - (d << 8);
    acc[3] += d;
}

#if STINGER_WITH_WEIGHTS16
static void add_products16(const uint16_t *weight, const uint32_t *input, const uint32_t *end, uint32_t *acc) {
    ADD_PRODUCTS(TWO_INPUTS16);
    acc[0] += a - (b << 16);
    acc[1] += b;
    acc[2] += c - (d << 16);
    acc[3] += d;
}
#endif

#endif

/* The first row of a group of four: the only one of a layer with one output. */
NOINLINE static uint32_t one_product(const stinger_layer *layer, const uint32_t *input, const uint32_t *end) {
    uint32_t acc = 0;
    if (!STINGER_WITH_WEIGHTS16 || layer->weight8 != NULL)
        for (const uint8_t *weight = layer->weight8; input != end; weight += 8, input += 2)
            acc += weight[0] * input[0] + weight[4] * input[1];
    else
        for (const uint16_t *weight = layer->weight16; input != end; weight += 8, input += 2)
            acc += weight[0] * input[0] + weight[4] * input[1];
    return acc;
}

/* The accumulators of a layer; there is room for a multiple of four. `sum` is that of the inputs. */
static void accumulate(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *acc) {
    const uint32_t *end = input + layer->inputs, *stop = acc + layer->rows;
    const uint8_t *weight8 = layer->weight8;
    const stinger_row *row = layer->row;
    uint32_t surplus = sum << (!STINGER_WITH_WEIGHTS16 || weight8 != NULL ? 7 : 15);
#if STINGER_WITH_WEIGHTS16
    const uint16_t *weight16 = layer->weight16;
#endif
    if (layer->rows == 1u) {
        *acc = (uint32_t)row->bias - surplus + one_product(layer, input, end);
        return;
    }
    for (; acc < stop; acc += 4, row += 4) {
        acc[0] = (uint32_t)row[0].bias - surplus;
        acc[1] = (uint32_t)row[1].bias - surplus;
        acc[2] = (uint32_t)row[2].bias - surplus;
        acc[3] = (uint32_t)row[3].bias - surplus;
#if STINGER_WITH_WEIGHTS16
        if (weight8 == NULL) {
            add_products16(weight16, input, end, acc);
            weight16 += 4u * layer->inputs;
            continue;
        }
#endif
        add_products8(weight8, input, end, acc);
        weight8 += 4u * layer->inputs;
    }
}

/* Accumulators to outputs of a hidden layer, in place, and padding. Returns their sum. */
NOINLINE static uint32_t rectify(const stinger_layer *layer, uint32_t *value) {
    const stinger_row *row = layer->row, *stop = row + layer->rows;
    uint32_t sum = 0;
    do {
        uint32_t a = *value;
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
    for (unsigned count = layer->rows; count % STINGER_STRIDE != 0; count++)
        *value++ = 0;
    return sum;
}

static int32_t to_logit(const stinger_row *row, uint32_t acc) {
    int32_t a = (int32_t)acc >> row->pre;
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

uint32_t stinger_scale(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output) {
    uint32_t sum = scale_all(scaler, feature, features, output);
    for (output += features; features % STINGER_STRIDE != 0; features++)
        *output++ = 0;
    return sum;
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
    accumulate(layer, input, sum, output);
    return rectify(layer, output);
}

void stinger_layer_last(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output,
                        stinger_decision *d) {
    accumulate(layer, input, sum, output);
    for (unsigned k = 0; k < layer->rows; k++)
        d->score[k] = to_logit(&layer->row[k], output[k]);
    d->scores = (uint8_t)layer->rows;
    stinger_probabilities(d);
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
    stinger_layer_last(last, input, sum, output, d);
}
