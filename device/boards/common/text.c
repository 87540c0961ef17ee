/* Composing and taking apart short texts; see text.h. */
#include "text.h"

void text_put_char(text *out, char c) {
    if (out->size < out->capacity) {
        out->buffer[out->size++] = c;
    } else {
        out->overflow = true;
    }
}

void text_put(text *out, const char *string) {
    while (*string != '\0') {
        text_put_char(out, *string++);
    }
}

/* By subtraction: the processor cannot divide, and the division routine would be the only one in the application. */
void text_put_unsigned(text *out, uint32_t value) {
    static const uint32_t power[] = {1000000000u, 100000000u, 10000000u, 1000000u, 100000u,
                                     10000u,      1000u,      100u,      10u,      1u};
    bool started = false;
    for (size_t i = 0; i < sizeof power / sizeof power[0]; i++) {
        char digit = '0';
        while (value >= power[i]) {
            value -= power[i];
            digit++;
        }
        started = started || digit != '0' || power[i] == 1u;
        if (started) {
            text_put_char(out, digit);
        }
    }
}

static void put_escape(text *out, uint32_t unit) {
    static const char hex[] = "0123456789abcdef";
    text_put(out, "\\u");
    for (int shift = 12; shift >= 0; shift -= 4) {
        text_put_char(out, hex[(unit >> shift) & 15u]);
    }
}

/* Decode one UTF-8 character; what is not UTF-8 becomes '?', one byte at a time. */
static const char *decode_utf8(const char *at, uint32_t *code) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t first = (uint8_t)*at;
    size_t more = first < 0x80 ? 0 : (first >= 0xF0 ? 3 : (first >= 0xE0 ? 2 : 1));
    uint32_t value = more == 0 ? first : first & (0x3Fu >> more);
    for (size_t i = 1; i <= more; i++) {
        uint32_t next = (uint8_t)at[i];
        if ((next & 0xC0u) != 0x80u) {
            *code = '?';
            return at + 1;
        }
        value = (value << 6) | (next & 0x3Fu);
    }
    if ((first >= 0x80 && first < 0xC2) || first > 0xF4 || value < least[more] || value > 0x10FFFF ||
        (value >= 0xD800 && value < 0xE000)) {
        *code = '?';
        return at + 1;
    }
    *code = value;
    return at + 1 + more;
}

void text_put_json(text *out, const char *string) {
    text_put_char(out, '"');
    while (*string != '\0') {
        uint32_t code;
        string = decode_utf8(string, &code);
        if (code >= 0x10000) {
            put_escape(out, 0xD800 + ((code - 0x10000) >> 10));
            put_escape(out, 0xDC00 + (code & 0x3FFu));
        } else if (code < ' ' || code > '~') {
            put_escape(out, code);
        } else {
            if (code == '"' || code == '\\') {
                text_put_char(out, '\\');
            }
            text_put_char(out, (char)code);
        }
    }
    text_put_char(out, '"');
}

bool text_parse_unsigned(const char *string, uint32_t *value) {
    uint32_t result = 0;
    if (*string == '\0') {
        return false;
    }
    for (; *string != '\0'; string++) {
        if (*string < '0' || *string > '9') {
            return false;
        }
        uint32_t digit = (uint32_t)(*string - '0');
        if (result > 429496729u || (result == 429496729u && digit > 5u)) {
            return false;
        }
        result = result * 10u + digit;
    }
    *value = result;
    return true;
}

bool text_equal(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *text_after(const char *string, const char *prefix) {
    while (*prefix != '\0') {
        if (*string++ != *prefix++) {
            return NULL;
        }
    }
    return string;
}
