/*
 * The firmware application behind its board's functions: whatever the host sends, in any order, at any time. Input:
 * pieces, each a byte that says what happens, with its arguments.
 *
 * Flash is memory that only clears bits when it is programmed. An upload is announced with the size and CRC-32 that it
 * has, and an image's own CRC-32 is put right: no fuzzer would find them. What the board sends must be readable as
 * lines and frames, and it must stay alive: MLHELLO is answered at the end.
 */
#include "board.h"
#include "fuzz_check.h"
#include "stinger_app.h"
#include "stinger_frame.h"
#include "stinger_image.h"

enum { FLASH_BYTES = 512 * 1024, SECTOR = 4096, PAGE = 256, POLLS = 40, MAX_PIECES = 64, MAX_UPLOAD = 6000 };

/* A model of one question to one tree, with a policy. */
static const stinger_node nodes[] = {{100, -1, -2, 0}};
static const int16_t roots[] = {0};
static const uint16_t leaves[] = {20000, 12768, 5000, 27768};
static const stinger_forest forest = {nodes, roots, leaves, 1, 0};
static const stinger_policy policy = {10000, 250000, 50000, 737, 123, 16384, 8192, 60, 3, 1};
static const char *const class_names[] = {"no", "y\"\xc3\xa9s"};
static const stinger_model model = {
    "builtin", "rf",   "0123456789abcdef", class_names, 10000,   8,    6,    2,       30,
    2,         {0, 3}, STINGER_RICH,       NULL,        &forest, NULL, NULL, &policy,
};

board_info board = {"fuzz", 125000000u, "a sensor", STINGER_MAX_CHANNELS};

static uint8_t flash[FLASH_BYTES];
static uint32_t dirty_from, dirty_to; /* what is not erased */
static uint8_t fails; /* flash operations from now; 0: none */
static uint32_t clock_us;
static bool full; /* the host does not read */
static const uint8_t *host_bytes;
static size_t host_left;
static board_sample sensor;
static bool sensor_ready;
static bool dumping;  /* raw bytes may follow */
static bool answered; /* to MLHELLO */
static stinger_reader host;

int board_read_byte(void) {
    if (host_left == 0) {
        return -1;
    }
    host_left--;
    return *host_bytes++;
}

static bool begins(const uint8_t *data, size_t size, const char *with) {
    return size >= strlen(with) && memcmp(data, with, strlen(with)) == 0;
}

bool board_write(const uint8_t *data, size_t size) {
    static uint8_t copy[4096];
    if (full) {
        return false;
    }
    CHECK(size > 0 && size <= sizeof copy);
    memcpy(copy, data, size); /* all of it must be there */
    if (begins(data, size, "MLDUMP1 ")) {
        dumping = true;
    }
    if (!dumping) {
        unsigned events = 0;
        for (size_t i = 0; i < size; i++) {
            CHECK(size <= STINGER_WIRE_MAX || (copy[i] >= ' ' && copy[i] <= '~') || copy[i] == '\r' || copy[i] == '\n');
            events += size <= STINGER_WIRE_MAX && stinger_reader_push(&host, copy[i]) != STINGER_GOT_NOTHING;
        }
        CHECK(size > STINGER_WIRE_MAX || events == 1);
        CHECK(host.lost_pieces == 0);
    }
    if (begins(data, size, "\nMLDUMP_DONE")) {
        dumping = false;
    }
    answered = answered || begins(data, size, "[ml] {\"protocol\":") || begins(data, size, "[ml] ERROR: the model's");
    return true;
}

uint32_t board_micros(void) {
    clock_us = (uint32_t)(((uint64_t)clock_us + 3u) & 0xFFFFFFFFu);
    return clock_us;
}

uint32_t board_cycles(void) {
    return board_micros() & BOARD_CYCLES_MASK;
}

bool board_sensor_read(board_sample *sample, uint8_t channels) {
    CHECK(channels >= 1 && channels <= STINGER_MAX_CHANNELS);
    if (sensor_ready) {
        *sample = sensor;
    }
    bool is = sensor_ready;
    sensor_ready = false;
    return is;
}

