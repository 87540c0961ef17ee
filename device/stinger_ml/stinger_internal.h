/* Shared between the files of stinger_ml; not for users. */
#ifndef STINGER_INTERNAL_H
#define STINGER_INTERNAL_H

#include "stinger_ml.h"

#include <stddef.h>

/* Signed right shifts below mean floor division, as on every compiler this is built with; refuse any other. */
typedef char stinger_assert_arithmetic_shift[((-3) >> 1) == -2 ? 1 : -1];

/*
 * NOINLINE keeps code that is used more than once from being there more than once, or a loop out of the registers of
 * another; OPAQUE a loop of a few turns from being rewritten, into a division or into more code.
 */
#if defined(__GNUC__)
#define STINGER_NOINLINE __attribute__((noinline))
#define STINGER_OPAQUE(x) __asm__ volatile("" : "+r"(x))
#else
#define STINGER_NOINLINE
#define STINGER_OPAQUE(x) (void)0
#endif
/* For clang, whose -Os otherwise unrolls and copies what runs once a sample. */
#if defined(__clang__)
#define STINGER_SMALL __attribute__((minsize))
#else
#define STINGER_SMALL
#endif

/* In a build for one model, everything that it was built with is there: nothing needs to be asked for. */
#ifdef STINGER_ONLY_MODEL
#define STINGER_HAS(pointer) true
#else
#define STINGER_HAS(pointer) ((pointer) != NULL)
#endif

/* Of a model, and of a stream's. Where they are constant, loops and products become shorter. */
#ifdef STINGER_ONLY_MODEL
static inline unsigned stinger_triads(const stinger_model *model) {
    (void)model;
    return STINGER_MODEL_TRIADS;
}
static inline stinger_feature_set stinger_set(const stinger_model *model) {
    (void)model;
    return STINGER_MODEL_FEATURE_SET;
}
#else
static inline unsigned stinger_triads(const stinger_model *model) {
    return model->triad_count;
}
static inline stinger_feature_set stinger_set(const stinger_model *model) {
    return model->feature_set;
}
#endif
static inline unsigned stinger_window(const stinger_stream *stream) {
    return STINGER_FIXED_SHAPE ? STINGER_MAX_WINDOW : stream->model->window;
}
static inline unsigned stinger_channels(const stinger_stream *stream) {
    return STINGER_FIXED_SHAPE ? STINGER_MAX_CHANNELS : stream->model->channels;
}

/* Bits of n, for n from 1 to 1024: of a constant, a constant. */
#define STINGER_BITS(n)                                                                                                \
    (1u + ((n) > 1) + ((n) > 3) + ((n) > 7) + ((n) > 15) + ((n) > 31) + ((n) > 63) + ((n) > 127) + ((n) > 255) +       \
     ((n) > 511) + ((n) > 1023))
static inline unsigned stinger_bits(const stinger_stream *stream) {
    return STINGER_FIXED_SHAPE ? STINGER_BITS(STINGER_MAX_WINDOW) : stream->bits;
}
static inline unsigned stinger_scaled(const stinger_stream *stream) {
    return STINGER_FIXED_SHAPE ? (UINT32_MAX / (2u * STINGER_MAX_WINDOW)) >> (16u - STINGER_BITS(STINGER_MAX_WINDOW))
                               : stream->scaled;
}

/* A full window: the features are written to feature[0 .. model->features). */
void stinger_features(const stinger_stream *stream, int16_t *feature);

/* Running sums of the window after one sample came in at ring position `at`; `full` when it displaces the oldest. */
void stinger_features_add(stinger_stream *stream, const int16_t *sample, uint16_t at, bool full);

/* The same for what `coupled` has beyond `rich`; stinger_coupled writes 36 features. */
void stinger_coupled(const stinger_stream *stream, int16_t *feature);
void stinger_coupled_add(stinger_stream *stream, const int16_t *sample, uint16_t at, bool full);

/* All of `invariant` and `invariant_rich`, the same way; of channels, only those for a feature or the gate are summed. */
static inline bool stinger_is_invariant(const stinger_model *model) {
    return stinger_set(model) == STINGER_INVARIANT || stinger_set(model) == STINGER_INVARIANT_RICH;
}
void stinger_invariant(const stinger_stream *stream, int16_t *feature);
void stinger_invariant_add(stinger_stream *stream, const int16_t *sample, uint16_t at, bool full);
void stinger_invariant_init(stinger_stream *stream);
void stinger_invariant_clear(stinger_stream *stream);

