/* Model images: networks, convolutions and trees, with every check that makes them safe to run; see stinger_image.h. */
#include "stinger_image_internal.h"

#define LAYER_BYTES 8u
#define TREES_BYTES 8u
#define CONVOLUTION_BYTES 4u
#define MAX_ROWS 1024u
#define MAX_INPUTS 65528u /* with padding still a number of 16 bits */
#define MAX_TREES 1000u
#define MAX_BOOSTED_TREES 32000u
#define MAX_BOOSTED_SHIFT 12u
#define ROW_GROUP 4u

/* The tables of an image are arrays of these. */
typedef char stinger_assert_scaler[sizeof(stinger_scaler) == 8 ? 1 : -1];
typedef char stinger_assert_row[sizeof(stinger_row) == 8 ? 1 : -1];
typedef char stinger_assert_node[sizeof(stinger_node) == 8 ? 1 : -1];

/* Tables are read where they lie: sections begin at multiples of four. */
static const void *in_place(const uint8_t *at) {
    return at;
}

bool stinger_image_convolution(stinger_image *image, const stinger_image_section *s) {
    stinger_convolution *c = &image->convolution;
    if (s->size != CONVOLUTION_BYTES || image->model.feature_set != STINGER_FLATTEN)
        return false;
    c->kernel = s->bytes[0];
    c->layer_count = s->bytes[1];
    return (c->kernel & 1u) != 0 && c->layer_count >= 2u && get16(s->bytes + 2) == 0;
}

/* A network scales features, a convolution channels. */
static uint32_t scaled(const stinger_model *m) {
    return m->convolution != NULL ? m->channels : m->features;
}

bool stinger_image_scaler(stinger_image *image, const stinger_image_section *s) {
    const stinger_scaler *scaler = in_place(s->bytes);
    uint32_t count = scaled(&image->model);
    if (s->size != 8u * count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        uint32_t offset = scaler[i].offset < 0 ? 0u - (uint32_t)scaler[i].offset : (uint32_t)scaler[i].offset;
        if (scaler[i].scale < 0 || scaler[i].shift > 16u || s->bytes[8u * i + 7u] != 0)
            return false;
        if (offset > 0x7FFFFFFFu - 32768u * (uint32_t)scaler[i].scale)
            return false;
    }
    image->network.scaler = scaler;
    return true;
}

/* Sum of |weight| of one row; a padded weight must be 0. `stored` holds groups of four rows side by side. */
static bool row_sum(const stinger_layer *l, uint32_t inputs, uint32_t row, uint32_t *sum) {
    uint32_t group = row / ROW_GROUP * ROW_GROUP * l->inputs, within = row % ROW_GROUP;
    *sum = 0;
    for (uint32_t i = 0; i < l->inputs; i++) {
        uint32_t at = group + ROW_GROUP * i + within;
        int32_t weight = l->weight8 != NULL ? (int32_t)l->weight8[at] - 128 : (int32_t)l->weight16[at] - 32768;
        if (weight != 0 && (i >= inputs || row >= l->rows))
            return false;
        *sum += (uint32_t)(weight < 0 ? -weight : weight);
    }
    return true;
}

/* Inputs that layer `number` must have. */
static uint32_t inputs_of(const stinger_image *image, unsigned number) {
    uint32_t width = number == 0 ? scaled(&image->model) : image->layer[number - 1u].rows;
    bool convolves = image->model.convolution != NULL && number + 1u < image->convolution.layer_count;
    return convolves ? width * image->convolution.kernel : width;
}

bool stinger_image_layer(stinger_image *image, const stinger_image_section *s) {
    uint8_t number = image->network.layer_count;
    if (number >= STINGER_IMAGE_MAX_LAYERS || s->size < LAYER_BYTES)
        return false;
    stinger_layer *l = &image->layer[number];
    uint32_t rows = get16(s->bytes), inputs = get16(s->bytes + 2), bits = s->bytes[4];
    if (rows < 1u || rows > MAX_ROWS || inputs > MAX_INPUTS || inputs != inputs_of(image, number))
        return false;
    if (bits != 8u && bits != 16u)
        return false;
    if (s->bytes[5] != 0 || get16(s->bytes + 6) != 0)
        return false;
    uint32_t all_rows = (rows + ROW_GROUP - 1u) / ROW_GROUP * ROW_GROUP;
    l->inputs = (uint16_t)((inputs + STINGER_STRIDE - 1u) / STINGER_STRIDE * STINGER_STRIDE);
    l->rows = (uint16_t)rows;
    if (s->size != LAYER_BYTES + 8u * all_rows + all_rows * l->inputs * (bits / 8u))
        return false;
    const uint8_t *weights = s->bytes + LAYER_BYTES + 8u * all_rows;
    l->row = in_place(s->bytes + LAYER_BYTES);
    l->weight8 = bits == 8u ? weights : NULL;
    l->weight16 = bits == 16u ? in_place(weights) : NULL;
    for (uint32_t r = 0; r < all_rows; r++) {
        const stinger_row *row = &l->row[r];
        if (r >= rows && (row->bias != 0 || row->scale != 0 || row->pre != 0 || row->post != 1u))
            return false;
        uint32_t sum, bias = row->bias < 0 ? 0u - (uint32_t)row->bias : (uint32_t)row->bias;
        if (!row_sum(l, inputs, r, &sum))
            return false;
        /* The accumulator stays below 2^31 whatever the inputs are: |input| <= 32767. */
        if (row->pre > 31u || row->post < 1u || row->post > 30u || sum > 65535u || bias > 0x7FFFFFFFu - 32767u * sum)
            return false;
    }
    image->network.layer_count = (uint8_t)(number + 1u);
    return true;
}

