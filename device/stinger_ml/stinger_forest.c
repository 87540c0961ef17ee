/* Decision trees on integer features, averaged or boosted: thresholds are exact, leaf values are summed as integers. */
#include "stinger_internal.h"

/* The leaf that a tree leads to; `doubled` as of forests. */
static uint32_t leaf(const stinger_node *nodes, int32_t child, const int16_t *feature, unsigned doubled) {
    while (child >= 0) {
        const stinger_node *node = &nodes[child];
        child = feature[node->feature >> doubled] <= node->threshold ? node->left : node->right;
    }
    return (uint32_t)~child;
}

/* The sum of the first class of two: leaves sum to STINGER_ONE, so it says all. */
#if !defined(__GNUC__) || !defined(__ARM_ARCH_6M__) || defined(STINGER_PLAIN_C)

static uint32_t sum_first(const stinger_forest *forest, const int16_t *feature) {
    uint32_t sum = 0;
    for (unsigned t = 0; t < forest->tree_count; t++)
        sum += forest->leaves[2u * leaf(forest->nodes, forest->roots[t], feature, forest->doubled)];
    return sum;
}

#else

typedef char stinger_assert_walk[offsetof(stinger_node, left) == 2 && offsetof(stinger_node, right) == 4 &&
                                         offsetof(stinger_node, feature) == 6 && sizeof(stinger_node) == 8
                                     ? 1
                                     : -1];

/*
 * The same for the Cortex-M0+: 13 or 14 cycles a node, where compilers take 20, and half a cycle less because every
 * second node follows the one before without a jump back. r3 is eight times a child, which is where its node is, and
 * negative for leaves; r4 to r6 point to the first node's children and feature, r7 to the features. In r8 are the roots
 * yet to come, in r9 the leaves less one, in r10 the sum, in r11 the end of the roots. A feature's number takes one
 * instruction more than its offset.
 */
#define OFFSET ""
#define NUMBER "lsls r0, r0, #1\n"
#define COMPARE(kind) "ldrh r0, [r6, r3]\n" kind "ldrsh r0, [r7, r0]\n ldrsh r1, [r2, r3]\n cmp r0, r1\n"
#define LEFT "ldrsh r3, [r4, r3]\n lsls r3, r3, #3\n"
#define RIGHT "ldrsh r3, [r5, r3]\n lsls r3, r3, #3\n"
#define SECOND(kind) "bmi 4f\n" COMPARE(kind) "bgt 5f\n" LEFT "bpl 2b\n b 4f\n"
#define WALK(kind)                                                                                                     \
    __asm__ volatile(".syntax unified\n push {r7}\n"                                                                   \
                     "mov r8, r0\n mov r11, r1\n subs r2, #4\n mov r9, r2\n movs r0, #0\n mov r10, r0\n"               \
                     "movs r2, r3\n mov r7, r4\n adds r4, r3, #2\n adds r5, r3, #4\n adds r6, r3, #6\n"                \
                     "1: mov r0, r8\n movs r1, #0\n ldrsh r3, [r0, r1]\n adds r0, #2\n mov r8, r0\n"                   \
                     "lsls r3, r3, #3\n bmi 4f\n"                                                                      \
                     "2: " COMPARE(kind) "bgt 3f\n" LEFT SECOND(kind) "3: " RIGHT SECOND(                              \
                         kind) "5: " RIGHT "bpl 2b\n"                                                                  \
                               "4: asrs r3, r3, #1\n mov r0, r9\n subs r0, r0, r3\n ldrh r0, [r0]\n add r10, r0\n"     \
                               "cmp r8, r11\n bne 1b\n mov r0, r10\n pop {r7}\n"                                       \
                     : "+l"(roots), "+l"(end), "+l"(leaves), "+l"(nodes), "+l"(values)                                 \
                     :                                                                                                 \
                     : "r5", "r6", "r8", "r9", "r10", "r11", "cc", "memory")

static uint32_t sum_first(const stinger_forest *forest, const int16_t *feature) {
    register const int16_t *roots __asm__("r0") = forest->roots;
    register const int16_t *end __asm__("r1") = forest->roots + forest->tree_count;
    register const uint16_t *leaves __asm__("r2") = forest->leaves;
    register const stinger_node *nodes __asm__("r3") = forest->nodes;
    register const int16_t *values __asm__("r4") = feature;
    if (forest->doubled != 0)
        WALK(OFFSET);
    else
        WALK(NUMBER);
    return (uint32_t)(uintptr_t)roots;
}

#endif

static void add_many(const stinger_forest *forest, const int16_t *feature, stinger_decision *d) {
    uint32_t classes = d->classes;
    for (unsigned k = 0; k < classes; k++)
        d->score[k] = 0;
    for (unsigned t = 0; t < forest->tree_count; t++) {
        const uint16_t *value =
            forest->leaves + leaf(forest->nodes, forest->roots[t], feature, forest->doubled) * classes;
        for (unsigned k = 0; k < classes; k++)
            d->score[k] += value[k];
    }
}

void stinger_forest_decide(const stinger_forest *forest, const int16_t *feature, stinger_decision *d) {
    uint32_t trees = forest->tree_count, half = trees / 2u;
    d->scores = d->classes;
    if (d->classes == 2u) {
        uint32_t first = sum_first(forest, feature), share = stinger_quotient(first + half, trees);
        d->score[0] = (int32_t)first;
        d->score[1] = (int32_t)(trees * STINGER_ONE - first);
        d->label = d->score[1] > d->score[0];
        d->probability[0] = (uint16_t)share;
        /* Each is rounded by itself, halves up: both go up at exactly a half, which odd numbers of trees have not. */
        d->probability[1] = (uint16_t)(STINGER_ONE - share + (2u * half == trees && first + half == share * trees));
    } else if (STINGER_MAX_CLASSES > 2) {
        unsigned best = 0;
        add_many(forest, feature, d);
        for (unsigned k = 0; k < d->classes; k++) {
            if (d->score[k] > d->score[best])
                best = k;
            d->probability[k] = (uint16_t)stinger_quotient((uint32_t)d->score[k] + half, trees);
        }
        d->label = (uint8_t)best;
    }
}

void stinger_boosted_decide(const stinger_boosted *boosted, const int16_t *feature, stinger_decision *d) {
    uint32_t outputs = boosted->outputs, output = 0;
    for (unsigned k = 0; k < outputs; k++)
        d->score[k] = boosted->baseline[k];
    for (unsigned t = 0; t < boosted->tree_count; t++) {
        d->score[output] += boosted->leaves[leaf(boosted->nodes, boosted->roots[t], feature, 0)];
        output = output + 1u == outputs ? 0u : output + 1u;
    }
    for (unsigned k = 0; k < outputs; k++)
        d->score[k] >>= boosted->shift;
    d->scores = (uint8_t)outputs;
    stinger_probabilities(d);
}