/* The same for `magnetic`. */
void stinger_magnetic(const stinger_stream *stream, int16_t *feature);
void stinger_magnetic_add(stinger_stream *stream, const int16_t *sample, uint16_t at, bool full);
void stinger_magnetic_init(stinger_stream *stream);
void stinger_magnetic_clear(stinger_stream *stream);

/* The same for `flatten`: the window as it is, and of the sums only those that the policy's gate needs. */
void stinger_flatten(const stinger_stream *stream, int16_t *feature);
void stinger_flatten_add(stinger_stream *stream, const int16_t *sample, uint16_t at, bool full);

/* 2^24 / sqrt((i + 1/2) * 2^24) - 256, rounded, for i = 64 to 255. */
extern const uint8_t stinger_reciprocal_root[192];
/*
 * The integer root of m, which is at least 2^30: one step of Newton's from the table. Tried for every m: 0 too small in
 * five cases of six, 1 in nearly all others, never more than 2, and never too large.
 */
static inline uint32_t stinger_root_below(uint32_t m) {
    uint32_t y = 256u + stinger_reciprocal_root[(m >> 24) - 64u];
    uint32_t root = ((m >> 16) * y) >> 8;
    int32_t error = (int32_t)(m - root * root);
    return root + (uint32_t)(((error >> 8) * (int32_t)y) >> 17);
}
/* 32 x 32 -> 64 bits. */
uint64_t stinger_multiply(uint32_t a, uint32_t b);
/* 2^30 / d, rounded, for d from 2^15 to 2^16. */
uint32_t stinger_reciprocal(uint32_t d);
/* floor(x / d) for d < 2^28 and a quotient below 2^16. */
uint32_t stinger_quotient(uint32_t x, uint32_t d);
/* floor((2^32 - 1) / d) for d from 2 to 2^16 - 1. */
uint32_t stinger_inverse(uint32_t d);
/* floor(x / d) for d below 2^16 and its inverse. */
uint32_t stinger_divide(uint32_t x, uint32_t d, uint32_t reciprocal);

/* floor(x / d) for d < 2^42, at most 65535. */
uint32_t stinger_wide_quotient(uint64_t x, uint64_t d);
/* ratio of stinger.features.arithmetic, at most 32767: p < 2^45, q < 2^41. */
uint32_t stinger_ratio(uint64_t p, uint64_t q, uint32_t otherwise);
/* The standard deviation in units of 2^`shift` counts, rounded; its half counts are rounded down to half units first. */
int16_t stinger_deviation(const stinger_stream *stream, const stinger_running *running, unsigned shift);

/* At most 32767. */
static inline int16_t stinger_limit(uint32_t x) {
    return (int16_t)(x >> 15 != 0 ? 32767u : x); /* so compilers need one constant, not two */
}

/* Whether a step of time is more than one and a half periods; written so that no period makes it wrap. */
static inline bool stinger_is_gap(uint32_t step, uint32_t period) {
    return step > period && step - period > period / 2u;
}

/* n rounded up to whole strides. */
#define STINGER_PADDED(n) (((n) + STINGER_STRIDE - 1) / STINGER_STRIDE * STINGER_STRIDE)

/* The layers of networks. Outputs have room for a multiple of STINGER_STRIDE, and are padded to it. */
/* Features to inputs; returns their sum. */
uint32_t stinger_scale(const stinger_scaler *scaler, const int16_t *feature, unsigned features, uint32_t *output);
/* The sum of inputs, whose number is a multiple of STINGER_STRIDE. */
uint32_t stinger_sum(const uint32_t *input, const uint32_t *end);
/* One hidden layer, of inputs with that sum; returns the sum of its outputs. */
uint32_t stinger_layer_hidden(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output);
/* The last layer, to the scores and probabilities of a decision; `output` is for what lies between. */
void stinger_layer_last(const stinger_layer *layer, const uint32_t *input, uint32_t sum, uint32_t *output,
                        stinger_decision *decision);

/* Whether the layers of a convolutional model fit each other and this build. */
bool stinger_convolution_fits(const stinger_model *model);
void stinger_convolution_decide(const stinger_model *model, uint32_t *activation, stinger_decision *decision);

void stinger_network_decide(const stinger_network *network, const int16_t *feature, uint16_t features,
                            stinger_decision *decision);
void stinger_forest_decide(const stinger_forest *forest, const int16_t *feature, stinger_decision *decision);
void stinger_boosted_decide(const stinger_boosted *boosted, const int16_t *feature, stinger_decision *decision);

/* From decision->score, logits in 1/1024, to label and probabilities. */
void stinger_probabilities(stinger_decision *decision);

#endif
