/* Frames on a serial line: CRC, COBS, and a reader that survives any noise. See stinger_frame.h. */
#include "stinger_frame.h"

#define HEADER_SIZE 16
#define CRC_SIZE 2

/* One byte of CRC-16/CCITT-FALSE. The polynomial is sparse enough that the eight steps of the bitwise form fold
 * into three shifts: as fast on a Cortex-M0+ as a table, without its 512 bytes. */
static inline uint16_t crc_step(uint16_t crc, uint8_t byte) {
    uint32_t x = (uint32_t)(crc >> 8) ^ byte;
    x ^= x >> 4;
    return (uint16_t)(((uint32_t)crc << 8) ^ (x << 12) ^ (x << 5) ^ x);
}

uint16_t stinger_crc16(uint16_t crc, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        crc = crc_step(crc, data[i]);
    }
    return crc;
}

uint8_t *stinger_put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    return at + 2;
}

uint8_t *stinger_put32(uint8_t *at, uint32_t value) {
    return stinger_put16(stinger_put16(at, (uint16_t)value), (uint16_t)(value >> 16));
}

uint16_t stinger_get16(const uint8_t *at) {
    return (uint16_t)(at[0] | ((uint32_t)at[1] << 8));
}

uint32_t stinger_get32(const uint8_t *at) {
    return stinger_get16(at) | ((uint32_t)stinger_get16(at + 2) << 16);
}

/* COBS written in one pass: `code` is the place of the current block's length byte. A body fits one block of 254,
 * so no block is ever split. */
typedef struct {
    uint8_t *at;
    uint8_t *code;
    uint16_t crc;
} encoder;

static inline void encode_byte(encoder *e, uint8_t byte) {
    if (byte == 0) {
        *e->code = (uint8_t)(e->at - e->code);
        e->code = e->at;
    } else {
        *e->at = byte;
    }
    e->at++;
}

static void encode(encoder *e, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        e->crc = crc_step(e->crc, data[i]);
        encode_byte(e, data[i]);
    }
}

size_t stinger_frame_encode(const stinger_frame *frame, uint8_t wire[STINGER_WIRE_MAX]) {
    uint8_t header[HEADER_SIZE];
    uint8_t *h = header;
    encoder e = {wire + 2, wire + 1, STINGER_CRC_START};

    if (frame->payload_size > STINGER_PAYLOAD_MAX) {
        return 0;
    }
    *h++ = STINGER_PROTOCOL;
    *h++ = frame->type;
    h = stinger_put16(h, frame->session);
    h = stinger_put32(h, frame->sequence);
    h = stinger_put32(h, frame->device_us);
    stinger_put32(h, frame->dropped);

    wire[0] = 0;
    encode(&e, header, HEADER_SIZE);
    encode(&e, frame->payload, frame->payload_size);
    encode_byte(&e, (uint8_t)e.crc);
    encode_byte(&e, (uint8_t)(e.crc >> 8));
    *e.code = (uint8_t)(e.at - e.code);
    *e.at++ = 0;
    return (size_t)(e.at - wire);
}

/* Undo COBS in place: output never overtakes input. Returns the length, or 0 for what is not COBS. */
static size_t decode(uint8_t *data, size_t size) {
    size_t in = 0;
    size_t out = 0;
    while (in < size) {
        size_t end = in + data[in]; /* no zero can be in here */
        if (end > size) {
            return 0;
        }
        in++;
        while (in < end) {
            data[out++] = data[in++];
        }
        /* A block of fewer than 254 bytes stands for a zero after it, except the last one. No body is longer. */
        if (in < size) {
            data[out++] = 0;
        }
    }
    return out;
}

