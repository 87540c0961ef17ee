/*
 * stinger_image: a model as one block of bytes (MLMD version 2, docs/mlmd.md), checked and run where it lies.
 *
 *     static stinger_image image;
 *     if (stinger_image_open(&image, flash, size) == STINGER_IMAGE_OK)
 *         stinger_stream_init(&stream, &image.model);
 *
 * The bytes must begin at a multiple of four and stay as they are while the model is used: tables, names and weights
 * are read in place. Nothing of an image is believed: one that opens cannot make the library read outside it,
 * overflow, or run without end. Little-endian machines only, as all that this is for are.
 */
#ifndef STINGER_IMAGE_H
#define STINGER_IMAGE_H

#include "stinger_ml.h"

#ifdef __cplusplus
extern "C" {
#endif

#define STINGER_IMAGE_MAX_LAYERS 8
#define STINGER_IMAGE_MAX_BYTES 199999u /* as much as the stock firmware's upload takes */

typedef enum {
    STINGER_IMAGE_OK = 0,
    STINGER_IMAGE_FOREIGN,   /* no image of this version */
    STINGER_IMAGE_DAMAGED,   /* cut short, or its CRC-32 is wrong */
    STINGER_IMAGE_MALFORMED, /* intact, but it makes no sense */
    STINGER_IMAGE_TOO_LARGE  /* more than this build's limits (STINGER_MAX_...) allow */
} stinger_image_status;

/* An opened image. `model` is for stinger_stream_init; treat the rest as opaque. */
typedef struct {
    stinger_model model;
    stinger_network network;
    stinger_layer layer[STINGER_IMAGE_MAX_LAYERS];
    stinger_forest forest;
    stinger_boosted boosted;
    stinger_convolution convolution;
    stinger_policy policy;
    const char *class_names[STINGER_MAX_CLASSES];
    char hash[17];
} stinger_image;

/* Check all of an image and open it. Unless it returns STINGER_IMAGE_OK, `image` is not to be used. */
stinger_image_status stinger_image_open(stinger_image *image, const void *bytes, uint32_t size);

/* CRC-32 as zlib's: start with 0, go on with what the last call returned. */
uint32_t stinger_crc32(uint32_t crc, const void *bytes, uint32_t size);

#ifdef __cplusplus
}
#endif

#endif