const board_flash_area *board_flash(void) {
    static const board_flash_area area = {flash, FLASH_BYTES, SECTOR, PAGE};
    return &area;
}

static bool failing(void) {
    return fails > 0 && --fails == 0;
}

static void touch(uint32_t from, uint32_t to) {
    dirty_from = from < dirty_from ? from : dirty_from;
    dirty_to = to > dirty_to ? to : dirty_to;
}

bool board_flash_erase(uint32_t at) {
    CHECK(at < FLASH_BYTES && at % SECTOR == 0);
    bool failed = failing();
    touch(at, at + SECTOR);
    memset(flash + at, 0xFF, failed ? SECTOR / 2 : SECTOR);
    return !failed;
}

bool board_flash_program(uint32_t at, const void *from, uint32_t size) {
    CHECK(at < FLASH_BYTES && at % PAGE == 0 && size > 0 && size % PAGE == 0 && size <= FLASH_BYTES - at);
    bool failed = failing();
    touch(at, at + size);
    for (uint32_t i = 0; i < (failed ? size / 2 : size); i++) {
        flash[at + i] &= ((const uint8_t *)from)[i];
    }
    return !failed;
}

bool board_flash_sync(void) {
    return !failing();
}

int32_t board_stack_free(void) {
    return 1234;
}

static void poll(void) {
    for (unsigned i = 0; i < POLLS && (stinger_app_poll() || host_left > 0); i++) {
    }
    host_left = 0;
}

static void send(const void *bytes, size_t size) {
    host_bytes = bytes;
    host_left = size;
    poll();
}

static void send_text(const char *line) {
    send(line, strlen(line));
}

static void wait_us(uint32_t us) {
    clock_us = (uint32_t)(((uint64_t)clock_us + us) & 0xFFFFFFFFu);
    poll();
}

static void send_frame(fuzz_input *in, uint8_t type) {
    uint8_t wire[STINGER_WIRE_MAX];
    uint32_t sequence = fuzz_take8(in);
    size_t size;
    const uint8_t *payload = fuzz_take(in, fuzz_take8(in), &size);
    const stinger_frame frame = {type, 1, sequence, clock_us, 0, payload, size};
    send(wire, stinger_frame_encode(&frame, wire));
}

/* A sample as a model of so many channels takes it. */
static void send_sample(fuzz_input *in, uint8_t sequence, uint8_t channels) {
    uint8_t payload[6 + 2 * 16] = {0}, wire[STINGER_WIRE_MAX];
    fuzz_put32(payload, sequence * 10000u);
    payload[5] = channels & 15u;
    size_t size;
    const uint8_t *values = fuzz_take(in, 2u * payload[5], &size);
    if (size > 0) {
        memcpy(payload + 6, values, size);
    }
    const stinger_frame frame = {STINGER_FRAME_SAMPLE, 1, sequence, 0, 0, payload, 6u + 2u * payload[5]};
    send(wire, stinger_frame_encode(&frame, wire));
}

static void upload(fuzz_input *in, uint8_t kind) {
    static const char *const commands[] = {"MLMODEL_PUT_SLOT", "MLMODEL_PUT", "MLMODEL_PUT_LR", "MLMODEL_PUT_MLP"};
    static uint8_t copy[MAX_UPLOAD];
    size_t size;
    char line[64];
    uint32_t wanted = fuzz_take16(in) % (MAX_UPLOAD + 1u);
    const uint8_t *bytes = fuzz_take(in, wanted, &size);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    if (size >= 24 && memcmp(copy, "MLMD\1", 5) == 0) {
        fuzz_put32(copy + 20, stinger_crc32(0, copy + 24, (uint32_t)size - 24u));
    } else if (size >= 16 && memcmp(copy, "MLMD", 4) == 0) {
        fuzz_put32(copy + 8, (uint32_t)size);
        fuzz_put32(copy + 12, stinger_crc32(stinger_crc32(0, copy, 12), copy + 16, (uint32_t)size - 16u));
    }
    uint32_t crc = stinger_crc32(0, copy, (uint32_t)size);
    snprintf(line, sizeof line, "%s %lu %08lx\n", commands[kind & 3u], (unsigned long)size, (unsigned long)crc);
    send_text(line);
    send(copy, kind & 4u ? size / 2 : size);
}

