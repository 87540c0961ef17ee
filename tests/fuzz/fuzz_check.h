/* What the fuzz targets have in common: a check that ends the program, and reading an input piece by piece. */
#ifndef FUZZ_CHECK_H
#define FUZZ_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(holds)                                                                                                   \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The rest of an input. What is read beyond its end is 0. */
typedef struct {
    const uint8_t *at;
    size_t left;
} fuzz_input;

static inline uint8_t fuzz_take8(fuzz_input *in) {
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static inline uint16_t fuzz_take16(fuzz_input *in) {
    uint32_t low = fuzz_take8(in);
    return (uint16_t)(low | (uint32_t)fuzz_take8(in) << 8);
}

/* At most `size` bytes of it: where they are, and how many. */
static inline const uint8_t *fuzz_take(fuzz_input *in, size_t size, size_t *taken) {
    const uint8_t *bytes = in->at;
    *taken = size < in->left ? size : in->left;
    in->at += *taken;
    in->left -= *taken;
    return bytes;
}

static inline void fuzz_put32(uint8_t *at, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i) & 0xFFu);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
