/* Decision trees on integer features, averaged or boosted: thresholds are exact, leaf values are summed as integers. */
#include "stinger_internal.h"

/* The leaf that a tree leads to. */
static uint32_t leaf(const stinger_node *nodes, int32_t child, const int16_t *feature) {
    while (child >= 0) {
        const stinger_node *node = &nodes[child];
        child = feature[node->feature] <= node->threshold ? node->left : node->right;
    }
    return (uint32_t)(-(child + 1));
}

void stinger_forest_decide(const stinger_forest *forest, const int16_t *feature, stinger_decision *d) {
    uint32_t classes = d->classes, trees = forest->tree_count;
    for (unsigned k = 0; k < classes; k++)
        d->score[k] = 0;
    for (unsigned t = 0; t < trees; t++) {
        const uint16_t *value = forest->leaves + leaf(forest->nodes, forest->roots[t], feature) * classes;
        for (unsigned k = 0; k < classes; k++)
            d->score[k] += value[k];
    }
    unsigned best = 0;
    for (unsigned k = 0; k < classes; k++) {
        if (d->score[k] > d->score[best])
            best = k;
        d->probability[k] = (uint16_t)(((uint32_t)d->score[k] + trees / 2u) / trees);
    }
    d->scores = d->classes;
    d->label = (uint8_t)best;
}

void stinger_boosted_decide(const stinger_boosted *boosted, const int16_t *feature, stinger_decision *d) {
    uint32_t outputs = boosted->outputs, output = 0;
    for (unsigned k = 0; k < outputs; k++)
        d->score[k] = boosted->baseline[k];
    for (unsigned t = 0; t < boosted->tree_count; t++) {
        d->score[output] += boosted->leaves[leaf(boosted->nodes, boosted->roots[t], feature)];
        output = output + 1u == outputs ? 0u : output + 1u;
    }
    for (unsigned k = 0; k < outputs; k++)
        d->score[k] >>= boosted->shift;
    d->scores = (uint8_t)outputs;
    stinger_probabilities(d);
}
