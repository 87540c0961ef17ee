/*
 * Frames and lines: any bytes, in any order. Input: the longest line that the reader takes, then pieces: a byte that says
 * how many bytes follow (the lower seven bits), and whether they are sent as they are or, with the highest bit, as the
 * payload of a frame with a right CRC-16, which no fuzzer would find.
 *
 * Beyond reading nothing it should not, no byte may get lost uncounted, and what is decoded must encode to a frame that
 * decodes to the same.
 */
#include "fuzz_check.h"
#include "stinger_frame.h"

static bool same(const stinger_frame *a, const stinger_frame *b) {
    return a->type == b->type && a->session == b->session && a->sequence == b->sequence &&
           a->device_us == b->device_us && a->dropped == b->dropped && a->payload_size == b->payload_size &&
           memcmp(a->payload, b->payload, a->payload_size) == 0;
}

static void there_and_back(const stinger_frame *frame) {
    static stinger_reader other;
    uint8_t wire[STINGER_WIRE_MAX];
    size_t size = stinger_frame_encode(frame, wire);
    CHECK(size >= STINGER_BODY_FIXED + 3u && size <= sizeof wire);
    stinger_reader_init(&other, 0);
    for (size_t i = 0; i + 1 < size; i++) {
        CHECK(stinger_reader_push(&other, wire[i]) == STINGER_GOT_NOTHING);
    }
    CHECK(stinger_reader_push(&other, wire[size - 1]) == STINGER_GOT_FRAME);
    CHECK(same(frame, &other.frame) && other.lost_pieces == 0 && other.lost_bytes == 0);
}

static size_t given, told;

static void push(stinger_reader *reader, uint8_t byte) {
    given++;
    switch (stinger_reader_push(reader, byte)) {
    case STINGER_GOT_LINE: {
        size_t length = strlen(reader->line);
        CHECK(length > 0 && length <= reader->max_line);
        for (size_t i = 0; i < length; i++) {
            CHECK((reader->line[i] >= ' ' && reader->line[i] <= '~') || reader->line[i] == '\t');
        }
        told += length;
        break;
    }
    case STINGER_GOT_FRAME:
        CHECK(reader->frame.payload_size <= STINGER_PAYLOAD_MAX);
        there_and_back(&reader->frame);
        told += reader->frame.payload_size + STINGER_BODY_FIXED;
        break;
    case STINGER_GOT_NOTHING:
        break;
    }
    CHECK(told + reader->lost_bytes <= given);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    stinger_reader *reader = malloc(sizeof *reader);
    CHECK(reader != NULL);
    given = told = 0;
    stinger_reader_init(reader, fuzz_take8(&in));
    while (in.left > 0) {
        uint8_t kind = fuzz_take8(&in), wire[STINGER_WIRE_MAX];
        size_t taken;
        const uint8_t *bytes = fuzz_take(&in, kind & 0x7Fu, &taken);
        if ((kind & 0x80u) != 0) {
            const stinger_frame frame = {kind, (uint16_t)taken, (uint32_t)in.left, kind, 0, bytes, taken};
            taken = stinger_frame_encode(&frame, wire);
            bytes = wire;
        }
        for (size_t i = 0; i < taken; i++) {
            push(reader, bytes[i]);
        }
        if (kind == 0) {
            stinger_reader_silence(reader);
        }
    }
    free(reader);

    /* The bytes as a payload, however long. */
    const stinger_frame frame = {1, 2, 3, 4, 5, data, size};
    if (size <= STINGER_PAYLOAD_MAX) {
        there_and_back(&frame);
    } else {
        uint8_t wire[STINGER_WIRE_MAX];
        CHECK(stinger_frame_encode(&frame, wire) == 0);
    }
    return 0;
}