/* Take one link: to a leaf that exists, or to the node that comes next, which is counted. */
static bool take_link(int32_t child, uint32_t *next, uint32_t nodes, uint32_t leaves) {
    if (child < 0)
        return (uint32_t)(-(child + 1)) < leaves;
    return (uint32_t)child == (*next)++ && (uint32_t)child < nodes;
}

/*
 * Trees lie one after the other, each level by level from left to right, so links to nodes count up from 0 without a
 * gap in the order in which they are read. Then every node has one parent, which comes before it: every walk ends, and
 * all of them together are no longer than the nodes are many.
 */
static bool trees_fit(const stinger_model *m, const stinger_node *nodes, uint32_t node_count, const int16_t *roots,
                      uint32_t trees, uint32_t leaves) {
    uint32_t at = 0, next = 0;
    for (uint32_t t = 0; t < trees; t++) {
        if (!take_link(roots[t], &next, node_count, leaves))
            return false;
        for (; at < next; at++) {
            const stinger_node *n = &nodes[at];
            if (n->feature >= m->features || !take_link(n->left, &next, node_count, leaves) ||
                !take_link(n->right, &next, node_count, leaves))
                return false;
        }
    }
    return at == node_count && ((trees & 1u) == 0 || roots[trees] == 0);
}

bool stinger_image_trees(stinger_image *image, const stinger_image_section *s) {
    stinger_forest *f = &image->forest;
    uint32_t classes = image->model.classes;
    if (s->size < TREES_BYTES)
        return false;
    uint32_t trees = get16(s->bytes), nodes = get16(s->bytes + 2), leaves = get16(s->bytes + 4);
    if (trees < 1u || trees > MAX_TREES || leaves < 1u || get16(s->bytes + 6) != 0)
        return false;
    uint32_t roots = TREES_BYTES + 8u * nodes, values = roots + 2u * (trees + (trees & 1u));
    if (s->size != values + 2u * leaves * classes)
        return false;
    f->nodes = in_place(s->bytes + TREES_BYTES);
    f->roots = in_place(s->bytes + roots);
    f->leaves = in_place(s->bytes + values);
    f->tree_count = (uint16_t)trees;
    f->doubled = 0;
    for (uint32_t i = 0; i < leaves; i++) {
        uint32_t sum = 0;
        for (uint32_t k = 0; k < classes; k++)
            sum += f->leaves[i * classes + k];
        if (sum != STINGER_ONE)
            return false;
    }
    return trees_fit(&image->model, f->nodes, nodes, f->roots, trees, leaves);
}

bool stinger_image_boosted(stinger_image *image, const stinger_image_section *s) {
    stinger_boosted *b = &image->boosted;
    if (s->size < TREES_BYTES)
        return false;
    uint32_t trees = get16(s->bytes), nodes = get16(s->bytes + 2), leaves = get16(s->bytes + 4);
    uint32_t outputs = s->bytes[6], shift = s->bytes[7];
    if (trees > MAX_BOOSTED_TREES || leaves < 1u || shift > MAX_BOOSTED_SHIFT)
        return false;
    if (outputs != (image->model.classes == 2u ? 1u : image->model.classes) || trees < outputs)
        return false;
    uint32_t rest = trees; /* by subtraction: the processor cannot divide */
    while (rest >= outputs)
        rest -= outputs;
    if (rest != 0)
        return false;
    uint32_t roots = TREES_BYTES + 8u * nodes, values = roots + 2u * (trees + (trees & 1u));
    uint32_t baseline = values + 2u * (leaves + (leaves & 1u));
    if (s->size != baseline + 4u * outputs)
        return false;
    b->nodes = in_place(s->bytes + TREES_BYTES);
    b->roots = in_place(s->bytes + roots);
    b->leaves = in_place(s->bytes + values);
    b->baseline = in_place(s->bytes + baseline);
    b->tree_count = (uint16_t)trees;
    b->outputs = (uint8_t)outputs;
    b->shift = (uint8_t)shift;
    /* 32000 leaves of 16 bits and this much stay below 2^31. */
    for (uint32_t k = 0; k < outputs; k++)
        if (b->baseline[k] <= -(INT32_C(1) << 30) || b->baseline[k] >= INT32_C(1) << 30)
            return false;
    if ((leaves & 1u) != 0 && b->leaves[leaves] != 0)
        return false;
    return trees_fit(&image->model, b->nodes, nodes, b->roots, trees, leaves);
}

bool stinger_image_layers_fit(const stinger_image *image) {
    const stinger_network *n = &image->network;
    unsigned last = n->layer_count - 1u;
    if (image->model.convolution != NULL && n->layer_count != image->convolution.layer_count)
        return false;
    if (n->scaler == NULL || image->layer[last].rows != (image->model.classes == 2u ? 1u : image->model.classes))
        return false;
    for (unsigned i = 0; i < last; i++)
        for (unsigned r = 0; r < image->layer[i].rows; r++)
            if (image->layer[i].row[r].post > 16u)
                return false;
    return true;
}