static void one_piece(fuzz_input *in) {
    static const char *const commands[] = {
        "MLHELLO\n",      "MLREPLAY 40\n",  "MLSTREAM START\n", "MLSTREAM STOP\n",    "MLBENCH 9\n",
        "MLINFO\n",       "MLDUMP\n",       "MLMODEL_LOAD\n",   "MLMODEL_ROLLBACK\n", "MLMODEL_DELETE\n",
        "MLMODEL_INFO\n", "MLBENCH 1000\n", "MLREPLAY 300\n",   "MLMODEL_LOAD_LR\n",  "MLSTREAM START 25\n",
    };
    uint8_t kind = fuzz_take8(in);
    size_t size;
    const uint8_t *bytes;
    switch (kind >> 4) {
    case 0: /* as it is */
    case 1:
        bytes = fuzz_take(in, fuzz_take8(in), &size);
        send(bytes, size);
        break;
    case 2:
    case 3:
        send_text(commands[(kind & 15u) % (sizeof commands / sizeof commands[0])]);
        break;
    case 4:
    case 5:
        upload(in, kind);
        break;
    case 6:
        send_frame(in, kind & 15u);
        break;
    case 7:
        for (unsigned i = 0, count = fuzz_take8(in); i < count; i++) {
            send_sample(in, (uint8_t)i, kind & 15u);
        }
        break;
    case 8: /* the sensor */
    case 9:
        for (unsigned i = 0, count = fuzz_take8(in); i < count; i++) {
            clock_us = (uint32_t)(((uint64_t)clock_us + ((kind & 7u) != 0 ? 10000u : 1250u)) & 0xFFFFFFFFu);
            sensor.t_us = clock_us;
            sensor.gap = (kind & 8u) != 0 && i == 3;
            for (unsigned c = 0; c < STINGER_MAX_CHANNELS; c++) {
                sensor.value[c] = (int16_t)(fuzz_take8(in) * 257 - 32768);
            }
            sensor_ready = true;
            poll();
        }
        break;
    case 10:
        wait_us(fuzz_take16(in));
        break;
    case 11:
        wait_us(1u << (kind & 15u) << 12);
        break;
    case 12:
        full = (kind & 1u) != 0;
        poll();
        break;
    case 13:
        fails = kind & 15u;
        break;
    case 14: /* the power goes; what comes back has the flash, and nothing else */
        sensor_ready = false;
        stinger_app_init(&model);
        poll();
        break;
    default: /* a byte of flash changes */
        if (dirty_to > dirty_from) {
            uint32_t at = dirty_from + fuzz_take16(in) % (dirty_to - dirty_from);
            flash[at] ^= fuzz_take8(in);
        }
        stinger_app_init(&model);
        break;
    }
}

static void start(void) {
    static bool ever;
    if (!ever) {
        dirty_from = 0;
        dirty_to = FLASH_BYTES;
        ever = true;
    }
    if (dirty_to > dirty_from) {
        memset(flash + dirty_from, 0xFF, dirty_to - dirty_from);
    }
    dirty_from = FLASH_BYTES;
    dirty_to = 0;
    fails = 0;
    clock_us = 0xFFF00000u; /* wraps soon */
    full = sensor_ready = dumping = false;
    host_left = 0;
    stinger_reader_init(&host, STINGER_CODED_MAX);
    stinger_app_init(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    start();
    for (unsigned i = 0; i < MAX_PIECES && in.left > 0; i++) {
        one_piece(&in);
    }
    /* Whatever it was doing: after the silence that ends everything, it answers. */
    full = false;
    fails = 0;
    send_text("\n"); /* ends a command, which may begin something */
    for (unsigned i = 0; i < 3; i++) {
        wait_us(11000000u);
    }
    for (unsigned i = 0; i < 100000u && stinger_app_poll(); i++) { /* MLBENCH takes so many */
    }
    CHECK(!stinger_app_poll());
    dumping = answered = false; /* a dump that nobody read was given up */
    stinger_reader_init(&host, STINGER_CODED_MAX);
    send_text("MLHELLO\n");
    CHECK(answered && host_left == 0);
    return 0;
}
