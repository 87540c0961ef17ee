/* Shared between the files that read model images; not for users. */
#ifndef STINGER_IMAGE_INTERNAL_H
#define STINGER_IMAGE_INTERNAL_H

#include "stinger_image.h"
#include "stinger_internal.h"

/* One section of an image; it begins at a multiple of four. */
typedef struct {
    uint32_t tag;
    uint32_t size;
    const uint8_t *bytes;
} stinger_image_section;

static inline uint32_t get16(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t get32(const uint8_t *at) {
    return get16(at) | get16(at + 2) << 16;
}

/* Check a section of a body and take it into the image; false if it makes no sense. */
bool stinger_image_convolution(stinger_image *image, const stinger_image_section *s);
bool stinger_image_scaler(stinger_image *image, const stinger_image_section *s);
bool stinger_image_layer(stinger_image *image, const stinger_image_section *s);
bool stinger_image_trees(stinger_image *image, const stinger_image_section *s);
bool stinger_image_boosted(stinger_image *image, const stinger_image_section *s);
/* The last layer has an output for each class, or one for two; the others are limited in their shifts. */
bool stinger_image_layers_fit(const stinger_image *image);

#endif
