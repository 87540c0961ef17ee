/* Bounded composition of text without printf: what does not fit sets `overflow`, and nothing is written outside. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *buffer;
    size_t capacity;
    size_t size;
    bool overflow;
} text;

void text_put(text *out, const char *string);
void text_put_char(text *out, char c);
void text_put_unsigned(text *out, uint32_t value);

/* A JSON string, quotes included. UTF-8 leaves as \u escapes: a line on the wire is printable ASCII. */
void text_put_json(text *out, const char *string);

/* Read a decimal number that fills the rest of the string. False when it is anything else or over 32 bits. */
bool text_parse_unsigned(const char *string, uint32_t *value);

bool text_equal(const char *a, const char *b);

/* What follows `prefix` in `string`, or NULL when it does not begin with it. */
const char *text_after(const char *string, const char *prefix);

#endif
