/*
 * stinger_ml: a classifier on a stream of IMU samples, in integers only.
 *
 * C99, no heap, no floating point, no recursion, static sizes. The same files run on the host and on the board
 * and give the same bits; `stinger_export.integer` is the same arithmetic in numpy.
 *
 * Use:
 *     static stinger_stream stream;
 *     stinger_stream_init(&stream, &stinger_model_data);        // the generated model
 *     ...for every sample:
 *     if (stinger_stream_push(&stream, sample, t_us, false)) {  // true once the window is full
 *         stinger_decision d;
 *         stinger_stream_decide(&stream, &d);                   // d.label, d.probability[...], d.on
 *     }
 *     bool on = stinger_stream_on(&stream);                     // what the policy says, window full or not
 *
 * A stream needs no lock as long as one context uses it. Nothing here blocks or fails: a model that does not fit
 * the compiled-in limits is refused once, by stinger_stream_init.
 */
#ifndef STINGER_ML_H
#define STINGER_ML_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Limits of this build. An exported model brings a stinger_limits.h with its exact sizes. Beside it, firmware that runs
 * this model and never another, not even an uploaded one, may define STINGER_ONLY_MODEL as its name, stinger_model_data:
 * checks of models are then left out, and stinger_stream_init refuses all but this one.
 */
#ifdef STINGER_LIMITS_H
#include STINGER_LIMITS_H
#endif
#ifndef STINGER_MAX_WINDOW
#define STINGER_MAX_WINDOW 64 /* samples, at most 1024 */
#endif
#ifndef STINGER_MAX_CHANNELS
#define STINGER_MAX_CHANNELS 6
#endif
#define STINGER_TRIADS 3 /* such as accelerometer, gyroscope and magnetometer */
#ifndef STINGER_MAX_TRIADS
#define STINGER_MAX_TRIADS 2 /* at least 1, at most STINGER_TRIADS */
#endif
#ifndef STINGER_MAX_CLASSES
#define STINGER_MAX_CLASSES 8
#endif
#ifndef STINGER_MAX_UNITS
#define STINGER_MAX_UNITS 64 /* widest layer of a network, at least 1 */
#endif
#ifndef STINGER_MAX_ACTIVATIONS
#define STINGER_MAX_ACTIVATIONS 2048 /* numbers that a convolution takes and gives; see stinger_convolution */
#endif
#ifndef STINGER_WITH_NETWORKS
#define STINGER_WITH_NETWORKS 1 /* 0 leaves their code out, and refuses such models */
#endif
#ifndef STINGER_WITH_WEIGHTS16
#define STINGER_WITH_WEIGHTS16 1 /* layers with weights of 16 bits */
#endif
#ifndef STINGER_WITH_FORESTS
#define STINGER_WITH_FORESTS 1
#endif
#ifndef STINGER_WITH_BOOSTED
#define STINGER_WITH_BOOSTED 1
#endif
#ifndef STINGER_WITH_CONVOLUTIONS
#define STINGER_WITH_CONVOLUTIONS 1 /* a stream then has 4 * STINGER_MAX_ACTIVATIONS bytes more */
#endif
#ifndef STINGER_WITH_POLICIES
#define STINGER_WITH_POLICIES 1
#endif
#ifndef STINGER_WITH_FLATTEN
#define STINGER_WITH_FLATTEN 1 /* the window as features: a decision then holds a whole one */
#endif
#ifndef STINGER_WITH_COUPLED
#define STINGER_WITH_COUPLED (STINGER_MAX_TRIADS >= 2) /* the feature set of that name */
#endif
#ifndef STINGER_WITH_INVARIANT
#define STINGER_WITH_INVARIANT (STINGER_MAX_TRIADS >= 2) /* invariant and invariant_rich */
#endif
#ifndef STINGER_WITH_MAGNETIC
#define STINGER_WITH_MAGNETIC (STINGER_MAX_TRIADS >= 3) /* the feature set of that name */
#endif
#ifndef STINGER_WITH_SUMMARY
#define STINGER_WITH_SUMMARY 1 /* summary, rich and what contains it */
#endif
#ifndef STINGER_FIXED_SHAPE
#define STINGER_FIXED_SHAPE 0 /* 1: all models have windows and channels as long and many as the limits; faster */
#endif
#define STINGER_COUPLED_FEATURES 36 /* beyond those of rich */
#define STINGER_INVARIANT_FEATURES 16
#define STINGER_INVARIANT_RICH_FEATURES 22 /* fewer than rich has of the six channels that both need */
#define STINGER_MAGNETIC_FEATURES 13 /* fewer than rich has of the nine channels that both need */
#define STINGER_MAX_STATISTICS                                                                                         \
    (4 * STINGER_MAX_CHANNELS + 3 * STINGER_MAX_TRIADS + (STINGER_WITH_COUPLED ? STINGER_COUPLED_FEATURES : 0))
