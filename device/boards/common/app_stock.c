/* The answer to MLMODEL_INFO, and the one place where a float is printed: by its bits, without floating point. */
#include "app.h"
#include "stinger_stock.h"

#define LINE_MAX 96
#define DIGITS 48 /* 3.4e38 in millionths has 45 */
#define DECIMALS 6

/* The digits, last one first, times two, plus one more bit. */
static void add_bit(uint8_t digit[DIGITS], unsigned bit) {
    for (unsigned i = 0; i < DIGITS; i++) {
        unsigned value = 2u * digit[i] + bit;
        bit = value >= 10u ? 1u : 0u;
        digit[i] = (uint8_t)(bit != 0 ? value - 10u : value);
    }
}

/* As printf's %.6f: the exact value in millionths, rounded half to even. */
static void put_float(text *out, uint32_t bits) {
    uint8_t digit[DIGITS] = {0};
    int exponent = (int)(bits >> 23 & 255u);
    uint32_t mantissa = bits & 0x7FFFFFu;
    if (exponent > 0) {
        mantissa |= 0x800000u;
    } else {
        exponent = 1;
    }
    /* Times a million, in two halves: the processor multiplies 32 bits. */
    uint64_t millionths = (((uint64_t)((mantissa >> 12) * 15625u) << 12) + (mantissa & 0xFFFu) * 15625u) << 6;
    unsigned half = 0, below = 0;
    for (exponent -= 150; exponent < 0; exponent++) {
        below |= half;
        half = (unsigned)(millionths & 1u);
        millionths >>= 1;
    }
    if (half != 0 && (below != 0 || (millionths & 1u) != 0)) {
        millionths++;
    }
    for (unsigned i = 0; i < 64u; i++) {
        add_bit(digit, (unsigned)(millionths >> 63));
        millionths <<= 1;
    }
    for (; exponent > 0; exponent--) {
        add_bit(digit, 0);
    }
    unsigned first = DIGITS - 1u;
    while (first > DECIMALS && digit[first] == 0) {
        first--;
    }
    text_put(out, bits >> 31 != 0 ? "-" : "");
    for (unsigned i = first + 1u; i > 0; i--) {
        text_put_char(out, (char)('0' + digit[i - 1u]));
        if (i == DECIMALS + 1u) {
            text_put_char(out, '.');
        }
    }
}

static void number(const char *name, const void *image, uint32_t place) {
    char buffer[LINE_MAX];
    text out = {buffer, sizeof buffer, 0, false};
    text_put(&out, name);
    put_float(&out, image != NULL ? stinger_stock_number(image, place) : 0);
    text_put_char(&out, '\0');
    app_reply(buffer);
}

static void milliseconds(const char *name, uint32_t us) {
    char buffer[LINE_MAX];
    text out = {buffer, sizeof buffer, 0, false};
    text_put(&out, name);
    if (us >= 1000u) {
        text_put_unsigned(&out, us);
        out.size -= 3; /* a division by 1000 */
    } else {
        text_put_char(&out, '0');
    }
    text_put_char(&out, '\0');
    app_reply(buffer);
}

void stock_info(bool from_user, uint32_t loaded_us, const void *lr, const void *mlp) {
    bool present = from_user || lr != NULL || mlp != NULL;
    app_reply(from_user ? "model_source=user" : "model_source=factory");
    app_reply(present ? "user_model_present=1" : "user_model_present=0");
    app_reply(lr != NULL ? "user_has_lr=1" : "user_has_lr=0");
    app_reply(mlp != NULL ? "user_has_mlp=1" : "user_has_mlp=0");
    milliseconds("cached_age_ms=", board_micros() - loaded_us);
    number("lr_intercept=", lr, STINGER_STOCK_LR_INTERCEPT);
    number("lr_coef[0]=", lr, STINGER_STOCK_LR_COEF);
    number("mlp_b3=", mlp, STINGER_STOCK_MLP_B3);
    number("mlp_w1[0]=", mlp, STINGER_STOCK_MLP_W1);
}
