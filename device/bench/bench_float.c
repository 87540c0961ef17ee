/*
 * A stand-in for stinger_stream.c and all behind it, for `stinger bench device`: what the stock firmware computes,
 * straight in float32. The window's features are computed anew for every decision, with the variance in one pass;
 * then logistic regression, a network of rectified linear units, or trees whose thresholds are compared in float.
 * No motion gate and no policy: this costs a little less than what the firmware does.
 *
 * float_model.h is generated: the weights as `stinger export` writes them for the stock firmware, or trees (FLOAT_TREES).
 * The score is the bits of the probability, so that the host sees every one of them.
 */
#include "stinger_ml.h"

#include "float_model.h"

#include <math.h>
#include <stddef.h>

#define WINDOW 50
#define CHANNELS 6
#define TRIADS 2
#define LEAST_SCALE 1e-10f
#define LARGEST_LOGIT 20.0f

#ifdef FLOAT_TREES
#define RICH 1
#else
#define RICH STINGER_STOCK_TYPE
#endif
#define FEATURES (RICH ? 30 : 18)

/* All that is kept from sample to sample. */
static struct {
    const stinger_model *model;
    int16_t sample[WINDOW][CHANNELS];
    uint32_t last_t_us;
    uint16_t count;
    uint16_t next;
} bench_window;

typedef struct {
    float sum;
    float squares;
    float absolute;
    float max;
} sums;

bool stinger_stream_init(stinger_stream *stream, const stinger_model *model) {
    (void)stream;
    bench_window.model = model;
    bench_window.count = 0;
    bench_window.next = 0;
    return model->window == WINDOW && model->channels == CHANNELS && model->classes == 2;
}

bool stinger_stream_push(stinger_stream *stream, const int16_t *sample, uint32_t t_us, bool gap) {
    (void)stream;
    uint32_t period = bench_window.model->period_us, step = t_us - bench_window.last_t_us;
    if (gap || step == 0 || step > period + period / 2u) {
        bench_window.count = 0;
        bench_window.next = 0;
    }
    bench_window.last_t_us = t_us;
    for (int c = 0; c < CHANNELS; c++) {
        bench_window.sample[bench_window.next][c] = sample[c];
    }
    bench_window.next = (uint16_t)(bench_window.next + 1u == WINDOW ? 0 : bench_window.next + 1u);
    if (bench_window.count < WINDOW) {
        bench_window.count++;
    }
    return bench_window.count == WINDOW;
}

bool stinger_stream_on(const stinger_stream *stream) {
    (void)stream;
    return false;
}

static float mean(const sums *of) {
    return of->sum / (float)WINDOW;
}

static float deviation(const sums *of) {
    float m = mean(of), variance = of->squares / (float)WINDOW - m * m;
    return sqrtf(variance > 0.0f ? variance : 0.0f);
}

static void add(sums *to, float x, float square) {
    float size = fabsf(x);
    to->sum += x;
    to->squares += square;
    if (RICH) {
        to->absolute += size;
    }
    if (size > to->max) {
        to->max = size;
    }
}

/* From the oldest sample to the newest, as floats round differently in another order. */
static void compute_features(float *feature) {
    sums channel[CHANNELS] = {{0.0f, 0.0f, 0.0f, 0.0f}}, length[TRIADS] = {{0.0f, 0.0f, 0.0f, 0.0f}};
    for (unsigned i = 0, at = bench_window.next; i < WINDOW; i++, at = at + 1u == WINDOW ? 0 : at + 1u) {
        float square[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) {
            float x = (float)bench_window.sample[at][c];
            square[c] = x * x;
            add(&channel[c], x, square[c]);
        }
        for (int t = 0; RICH && t < TRIADS; t++) {
            float sum = square[3 * t] + square[3 * t + 1] + square[3 * t + 2];
            add(&length[t], sqrtf(sum), sum);
        }
    }
    for (int c = 0; c < CHANNELS; c++) {
        feature[c] = mean(&channel[c]);
        feature[CHANNELS + c] = deviation(&channel[c]);
        feature[2 * CHANNELS + c] = channel[c].max;
        if (RICH) {
            feature[3 * CHANNELS + c] = channel[c].absolute / (float)WINDOW;
        }
    }
    for (int t = 0; RICH && t < TRIADS; t++) {
        feature[4 * CHANNELS + 3 * t] = mean(&length[t]);
        feature[4 * CHANNELS + 3 * t + 1] = deviation(&length[t]);
        feature[4 * CHANNELS + 3 * t + 2] = length[t].max;
    }
}

#ifdef FLOAT_TREES

static float classify(const float *feature) {
    float sum = 0.0f;
    for (int t = 0; t < FLOAT_TREES; t++) {
        int16_t at = float_root[t];
        while (at >= 0) {
            const float_node *node = &float_nodes[at];
            at = feature[node->feature] <= node->threshold ? node->left : node->right;
        }
        sum += float_leaf[-(at + 1)];
    }
    return sum / (float)FLOAT_TREES;
}

#else

static void dense(const float *weight, const float *bias, const float *in, int inputs, float *out, int outputs,
                  bool rectified) {
    for (int o = 0; o < outputs; o++) {
        float sum = bias[o];
        for (int i = 0; i < inputs; i++) {
            sum += in[i] * weight[o * inputs + i];
        }
        out[o] = rectified && sum < 0.0f ? 0.0f : sum;
    }
}

static float classify(const float *feature) {
    float in[FEATURES], z;
    for (int i = 0; i < FEATURES; i++) {
        float scale = stinger_stock_scale[i];
        in[i] = (feature[i] - stinger_stock_mean[i]) / (scale < LEAST_SCALE ? LEAST_SCALE : scale);
    }
#if STINGER_STOCK_TYPE == 0
    dense(stinger_stock_w1, stinger_stock_b1, in, FEATURES, &z, 1, false);
#else
    float first[STINGER_STOCK_HIDDEN_1], second[STINGER_STOCK_HIDDEN_2];
    dense(stinger_stock_w1, stinger_stock_b1, in, FEATURES, first, STINGER_STOCK_HIDDEN_1, true);
    dense(stinger_stock_w2, stinger_stock_b2, first, STINGER_STOCK_HIDDEN_1, second, STINGER_STOCK_HIDDEN_2, true);
    dense(stinger_stock_w3, stinger_stock_b3, second, STINGER_STOCK_HIDDEN_2, &z, 1, false);
#endif
    if (fabsf(z) > LARGEST_LOGIT) {
        return z > 0.0f ? 1.0f : 0.0f;
    }
    return 1.0f / (1.0f + expf(-z));
}

#endif

void stinger_stream_decide(stinger_stream *stream, stinger_decision *decision) {
    float feature[FEATURES];
    (void)stream;
    compute_features(feature);
    const union {
        float value;
        int32_t bits;
    } p = {.value = classify(feature)};
    decision->classes = 2;
    decision->scores = 1;
    decision->score[0] = p.bits;
    decision->label = p.value > 0.5f ? 1 : 0;
    decision->on = false;
}
