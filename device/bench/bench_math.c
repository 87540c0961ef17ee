/*
 * The mathematical functions of the float implementations that `stinger bench device` compares with; see include/math.h.
 * Plain float32, as small C libraries have them.
 */
#include <math.h>

#include <stdint.h>

#define MANTISSA_BITS 23
#define MANTISSA 0x007FFFFFu
#define IMPLICIT 0x00800000u
#define SIGN 0x80000000u
#define INFINITE 0x7F800000u
#define BIAS 127
#define LOG2_E 1.44269504f
#define LN_2_HIGH 0.693359375f /* few bits, so that its products with whole numbers are exact */
#define LN_2_LOW (-2.12194440e-4f)
#define EXP_OVERFLOWS 88.72284f
#define EXP_VANISHES (-103.97208f)
#define ROOT_2_MANTISSA 0x3504F3u /* of the square root of 2 */

typedef union {
    float value;
    uint32_t bits;
} float_bits;

static uint32_t to_bits(float x) {
    const float_bits u = {.value = x};
    return u.bits;
}

static float from_bits(uint32_t bits) {
    const float_bits u = {.bits = bits};
    return u.value;
}

/* The mantissa of a positive number, with its highest bit at IMPLICIT, and the exponent. */
static uint32_t split(uint32_t bits, int32_t *exponent) {
    uint32_t mantissa = bits & MANTISSA;
    *exponent = (int32_t)(bits >> MANTISSA_BITS) - BIAS;
    if (*exponent == -BIAS) {
        for (*exponent = 1 - BIAS; mantissa < IMPLICIT; mantissa <<= 1) {
            --*exponent;
        }
        return mantissa;
    }
    return mantissa | IMPLICIT;
}

/* The root of the mantissa as an integer, a bit at a time, one bit more than is kept. It is never half way between two
 * numbers, so that this bit says which way to round. */
float bench_sqrtf(float x) {
    uint32_t bits = to_bits(x), rest = 0, root = 0;
    int32_t exponent;
    if ((bits & ~SIGN) == 0 || (bits & ~SIGN) > INFINITE || bits == INFINITE) {
        return x;
    }
    if ((bits & SIGN) != 0) {
        return NAN;
    }
    uint32_t left = split(bits, &exponent) << 7; /* 25 bits, left-aligned */
    if ((exponent & 1) != 0) {
        left <<= 1;
        exponent--;
    }
    for (int i = 0; i < 25; i++) {
        uint32_t trial = (root << 2) + 1u;
        rest = rest << 2 | left >> 30;
        left <<= 2;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root++;
        }
    }
    return from_bits(((uint32_t)(exponent / 2 + BIAS - 1) << MANTISSA_BITS) + ((root + 1u) >> 1));
}

/* 2^n, for n of a normal number. */
static float power_of_2(int32_t n) {
    return from_bits((uint32_t)(n + BIAS) << MANTISSA_BITS);
}

/* e^x = 2^n * e^r with |r| <= ln(2) / 2, and the series of e^r. */
float bench_expf(float x) {
    if (x != x || x > EXP_OVERFLOWS) {
        return x != x ? x : INFINITY;
    }
    if (x < EXP_VANISHES) {
        return 0.0f;
    }
    int32_t n = (int32_t)(x * LOG2_E + (x < 0.0f ? -0.5f : 0.5f));
    float r = x - (float)n * LN_2_HIGH - (float)n * LN_2_LOW;
    float series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    int32_t half = n / 2; /* 2^n itself may be too large or too small for a normal number */
    return series * power_of_2(half) * power_of_2(n - half);
}

/* ln(x) = n * ln(2) + ln(m) with m between the roots of 1/2 and 2; ln(m) = 2 * artanh((m - 1) / (m + 1)). */
float bench_logf(float x) {
    uint32_t bits = to_bits(x);
    int32_t n;
    if ((bits & ~SIGN) == 0) {
        return -INFINITY;
    }
    if ((bits & SIGN) != 0) {
        return NAN;
    }
    if (bits >= INFINITE) {
        return x;
    }
    uint32_t mantissa = split(bits, &n) & MANTISSA;
    uint32_t upper = mantissa > ROOT_2_MANTISSA ? 1u : 0u;
    n += (int32_t)upper;
    float m = from_bits(mantissa | (uint32_t)(BIAS - (int32_t)upper) << MANTISSA_BITS);
    float s = (m - 1.0f) / (m + 1.0f), square = s * s;
    float series = 2.0f / 9.0f;
    series = series * square + 2.0f / 7.0f;
    series = series * square + 2.0f / 5.0f;
    series = series * square + 2.0f / 3.0f;
    return (float)n * LN_2_HIGH + (s * 2.0f + (s * square * series + (float)n * LN_2_LOW));
}

/* By e^(2x), and where that would be a difference of nearly equal numbers by the series. */
float bench_tanhf(float x) {
    float size = fabsf(x), square = x * x;
    if (size < 0.25f) {
        return x +
               x * square *
                   (-1.0f / 3.0f + square * (2.0f / 15.0f + square * (-17.0f / 315.0f + square * (62.0f / 2835.0f))));
    }
    float t = size > 10.0f ? 1.0f : 1.0f - 2.0f / (bench_expf(2.0f * size) + 1.0f);
    return x < 0.0f ? -t : t;
}
