/* Model images: the sections, and every check that makes them safe to run; see stinger_image.h. */
#include "stinger_image.h"

#include "stinger_internal.h"

#define HEADER_BYTES 16u
#define SECTION_BYTES 8u
#define MAX_SECTIONS 32u
#define CRC_AT 12u
#define HASH_BYTES 40u /* of the training set 32, of the model 8 */
#define FORM_BYTES 20u
#define POLICY_BYTES 24u
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

#define TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

typedef struct {
    uint32_t tag;
    uint32_t size;
    const uint8_t *bytes;
} section;

static uint32_t get16(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) | get16(at + 2) << 16;
}

uint32_t stinger_crc32(uint32_t crc, const void *bytes, uint32_t size) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (uint32_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (unsigned bit = 0; bit < 8u; bit++)
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* Tables are read where they lie: sections begin at multiples of four. */
static const void *in_place(const uint8_t *at) {
    return at;
}

/* The section at `*at`, and where the next one is; false at one that does not fit. */
static bool next_section(const uint8_t *bytes, uint32_t size, uint32_t *at, section *s) {
    if (size - *at < SECTION_BYTES)
        return false;
    s->tag = get32(bytes + *at);
    s->size = get32(bytes + *at + 4);
    s->bytes = bytes + *at + SECTION_BYTES;
    uint32_t left = size - *at - SECTION_BYTES;
    if (s->size > left)
        return false;
    uint32_t padding = (0u - s->size) & 3u;
    if (padding > left - s->size)
        return false;
    for (uint32_t i = 0; i < padding; i++)
        if (s->bytes[s->size + i] != 0)
            return false;
    *at += SECTION_BYTES + s->size + padding;
    return true;
}

/* The texts of a section, each ending in 0: false unless there are exactly `count`. */
static bool texts(const section *s, uint32_t count, const char **text) {
    uint32_t found = 0, begin = 0;
    for (uint32_t i = 0; i < s->size; i++) {
        if (s->bytes[i] != 0)
            continue;
        if (found == count)
            return false;
        if (text != NULL)
            text[found] = (const char *)(s->bytes + begin);
        found++;
        begin = i + 1u;
    }
    return found == count && begin == s->size;
}

static bool take_form(stinger_image *image, const section *s) {
    stinger_model *m = &image->model;
    if (s->size != FORM_BYTES)
        return false;
    m->period_us = get32(s->bytes);
    m->window = (uint16_t)get16(s->bytes + 8);
    m->features = (uint16_t)get16(s->bytes + 10);
    m->channels = s->bytes[12];
    m->classes = s->bytes[13];
    m->feature_set = (stinger_feature_set)s->bytes[14];
    if (s->bytes[15] > 3u)
        return false;
    m->network = s->bytes[15] == 0u ? &image->network : NULL;
    m->forest = s->bytes[15] == 1u ? &image->forest : NULL;
    m->boosted = s->bytes[15] == 2u ? &image->boosted : NULL;
    m->convolution = s->bytes[15] == 3u ? &image->convolution : NULL;
    m->triad_count = s->bytes[16];
    m->triads[0] = s->bytes[17];
    m->triads[1] = s->bytes[18];
    return m->period_us > 0 && m->classes >= 2u && s->bytes[19] == 0;
}

static bool take_convolution(stinger_image *image, const section *s) {
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

static bool take_scaler(stinger_image *image, const section *s) {
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

static bool take_layer(stinger_image *image, const section *s) {
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

/* A child comes after its parent, so that every walk ends; or it is a leaf that exists. */
static bool child_fits(int32_t child, uint32_t least, uint32_t nodes, uint32_t leaves) {
    if (child < 0)
        return (uint32_t)(-(child + 1)) < leaves;
    return (uint32_t)child >= least && (uint32_t)child < nodes;
}

static bool trees_fit(const stinger_model *m, const stinger_node *nodes, uint32_t node_count, const int16_t *roots,
                      uint32_t trees, uint32_t leaves) {
    for (uint32_t i = 0; i < node_count; i++) {
        const stinger_node *n = &nodes[i];
        if (n->feature >= m->features || !child_fits(n->left, i + 1u, node_count, leaves) ||
            !child_fits(n->right, i + 1u, node_count, leaves))
            return false;
    }
    for (uint32_t t = 0; t < trees; t++)
        if (!child_fits(roots[t], 0, node_count, leaves))
            return false;
    return (trees & 1u) == 0 || roots[trees] == 0;
}

static bool take_trees(stinger_image *image, const section *s) {
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
    for (uint32_t i = 0; i < leaves; i++) {
        uint32_t sum = 0;
        for (uint32_t k = 0; k < classes; k++)
            sum += f->leaves[i * classes + k];
        if (sum != STINGER_ONE)
            return false;
    }
    return trees_fit(&image->model, f->nodes, nodes, f->roots, trees, leaves);
}

static bool take_boosted(stinger_image *image, const section *s) {
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

/* What the values must be, stinger_stream_init says. */
static bool take_policy(stinger_image *image, const section *s) {
    stinger_policy *p = &image->policy;
    if (s->size != POLICY_BYTES)
        return false;
    p->period_us = get32(s->bytes);
    p->stale_us = get32(s->bytes + 4);
    p->min_on_us = get32(s->bytes + 8);
    p->attack = (uint16_t)get16(s->bytes + 12);
    p->release = (uint16_t)get16(s->bytes + 14);
    p->on = (uint16_t)get16(s->bytes + 16);
    p->off = (uint16_t)get16(s->bytes + 18);
    p->gate_lsb = (uint16_t)get16(s->bytes + 20);
    p->gyro = s->bytes[22];
    p->positive = s->bytes[23];
    image->model.policy = p;
    return true;
}

static bool take_hash(stinger_image *image, const section *s) {
    if (s->size != HASH_BYTES)
        return false;
    for (unsigned i = 0; i < 8u; i++) {
        image->hash[2u * i] = "0123456789abcdef"[s->bytes[32u + i] >> 4];
        image->hash[2u * i + 1u] = "0123456789abcdef"[s->bytes[32u + i] & 15u];
    }
    image->hash[16] = '\0';
    image->model.hash = image->hash;
    return true;
}

static bool take_names(stinger_image *image, const section *s) {
    const char *name[2];
    if (!texts(s, 2, name))
        return false;
    image->model.name = name[0];
    image->model.family = name[1];
    return true;
}

static bool take(stinger_image *image, const section *s) {
    switch (s->tag) {
    case TAG('F', 'O', 'R', 'M'):
        return take_form(image, s);
    case TAG('N', 'A', 'M', 'E'):
        return take_names(image, s);
    case TAG('C', 'L', 'A', 'S'):
        image->model.class_names = image->class_names;
        return texts(s, image->model.classes, image->class_names);
    case TAG('C', 'H', 'A', 'N'):
        return texts(s, 3u * image->model.channels, NULL);
    case TAG('H', 'A', 'S', 'H'):
        return take_hash(image, s);
    case TAG('C', 'O', 'N', 'V'):
        return take_convolution(image, s);
    case TAG('S', 'C', 'A', 'L'):
        return take_scaler(image, s);
    case TAG('L', 'A', 'Y', 'R'):
        return take_layer(image, s);
    case TAG('T', 'R', 'E', 'E'):
        return take_trees(image, s);
    case TAG('B', 'O', 'O', 'S'):
        return take_boosted(image, s);
    case TAG('P', 'O', 'L', 'I'):
        return take_policy(image, s);
    default:
        return (s->tag & 0x20u) != 0; /* in small letters: may be skipped */
    }
}

/* Where a tag stands among the others; layers may be several. 0 is for what may be skipped. */
static unsigned place_of(uint32_t tag) {
    static const uint32_t order[] = {TAG('F', 'O', 'R', 'M'), TAG('N', 'A', 'M', 'E'), TAG('C', 'L', 'A', 'S'),
                                     TAG('C', 'H', 'A', 'N'), TAG('H', 'A', 'S', 'H'), TAG('C', 'O', 'N', 'V'),
                                     TAG('S', 'C', 'A', 'L'), TAG('L', 'A', 'Y', 'R'), TAG('T', 'R', 'E', 'E'),
                                     TAG('B', 'O', 'O', 'S'), TAG('P', 'O', 'L', 'I')};
    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++)
        if (order[i] == tag)
            return i + 1u;
    return 0;
}

enum { PLACE_HASH = 5, PLACE_CONVOLUTION = 6, PLACE_SCALER = 7, PLACE_LAYER = 8, PLACE_TREES = 9, PLACE_BOOSTED = 10 };

/* Whether a section belongs to the kind of model that the first one announced. */
static bool of_kind(const stinger_model *m, unsigned place) {
    if (place == PLACE_CONVOLUTION)
        return m->convolution != NULL;
    if (place == PLACE_SCALER || place == PLACE_LAYER)
        return m->network != NULL || m->convolution != NULL;
    if (place == PLACE_TREES)
        return m->forest != NULL;
    return place != PLACE_BOOSTED || m->boosted != NULL;
}

/* All sections in their order, the first five always, and a body of one kind. */
static stinger_image_status take_all(stinger_image *image, const uint8_t *bytes, uint32_t size) {
    uint32_t at = HEADER_BYTES, count = get16(bytes + 6);
    unsigned last = 0, bodies = 0;
    for (uint32_t i = 0; i < count; i++) {
        section s;
        if (!next_section(bytes, size, &at, &s))
            return STINGER_IMAGE_MALFORMED;
        unsigned place = place_of(s.tag);
        if (place != 0) {
            bool again = place == PLACE_LAYER && last == PLACE_LAYER;
            if (!again && (place <= last || (place <= PLACE_HASH && place != last + 1u)))
                return STINGER_IMAGE_MALFORMED;
            if (place > PLACE_HASH && last < PLACE_HASH)
                return STINGER_IMAGE_MALFORMED;
            if (!of_kind(&image->model, place))
                return STINGER_IMAGE_MALFORMED;
            if (place >= PLACE_LAYER && place <= PLACE_BOOSTED)
                bodies++;
            last = place;
        }
        if (!take(image, &s))
            return STINGER_IMAGE_MALFORMED;
        if (place == 1u && image->model.classes > STINGER_MAX_CLASSES)
            return STINGER_IMAGE_TOO_LARGE;
    }
    return at == size && bodies > 0 ? STINGER_IMAGE_OK : STINGER_IMAGE_MALFORMED;
}

/* The last layer has an output for each class, or one for two; the others are limited in their shifts. */
static bool layers_fit(const stinger_image *image) {
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

stinger_image_status stinger_image_open(stinger_image *image, const void *bytes, uint32_t size) {
    static const stinger_model blank;
    const uint8_t *at = bytes;
    if (size < HEADER_BYTES || get32(at) != TAG('M', 'L', 'M', 'D') || get16(at + 4) != 2u)
        return STINGER_IMAGE_FOREIGN;
    if (size != get32(at + 8) || size > STINGER_IMAGE_MAX_BYTES || get16(at + 6) > MAX_SECTIONS)
        return STINGER_IMAGE_DAMAGED;
    uint32_t crc = stinger_crc32(0, at, CRC_AT);
    if (stinger_crc32(crc, at + HEADER_BYTES, size - HEADER_BYTES) != get32(at + CRC_AT))
        return STINGER_IMAGE_DAMAGED;

    image->model = blank;
    image->network.scaler = NULL;
    image->network.layers = image->layer;
    image->network.layer_count = 0;
    image->convolution.layers = image->layer;
    image->convolution.layer_count = 0;
    image->convolution.kernel = 0;
    stinger_image_status status = take_all(image, at, size);
    if (status != STINGER_IMAGE_OK)
        return status;
    if ((image->model.network != NULL || image->model.convolution != NULL) && !layers_fit(image))
        return STINGER_IMAGE_MALFORMED;
    image->convolution.scaler = image->network.scaler;
    return STINGER_IMAGE_OK;
}