static bool parse(stinger_reader *reader) {
    uint8_t *body = reader->buffer;
    size_t size = decode(body, reader->size);
    if (size < STINGER_BODY_FIXED || body[0] != STINGER_PROTOCOL) {
        return false;
    }
    if (stinger_crc16(STINGER_CRC_START, body, size - CRC_SIZE) != stinger_get16(body + size - CRC_SIZE)) {
        return false;
    }
    reader->frame.type = body[1];
    reader->frame.session = stinger_get16(body + 2);
    reader->frame.sequence = stinger_get32(body + 4);
    reader->frame.device_us = stinger_get32(body + 8);
    reader->frame.dropped = stinger_get32(body + 12);
    reader->frame.payload = body + HEADER_SIZE;
    reader->frame.payload_size = size - STINGER_BODY_FIXED;
    return true;
}

static void begin(stinger_reader *reader, bool in_frame) {
    reader->size = 0;
    reader->printable = true;
    reader->discarding = false;
    reader->in_frame = in_frame;
}

static void lose(stinger_reader *reader) {
    reader->lost_pieces++;
    reader->lost_bytes += reader->size;
}

void stinger_reader_init(stinger_reader *reader, uint16_t max_line) {
    reader->line = NULL;
    reader->lost_pieces = 0;
    reader->lost_bytes = 0;
    reader->max_line = max_line < STINGER_CODED_MAX ? max_line : STINGER_CODED_MAX;
    begin(reader, false);
}

static stinger_event end_frame(stinger_reader *reader) {
    bool valid = false;
    if (!reader->discarding && reader->size > 0) {
        valid = reader->in_frame && parse(reader);
        if (!valid) {
            lose(reader);
        }
    }
    /* After anything but a frame, this zero may have been an opening one. */
    begin(reader, !valid);
    return valid ? STINGER_GOT_FRAME : STINGER_GOT_NOTHING;
}

static stinger_event end_line(stinger_reader *reader) {
    bool valid = false;
    if (!reader->discarding) {
        uint16_t length = reader->size;
        if (length > 0 && reader->buffer[length - 1] == '\r') {
            length--;
        }
        valid = length > 0 && length <= reader->max_line && reader->printable;
        if (valid) {
            reader->buffer[length] = '\0';
            reader->line = (const char *)reader->buffer;
        } else if (length > 0) {
            lose(reader);
        }
    }
    begin(reader, false);
    return valid ? STINGER_GOT_LINE : STINGER_GOT_NOTHING;
}

/* Keep a byte, or give up on a line or frame that has become too long. */
static void keep(stinger_reader *reader, uint8_t byte) {
    uint16_t limit = STINGER_CODED_MAX;
    if (!reader->in_frame) {
        limit = (uint16_t)(reader->max_line + (byte == '\r' ? 1 : 0));
    }
    if (reader->size >= limit) {
        lose(reader);
        reader->lost_bytes++;
        reader->discarding = true;
        reader->printable = true; /* past the short cut in stinger_reader_push */
        return;
    }
    if ((reader->size > 0 && reader->buffer[reader->size - 1] == '\r') ||
        ((byte < ' ' || byte > '~') && byte != '\t' && byte != '\r')) {
        reader->printable = false;
    }
    reader->buffer[reader->size++] = byte;
}

stinger_event stinger_reader_push(stinger_reader *reader, uint8_t byte) {
    /* Nearly every byte is this case: inside a frame, past its version, so that it cannot be text any more. */
    if (!reader->printable && reader->in_frame && byte != 0 && reader->size < STINGER_CODED_MAX) {
        reader->buffer[reader->size++] = byte;
        return STINGER_GOT_NOTHING;
    }
    if (byte == 0) {
        return end_frame(reader);
    }
    /* Inside a frame LF is data like any other, unless all before it is text: then an opening zero was noise. */
    if (byte == '\n' && (!reader->in_frame || reader->discarding || (reader->printable && reader->size > 0))) {
        return end_line(reader);
    }
    if (reader->discarding) {
        reader->lost_bytes++;
    } else {
        keep(reader, byte);
    }
    return STINGER_GOT_NOTHING;
}

void stinger_reader_silence(stinger_reader *reader) {
    if (reader->in_frame) {
        if (reader->size > 0 && !reader->discarding) {
            lose(reader);
        }
        begin(reader, false);
    }
}
