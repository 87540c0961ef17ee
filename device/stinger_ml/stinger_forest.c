/* Decision trees on integer features: thresholds are exact, leaf values are summed as integers. */
#include "stinger_internal.h"

static const uint16_t *leaf(const stinger_forest *forest, unsigned tree, const int16_t *feature, uint32_t classes) {
    int32_t child = forest->roots[tree];
    while (child >= 0) {
        const stinger_node *node = &forest->nodes[child];
        child = feature[node->feature] <= node->threshold ? node->left : node->right;
    }
    return forest->leaves + (uint32_t)(-(child + 1)) * classes;
}

void stinger_forest_decide(const stinger_forest *forest, const int16_t *feature, stinger_decision *d) {
    uint32_t classes = d->classes, trees = forest->tree_count;
    for (unsigned k = 0; k < classes; k++)
        d->score[k] = 0;
    for (unsigned t = 0; t < trees; t++) {
        const uint16_t *value = leaf(forest, t, feature, classes);
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
