/* Models of the stock firmware; see stinger_stock.h. */
#include "stinger_stock.h"

#include "stinger_image.h"

#define HEADER_BYTES 24u
#define SIZE_AT 16u
#define CRC_AT 20u
#define EXPONENT 0x7F800000u /* all of its bits: infinite, or no number */

static uint32_t get(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint32_t stinger_stock_number(const void *bytes, uint32_t place) {
    return get((const uint8_t *)bytes + HEADER_BYTES + 4u * place);
}

stinger_stock_kind stinger_stock_open(const void *bytes, uint32_t size) {
    /* Magic, version 1, 50 samples, type, 0, features, hidden units, hidden units: what a header of each kind is. */
    static const uint8_t lr[SIZE_AT] = {'M', 'L', 'M', 'D', 1, 0, 50, 0, 0, 0, 18, 0, 0, 0, 0, 0};
    static const uint8_t mlp[SIZE_AT] = {'M', 'L', 'M', 'D', 1, 0, 50, 0, 1, 0, 30, 0, 64, 0, 32, 0};
    const uint8_t *at = bytes;
    bool is_lr = size == STINGER_STOCK_LR_BYTES;
    if (!is_lr && size != STINGER_STOCK_MLP_BYTES)
        return STINGER_STOCK_NONE;
    for (unsigned i = 0; i < SIZE_AT; i++)
        if (at[i] != (is_lr ? lr : mlp)[i])
            return STINGER_STOCK_NONE;
    if (get(at + SIZE_AT) != size - HEADER_BYTES ||
        get(at + CRC_AT) != stinger_crc32(0, at + HEADER_BYTES, size - HEADER_BYTES))
        return STINGER_STOCK_NONE;
    for (uint32_t i = HEADER_BYTES; i < size; i += 4u)
        if ((get(at + i) & EXPONENT) == EXPONENT)
            return STINGER_STOCK_NONE;
    return is_lr ? STINGER_STOCK_LR : STINGER_STOCK_MLP;
}
