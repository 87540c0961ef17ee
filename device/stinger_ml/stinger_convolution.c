/* Convolutions along time; the arithmetic of a layer is that of stinger_network.c. See stinger_ml.h. */
#include "stinger_internal.h"

#if STINGER_WITH_CONVOLUTIONS

#define UNITS STINGER_PADDED(STINGER_MAX_UNITS)

/* Numbers that the input of a convolution takes: zeros on either side, and what a padded row of weights reads. */
static uint32_t room(uint32_t steps, uint32_t width, uint32_t kernel) {
    return (steps + kernel - 1u) * width + STINGER_STRIDE - 1u;
}

bool stinger_convolution_fits(const stinger_model *m) {
    const stinger_convolution *c = m->convolution;
    if (m->feature_set != STINGER_FLATTEN || c->layer_count < 2u || (c->kernel & 1u) == 0)
        return false;
    const stinger_layer *layer = c->layers, *last = layer + c->layer_count - 1;
    uint32_t steps = m->window, width = m->channels, before = 0;
    for (; layer != last; layer++) {
        uint32_t here = room(steps, width, c->kernel);
        if (before + here > STINGER_MAX_ACTIVATIONS || layer->rows > STINGER_MAX_UNITS ||
            layer->inputs != STINGER_PADDED(c->kernel * width))
            return false;
        before = here;
        steps = (steps + 1u) / 2u;
        width = layer->rows;
    }
    return last->rows <= STINGER_MAX_UNITS && last->inputs == STINGER_PADDED(width);
}

static uint32_t *zeros(uint32_t *at, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        *at++ = 0;
    return at;
}

void stinger_convolution_decide(const stinger_model *m, uint32_t *activation, stinger_decision *d) {
    const stinger_convolution *c = m->convolution;
    const stinger_layer *layer = c->layers, *last = layer + c->layer_count - 1;
    uint32_t half = c->kernel / 2u, steps = m->window, width = m->channels;
    const int16_t *sample = d->feature;
    uint32_t *input = activation, *at = zeros(input, half * width);
    for (uint32_t i = 0; i < steps; i++, sample += width, at += width)
        stinger_scale(c->scaler, sample, width, at);
    zeros(at, half * width + STINGER_STRIDE - 1u); /* over what padding wrote, too */

    /* A convolution that begins at one end of `activation` writes to the other. */
    for (; layer + 1 != last; layer++) {
        uint32_t made = (steps + 1u) / 2u, rows = layer->rows;
        const uint32_t *from = input;
        input = input == activation ? activation + STINGER_MAX_ACTIVATIONS - room(made, rows, c->kernel) : activation;
        at = zeros(input, half * rows);
        for (uint32_t i = 0; i < made; i++, from += 2u * width, at += rows)
            stinger_layer_hidden(layer, from, stinger_sum(from, from + layer->inputs), at);
        zeros(at, half * rows + STINGER_STRIDE - 1u); /* as above */
        steps = made;
        width = rows;
    }

    uint32_t sum[UNITS], output[UNITS], made = (steps + 1u) / 2u;
    zeros(sum, UNITS);
    for (uint32_t i = 0; i < made; i++, input += 2u * width) {
        stinger_layer_hidden(layer, input, stinger_sum(input, input + layer->inputs), output);
        for (unsigned k = 0; k < layer->rows; k++)
            sum[k] += output[k];
    }
    for (unsigned k = 0; k < layer->rows; k++)
        sum[k] = stinger_quotient(2u * sum[k] + made, 2u * made);
    stinger_layer_last(last, sum, stinger_sum(sum, sum + last->inputs), output, d);
}

#endif