#define STINGER_MAX_FLATTEN (STINGER_WITH_FLATTEN ? STINGER_MAX_WINDOW * STINGER_MAX_CHANNELS : 0)
#define STINGER_MAX_FEATURES                                                                                           \
    (STINGER_MAX_FLATTEN > STINGER_MAX_STATISTICS ? STINGER_MAX_FLATTEN : STINGER_MAX_STATISTICS)

#define STINGER_STRIDE 8 /* rows of weights in model images are padded to a multiple of this */
#define STINGER_ONE 32768 /* probability 1: probabilities are in units of 1/32768 */

typedef enum {
    STINGER_SUMMARY = 0,
    STINGER_RICH = 1,
    STINGER_COUPLED = 2,
    STINGER_INVARIANT = 3,
    STINGER_INVARIANT_RICH = 4,
    STINGER_FLATTEN = 5,
    STINGER_MAGNETIC = 6
} stinger_feature_set;

/* Input scaling of one feature: z = limit(((feature * scale) + offset) >> shift), limit = +-32767. */
typedef struct {
    int32_t offset;
    int16_t scale;
    uint8_t shift;
} stinger_scaler;

/*
 * One row of a dense layer. acc = bias + sum(weight[i] * input[i]) never overflows int32: the exporter proves it for
 * every possible input. Then
 *     hidden layer: min(32767, (min(65535, max(0, acc) >> pre) * scale + (1 << (post - 1))) >> post)
 *     last layer:   (limit(acc >> pre, -32768..32767) * scale) >> post, in 1/1024 of a logit
 * post is at least 1 and at most 16 in hidden layers. Rounding of the first shift is already in bias.
 */
typedef struct {
    int32_t bias;
    uint16_t scale;
    uint8_t pre;
    uint8_t post;
} stinger_row;

/* Before the definition of an array: it begins at a multiple of four. Weights are read as words on the Cortex-M0+. */
#if defined(__GNUC__)
#define STINGER_ALIGNED __attribute__((aligned(4)))
#else
#define STINGER_ALIGNED
#endif

/*
 * A dense layer: int8 or int16 weights, stored without sign, in groups of four rows: for each input, the weights of
 * the four. They begin at a multiple of four bytes, and layers are padded with rows of weights of 0 to a multiple of four.
 * Rows are padded with weights of 0: to an even number of inputs, in model images and convolutions to a multiple of
 * STINGER_STRIDE.
 */
typedef struct {
    const uint8_t *weight8;   /* each weight + 128; or NULL when weight16 is used */
    const uint16_t *weight16; /* each weight + 32768 */
    const stinger_row *row;
    uint16_t inputs; /* per row, padded */
    uint16_t rows;   /* without padding */
} stinger_layer;

typedef struct {
    const stinger_scaler *scaler; /* one per feature */
    const stinger_layer *layers;
    uint8_t layer_count;
    uint8_t alone; /* 1: the last layer has one row, which is not padded; else 0 */
} stinger_network;

/*
 * Convolutions along the time of a window (`flatten` features), then the mean over time, then a dense layer. Each
 * convolution looks at every second step, at `kernel` steps about it, with zeros before the first and after the last:
 * it makes (steps + 1) / 2 steps of as many numbers as it has rows. A row's weights stand as the numbers do in memory,
 * step by step. Its outputs are those of a hidden layer; their mean over time is (2 * sum + steps) / (2 * steps).
 *
 * What a convolution takes and what it gives lie in the stream, in STINGER_MAX_ACTIVATIONS numbers of 32 bits. `steps`
 * steps of `width` numbers take (steps + kernel - 1) * width + STINGER_STRIDE - 1 of them; the last one's outputs none.
 */
typedef struct {
    const stinger_scaler *scaler; /* one per channel */
    const stinger_layer *layers;  /* the last one is dense */
    uint8_t layer_count;          /* at least 2 */
    uint8_t kernel;               /* odd */
} stinger_convolution;

/* feature <= threshold ? left : right; a child c >= 0 is a node, c < 0 is leaf -(c + 1). */
typedef struct {
    int16_t threshold;
    int16_t left;
    int16_t right;
    uint16_t feature;
} stinger_node;

typedef struct {
    const stinger_node *nodes;
    const int16_t *roots;  /* one per tree, coded like a child */
    const uint16_t *leaves; /* classes values per leaf, summing to STINGER_ONE */
    uint16_t tree_count;
    uint8_t doubled; /* 1: nodes have twice their feature's number, which saves the Cortex-M0+ a cycle; else 0 */
} stinger_forest;

