/*
 * The log, as the stock firmware has it: records of 17 bytes, at most 100 a second, of a sensor with six channels.
 * Kept in RAM; when it is full the oldest go. Paused while it is sent.
 */
#include "app.h"
#include "stinger_frame.h"

#ifndef STINGER_LOG_RECORDS
#define STINGER_LOG_RECORDS 2048
#endif
#define CHANNELS 6
#define RECORD_BYTES 17
#define PERIOD_US 10000u
#define SLACK_US 500u /* a sensor's clock is not exact */
#define CHUNK (8u * RECORD_BYTES)

static struct {
    uint8_t record[STINGER_LOG_RECORDS][RECORD_BYTES];
    uint32_t count;
    uint32_t next; /* the next record's place: behind it lies the oldest, once the log is full */
    uint32_t last_us;
    uint32_t ms;      /* time of the newest record */
    volatile uint32_t rest_us; /* and what is missing from it; volatile, or compilers call a division for it */
} entries;

static struct {
    bool on;
    bool begun; /* its first line has been sent */
    uint32_t left;
    uint32_t at; /* the next record */
    uint32_t stuck_us;
} sending;

void log_sample(const board_sample *sample, uint8_t channels) {
    uint32_t step = sample->t_us - entries.last_us;
    if (channels != CHANNELS || sending.on || (entries.count > 0 && step < PERIOD_US - SLACK_US)) {
        return;
    }
    /* Milliseconds by subtraction, since the processor cannot divide; in steps of the pauses that there are. */
    for (entries.rest_us += entries.count > 0 ? step : 0; entries.rest_us >= 1024000u; entries.rest_us -= 1024000u) {
        entries.ms += 1024u;
    }
    for (; entries.rest_us >= 1000u; entries.rest_us -= 1000u) {
        entries.ms++;
    }
    entries.last_us = sample->t_us;
    uint8_t *at = stinger_put32(entries.record[entries.next], entries.ms);
    for (unsigned i = 0; i < CHANNELS; i++) {
#if STINGER_MAX_CHANNELS >= CHANNELS
        at = stinger_put16(at, (uint16_t)sample->value[i]);
#endif
    }
    *at = 0; /* no trigger here */
    entries.next = entries.next + 1u == STINGER_LOG_RECORDS ? 0 : entries.next + 1u;
    entries.count += entries.count < STINGER_LOG_RECORDS ? 1u : 0u;
}

static void info(void) {
    char buffer[64];
    text out = {buffer, sizeof buffer, 0, false};
    text_put(&out, "samples_written=");
    text_put_unsigned(&out, entries.count);
    text_put(&out, " (~");
    if (entries.count >= 100u) {
        text_put_unsigned(&out, entries.count);
        out.size -= 2; /* 100 a second */
    } else {
        text_put_char(&out, '0');
    }
    text_put(&out, "s)");
    text_put_char(&out, '\0');
    app_reply(buffer);
}

static void dump(void) {
    if (board.sensor_channels < CHANNELS || app_model()->channels != CHANNELS) {
        app_reply("ERROR: no log file");
    } else if (entries.count == 0) {
        app_reply("ERROR: no log data");
    } else {
        app_stop(); /* nothing may come in between */
        sending.on = true;
        sending.begun = false;
        sending.left = entries.count;
        sending.at = entries.count < STINGER_LOG_RECORDS ? 0 : entries.next;
        sending.stuck_us = board_micros();
    }
}

bool log_command(const char *line) {
    if (text_equal(line, "MLINFO")) {
        info();
    } else if (text_equal(line, "MLDUMP")) {
        dump();
    } else {
        return false;
    }
    return true;
}

bool log_sending(void) {
    return sending.on;
}

static bool put(const text *out) {
    return board_write((const uint8_t *)out->buffer, out->size);
}

/* The first line, some records, or the last line. */
static bool send_piece(void) {
    char buffer[CHUNK];
    text out = {buffer, sizeof buffer, 0, false};
    uint32_t at = sending.at, left = sending.left;
    if (!sending.begun) {
        text_put(&out, "MLDUMP1 ");
        text_put_unsigned(&out, left * RECORD_BYTES);
        text_put(&out, "\n");
        sending.begun = put(&out);
        return sending.begun;
    }
    if (left == 0) {
        text_put(&out, "\nMLDUMP_DONE\r\n");
        sending.on = !put(&out);
        return !sending.on;
    }
    while (left > 0 && out.size < sizeof buffer) {
        for (unsigned i = 0; i < RECORD_BYTES; i++) {
            text_put_char(&out, (char)entries.record[at][i]);
        }
        at = at + 1u == STINGER_LOG_RECORDS ? 0 : at + 1u;
        left--;
    }
    if (!put(&out)) {
        return false;
    }
    sending.at = at;
    sending.left = left;
    return true;
}

bool log_poll(void) {
    if (!sending.on) {
        return false;
    }
    if (send_piece()) {
        sending.stuck_us = board_micros();
        return true;
    }
    if (board_micros() - sending.stuck_us >= APP_SILENCE_US) {
        sending.on = false; /* nobody reads: be there for the next one */
    }
    return false;
}
