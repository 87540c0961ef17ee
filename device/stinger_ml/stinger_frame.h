/*
 * stinger_frame: frames and text lines on one serial line, in any order.
 *
 * C99, no heap, no floating point, no recursion. The same file runs on the host and on the board;
 * tests/vectors/frames.json holds it and the Python codec to the same bytes.
 *
 * On the wire a frame is `0x00 COBS(body) 0x00`. Its body, little-endian:
 *     u8 version (1), u8 type, u16 session, u32 sequence, u32 device_us, u32 dropped, payload, u16 crc
 * with CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) over everything before it. The second byte of a valid
 * encoded frame is always 0x01, the version, so no frame can be taken for printable text.
 *
 * Use:
 *     static stinger_reader reader;
 *     stinger_reader_init(&reader, 63);
 *     ...for every byte received:
 *     switch (stinger_reader_push(&reader, byte)) {
 *     case STINGER_GOT_LINE: ... reader.line ...
 *     case STINGER_GOT_FRAME: ... reader.frame.payload ...
 *     case STINGER_GOT_NOTHING: break;
 *     }
 */
#ifndef STINGER_FRAME_H
#define STINGER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STINGER_PROTOCOL 1
#define STINGER_BODY_MAX 253   /* bytes: one COBS block */
#define STINGER_BODY_FIXED 18  /* header and CRC */
#define STINGER_PAYLOAD_MAX (STINGER_BODY_MAX - STINGER_BODY_FIXED)
#define STINGER_CODED_MAX (STINGER_BODY_MAX + 1) /* COBS adds one byte to a body of this length */
#define STINGER_WIRE_MAX (STINGER_CODED_MAX + 2) /* and a zero on either side */

enum { STINGER_FRAME_SAMPLE = 1, STINGER_FRAME_DECISION = 2, STINGER_FRAME_END = 3 };

typedef struct {
    uint8_t type;
    uint16_t session;
    uint32_t sequence;
    uint32_t device_us; /* the sender's clock */
    uint32_t dropped;   /* frames the sender could not send so far */
    const uint8_t *payload;
    size_t payload_size; /* at most STINGER_PAYLOAD_MAX */
} stinger_frame;

typedef enum { STINGER_GOT_NOTHING = 0, STINGER_GOT_LINE, STINGER_GOT_FRAME } stinger_event;

/* An incremental reader. `line`, `frame` and what they point to are valid until the next push. */
typedef struct {
    const char *line; /* after STINGER_GOT_LINE: zero-terminated, without its line ending */
    stinger_frame frame; /* after STINGER_GOT_FRAME */
    uint32_t lost_pieces; /* broken frames, broken or over-long lines: dropped whole and counted here */
    uint32_t lost_bytes;  /* what they were made of */

    /* private */
    uint16_t size;
    uint16_t max_line;
    bool in_frame;   /* a zero has been seen and no frame or line has ended since */
    bool printable;  /* all of the buffer is text, but for a CR at its end */
    bool discarding; /* over-long: dropping everything up to the next LF or zero */
    uint8_t buffer[STINGER_CODED_MAX + 2];
} stinger_reader;

/* CRC-16/CCITT-FALSE of `size` bytes, continuing from `crc`; start with STINGER_CRC_START. */
#define STINGER_CRC_START 0xFFFFu
uint16_t stinger_crc16(uint16_t crc, const uint8_t *data, size_t size);

/* Encode a frame for the wire, zeros included. Returns its length, or 0 when the payload is too long. */
size_t stinger_frame_encode(const stinger_frame *frame, uint8_t wire[STINGER_WIRE_MAX]);

/* Start reading. Lines longer than `max_line` characters (at most STINGER_CODED_MAX) are dropped. */
void stinger_reader_init(stinger_reader *reader, uint16_t max_line);

/* Take one byte and say what it completed. Resynchronises from any byte. */
stinger_event stinger_reader_push(stinger_reader *reader, uint8_t byte);

/* The line has been silent for long: give up a frame that somebody began and left, or it would swallow text. */
void stinger_reader_silence(stinger_reader *reader);

/* Little-endian access to payloads; each put returns the place after what it wrote. */
uint8_t *stinger_put16(uint8_t *at, uint16_t value);
uint8_t *stinger_put32(uint8_t *at, uint32_t value);
uint16_t stinger_get16(const uint8_t *at);
uint32_t stinger_get32(const uint8_t *at);

#ifdef __cplusplus
}
#endif

#endif
