/* The CRC-32 of model images and of the store, bit by bit: a table would be larger than all else here. */
#include "stinger_image.h"

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