/*
 * Boosted trees: tree t adds the value of its leaf to output t % outputs; then (baseline + sum) >> shift is a logit in
 * 1/1024. The exporter proves that the sums fit int32.
 */
typedef struct {
    const stinger_node *nodes;
    const int16_t *roots;    /* one per tree, coded like a child */
    const int16_t *leaves;   /* one value per leaf */
    const int32_t *baseline; /* one per output; the rounding of the shift is in it */
    uint16_t tree_count;
    uint8_t outputs; /* 1 for two classes, else one per class */
    uint8_t shift;
} stinger_boosted;

/*
 * From the probability of one class to on and off: an envelope that rises and falls at its own rates, two thresholds,
 * a gate for a blaster that lies still. The definition is the docstring of host/stinger/models/policy.py.
 */
typedef struct {
    uint32_t period_us; /* as the model's */
    uint32_t stale_us;  /* a probability older than this counts as 0 */
    uint32_t min_on_us; /* shortest time on */
    uint16_t attack;    /* share of the way the envelope moves per period, in 1/4096: up, */
    uint16_t release;   /* and down */
    uint16_t on;        /* on from this envelope, in 1/32768; at least 1 */
    uint16_t off;       /* off below this one; 1 to `on` */
    uint16_t gate_lsb;  /* below this RMS length of the gyroscope vector a probability counts as 0; 0: no gate */
    uint8_t gyro;       /* first of its three channels */
    uint8_t positive;   /* the class it acts on */
} stinger_policy;

/* Treat as opaque. */
typedef struct {
    uint64_t gate_energy; /* the gate as a sum of squares over the window */
    int32_t envelope;     /* in units of 2^-18 */
    uint32_t last_t_us;   /* of the last tick */
    uint32_t held_t_us;   /* of the newest probability */
    uint32_t on_t_us;     /* when it went on */
    uint16_t held;        /* the newest probability, after the gate */
    uint8_t phase;        /* off; on, and to stay so for min_on_us; on */
    bool started;
} stinger_policy_state;

typedef struct {
    const char *name;   /* C identifier */
    const char *family; /* "logreg", "mlp", "rf" */
    const char *hash;   /* 16 hex digits identifying the exported integers */
    const char *const *class_names;
    uint32_t period_us;
    uint16_t window;
    uint8_t channels;
    uint8_t classes;
    uint16_t features; /* length of the feature vector */
    uint8_t triad_count;
    uint8_t triads[STINGER_TRIADS]; /* first channel of each (x, y, z) triad */
    stinger_feature_set feature_set;
    const stinger_network *network; /* exactly one of network, forest, boosted and convolution */
    const stinger_forest *forest;
    const stinger_boosted *boosted;
    const stinger_convolution *convolution;
    const stinger_policy *policy; /* or NULL: such a model never says on */
} stinger_model;

typedef struct {
    uint8_t label;   /* index into class_names; ties go to the lower index */
    uint8_t classes; /* entries used in probability */
    uint8_t scores;  /* entries used in score: 1 for two classes unless by a forest, else classes */
    bool on;         /* what the policy says; false without one */
    uint16_t probability[STINGER_MAX_CLASSES]; /* 0..STINGER_ONE */
    int32_t score[STINGER_MAX_CLASSES];        /* logits in 1/1024, or summed leaf values of a forest */
    int16_t feature[STINGER_MAX_FEATURES];     /* the feature vector behind the decision */
} stinger_decision;

/* Private: the ring of samples has two halves, of which one is filled while the other is looked through backwards. */
#define STINGER_HALF ((STINGER_MAX_WINDOW + 1) / 2)
#define STINGER_SIGNALS (STINGER_MAX_CHANNELS + STINGER_MAX_TRIADS) /* with a maximum: channels, then magnitudes */

/* Private: running sums over the window of one channel, or of one triad's magnitude. */
typedef struct {
    uint64_t squares;
    int32_t sum;
    uint32_t absolute;
} stinger_running;

/* A number of values, and what stinger_divide takes to divide by twice that. */
typedef struct {
    uint32_t n;
    uint32_t reciprocal;
} stinger_length;

#if STINGER_WITH_INVARIANT
typedef struct {
    uint64_t squares;
    int32_t sum;
} stinger_sums;

/* The largest of some values, and samples since it came in. */
typedef struct {
    uint16_t value;
    uint16_t age;
} stinger_peak;

