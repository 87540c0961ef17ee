/*
 * Roots, products and quotients without a divider: the Cortex-M0+ has a multiplier for 32 x 32 -> 32 bits in one cycle
 * and nothing else.
 */
#include "stinger_internal.h"

const uint8_t stinger_reciprocal_root[192] = {
    254, 250, 246, 243, 239, 235, 232, 228, 225, 222, 219, 215, 212, 209, 206, 203, 201, 198, 195, 192, 190, 187,
    184, 182, 179, 177, 175, 172, 170, 168, 165, 163, 161, 159, 157, 155, 153, 151, 149, 147, 145, 143, 141, 139,
    137, 135, 134, 132, 130, 128, 127, 125, 123, 122, 120, 119, 117, 116, 114, 113, 111, 110, 108, 107, 105, 104,
    103, 101, 100, 99,  97,  96,  95,  93,  92,  91,  90,  88,  87,  86,  85,  84,  82,  81,  80,  79,  78,  77,
    76,  75,  74,  72,  71,  70,  69,  68,  67,  66,  65,  64,  63,  62,  61,  60,  60,  59,  58,  57,  56,  55,
    54,  53,  52,  51,  51,  50,  49,  48,  47,  46,  46,  45,  44,  43,  42,  42,  41,  40,  39,  38,  38,  37,
    36,  35,  35,  34,  33,  33,  32,  31,  30,  30,  29,  28,  28,  27,  26,  26,  25,  24,  24,  23,  22,  22,
    21,  20,  20,  19,  19,  18,  17,  17,  16,  16,  15,  14,  14,  13,  13,  12,  11,  11,  10,  10,  9,   9,
    8,   8,   7,   6,   6,   5,   5,   4,   4,   3,   3,   2,   2,   1,   1,   0,
};

STINGER_SMALL uint32_t stinger_isqrt32(uint32_t x) {
    unsigned shift = 0;
    if (x == 0)
        return 0;
    for (; x >> 24 == 0; x <<= 8)
        shift += 4;
    for (; x >> 30 == 0; x <<= 2)
        shift++;
    uint32_t root = stinger_root_below(x);
    for (uint32_t rest = x - root * root; rest > 2u * root; root++)
        rest -= 2u * root + 1u;
    return root >> shift; /* half a root of four times x, rounded down, is the root of x rounded down */
}

uint64_t stinger_multiply(uint32_t a, uint32_t b) {
    /* From 16-bit products. */
    uint32_t al = a & 0xFFFFu, ah = a >> 16, bl = b & 0xFFFFu, bh = b >> 16;
    uint32_t low = al * bl;
    uint32_t middle = ah * bl + (low >> 16); /* below 2^32: (2^16 - 1)^2 + 2^16 - 1 */
    uint32_t cross = al * bh + (middle & 0xFFFFu);
    uint32_t high = ah * bh + (middle >> 16) + (cross >> 16);
    return ((uint64_t)high << 32) | (cross << 16) | (low & 0xFFFFu);
}

/* The estimate is at most 2 too small. */
uint32_t stinger_divide(uint32_t x, uint32_t d, uint32_t reciprocal) {
    uint32_t q = (uint32_t)(stinger_multiply(x, reciprocal) >> 32);
    uint32_t rest = x - q * d;
    while (rest >= d) {
        rest -= d;
        q++;
    }
    return q;
}

uint32_t stinger_reciprocal(uint32_t d) {
    /* The square of a reciprocal root, and one step of Newton's, which is never too large. */
    uint32_t y = 256u + stinger_reciprocal_root[(d >> 9) - 64u];
    int32_t q = (int32_t)((y * y) >> 3);
    int32_t error = (INT32_C(1) << 30) - q * (int32_t)d;
    q += (q * (error >> 10)) >> 20;
    uint32_t r = (uint32_t)q;
    for (uint32_t rest = (UINT32_C(1) << 30) + d / 2u - r * d; rest >= d; rest -= d)
        r++;
    return r;
}

uint32_t stinger_quotient(uint32_t x, uint32_t d) {
    /* With the 16 leading bits of both; d becomes too large rather than too small. */
    uint32_t head = d, x_head = x;
    for (; head < 4096u; head <<= 4)
        x_head <<= 4;
    for (; head < 32768u; head <<= 1)
        x_head <<= 1;
    if (head >= 65536u) {
        for (; head >= 65536u; head >>= 1)
            x_head >>= 1;
        head++;
    }
    uint32_t q = ((x_head >> 16) * stinger_reciprocal(head)) >> 14;
    int32_t rest = (int32_t)(x - q * d);
    for (; rest < 0; rest += (int32_t)d)
        q--;
    for (; rest >= (int32_t)d; rest -= (int32_t)d)
        q++;
    return q;
}

uint32_t stinger_inverse(uint32_t d) {
    /* In two digits of 16 bits. */
    uint32_t high = stinger_quotient(0xFFFFu, d), rest = 0xFFFFu - high * d;
    return (high << 16) + stinger_quotient((rest << 16) + 0xFFFFu, d);
}

#if STINGER_WITH_INVARIANT || STINGER_WITH_MAGNETIC
uint32_t stinger_wide_quotient(uint64_t x, uint64_t d) {
    uint32_t q = 0;
    d <<= 16;
    if (x >= d)
        return 0xFFFFu;
    for (unsigned i = 0; i < 16u; i++) {
        x <<= 1;
        q <<= 1;
        if (x >= d) {
            x -= d;
            q++;
        }
    }
    return q;
}

uint32_t stinger_ratio(uint64_t p, uint64_t q, uint32_t otherwise) {
    uint32_t r = q == 0 ? otherwise : stinger_wide_quotient((p << 11) + q, q << 1);
    return r > 32767u ? 32767u : r;
}
#endif
