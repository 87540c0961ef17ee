/* Model images: the header, the sections and their order, names and policy; see stinger_image.h. */
#include "stinger_image_internal.h"

#define HEADER_BYTES 16u
#define SECTION_BYTES 8u
#define MAX_SECTIONS 32u
#define CRC_AT 12u
#define HASH_BYTES 40u /* of the training set 32, of the model 8 */
#define FORM_BYTES 20u
#define POLICY_BYTES 24u

#define TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* The section at `*at`, and where the next one is; false at one that does not fit. */
static bool next_section(const uint8_t *bytes, uint32_t size, uint32_t *at, stinger_image_section *s) {
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
static bool texts(const stinger_image_section *s, uint32_t count, const char **text) {
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

static bool take_form(stinger_image *image, const stinger_image_section *s) {
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
    m->triads[2] = s->bytes[19];
    return m->period_us > 0 && m->classes >= 2u;
}

/* What the values must be, stinger_stream_init says. */
static bool take_policy(stinger_image *image, const stinger_image_section *s) {
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

static bool take_hash(stinger_image *image, const stinger_image_section *s) {
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

static bool take_names(stinger_image *image, const stinger_image_section *s) {
    const char *name[2];
    if (!texts(s, 2, name))
        return false;
    image->model.name = name[0];
    image->model.family = name[1];
    return true;
}

static bool take(stinger_image *image, const stinger_image_section *s) {
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
        return stinger_image_convolution(image, s);
    case TAG('S', 'C', 'A', 'L'):
        return stinger_image_scaler(image, s);
    case TAG('L', 'A', 'Y', 'R'):
        return stinger_image_layer(image, s);
    case TAG('T', 'R', 'E', 'E'):
        return stinger_image_trees(image, s);
    case TAG('B', 'O', 'O', 'S'):
        return stinger_image_boosted(image, s);
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
        stinger_image_section s;
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
    image->network.alone = 0;
    image->convolution.layers = image->layer;
    image->convolution.layer_count = 0;
    image->convolution.kernel = 0;
    stinger_image_status status = take_all(image, at, size);
    if (status != STINGER_IMAGE_OK)
        return status;
    if ((image->model.network != NULL || image->model.convolution != NULL) && !stinger_image_layers_fit(image))
        return STINGER_IMAGE_MALFORMED;
    image->convolution.scaler = image->network.scaler;
    return STINGER_IMAGE_OK;
}