/* Private: running sums of `invariant`, by the names of its definition. */
typedef struct {
    stinger_sums h, m, w, first_w; /* first_: over the first half */
    stinger_sums j[3];             /* only for invariant_rich */
    uint64_t e, last_e;            /* last_: over the last quarter */
    uint32_t first_h;
    stinger_peak peak[5];
    uint16_t step[STINGER_MAX_WINDOW]; /* h of the step to each sample */
} stinger_invariant_state;
#endif

#if STINGER_WITH_MAGNETIC
/* Private: running sums of `magnetic`, by the names of its definition; late_: over the last `latest` samples. */
typedef struct {
    stinger_running strength, vertical; /* m and v; without `absolute` */
    uint64_t changes, turns;            /* U and P */
    int64_t both;                       /* C */
    uint32_t turning, late_strength;
    int32_t late_vertical;
    int32_t head[3], tail[3]; /* of the gyroscope over one lag: the newest of the window, the oldest */
    stinger_length terms;     /* how many U, P and C are sums of */
    uint16_t latest, lag;     /* L and k, and their logarithms */
    uint8_t late_bits, lag_bits;
} stinger_magnetic_state;
#endif

/* All state of one stream. Treat as opaque; static allocation is the intended use. */
typedef struct {
    const stinger_model *model;
    stinger_running channel[STINGER_MAX_CHANNELS];
    int16_t sample[STINGER_MAX_WINDOW][STINGER_MAX_CHANNELS];
#if STINGER_WITH_SUMMARY || STINGER_WITH_INVARIANT || STINGER_WITH_MAGNETIC
    uint16_t magnitude[STINGER_MAX_WINDOW][STINGER_MAX_TRIADS];
#endif
#if STINGER_WITH_SUMMARY
    stinger_running triad[STINGER_MAX_TRIADS];
    uint16_t highest[2][STINGER_SIGNALS];             /* of each half, as far as it is filled anew */
    uint16_t tail[STINGER_HALF + 2][STINGER_SIGNALS]; /* of what is left of the other; see stinger_features.c */
#endif
#if STINGER_WITH_COUPLED
    uint32_t steps[6]; /* sums of |x[t] - x[t - 1]| over the window, of both triads' axes */
#endif
#if STINGER_WITH_INVARIANT
    stinger_invariant_state invariant;
    struct {
        stinger_length all, steps, changes, first, second; /* of a window, and of its halves */
    } length;
#endif
#if STINGER_WITH_MAGNETIC
    stinger_magnetic_state magnetic;
#endif
    uint32_t reciprocal; /* floor((2^32 - 1) / (2 * window)) */
    uint16_t scaled;     /* about 2^(15 + bits) / window, not above it */
    uint8_t bits;        /* of window */
    uint32_t last_t_us;
    uint16_t count; /* samples in the window, up to model->window */
    uint16_t next;  /* ring position of the next sample */
    stinger_policy_state policy;
#if STINGER_WITH_CONVOLUTIONS
    uint32_t activation[STINGER_MAX_ACTIVATIONS]; /* between layers, while deciding */
#endif
} stinger_stream;

/* Start a stream. Returns false, and the stream never becomes ready, when the model exceeds this build's limits
 * or is inconsistent. */
bool stinger_stream_init(stinger_stream *stream, const stinger_model *model);

/*
 * Take one sample of model->channels values. A step of more than one and a half periods since the last sample, or
 * one that does not go forward, empties the window first: no window spans a gap. `gap` says so explicitly, for
 * callers who know of one that the 32-bit time cannot show. Returns true when the window is full.
 */
bool stinger_stream_push(stinger_stream *stream, const int16_t *sample, uint32_t t_us, bool gap);

/*
 * Classify the current window, and tell the policy. Only meaningful after stinger_stream_push returned true, once for
 * that sample. Who does not decide on every sample loses nothing: the policy makes up for the time in between.
 */
void stinger_stream_decide(stinger_stream *stream, stinger_decision *decision);

/*
 * Whether the policy is on, as of the newest sample that was decided on, or did not fill the window. False without a
 * policy.
 */
bool stinger_stream_on(const stinger_stream *stream);

/* A policy on its own, for probabilities from elsewhere: start, and take one sample. */
void stinger_policy_init(const stinger_policy *policy, uint16_t window, stinger_policy_state *state);

/*
 * t_us: the sample's time. ready: it brings a probability (0..STINGER_ONE) and the window's motion, the sum of the
 * squares of its three gyroscope channels. Returns whether the policy is on.
 */
bool stinger_policy_update(const stinger_policy *policy, stinger_policy_state *state, uint32_t t_us, bool ready,
                           uint16_t probability, uint64_t motion);

/* Integer square root: the largest r with r * r <= x. */
uint32_t stinger_isqrt32(uint32_t x);

#ifdef __cplusplus
}
#endif

#endif
