/* The firmware application, driven by polling; see stinger_app.h. */
#include "stinger_app.h"

#include "app.h"
#include "board.h"
#include "stinger_frame.h"
#include "text.h"

#ifndef STINGER_FIRMWARE_VERSION
#define STINGER_FIRMWARE_VERSION "development"
#endif

#define COMMAND_MAX 63
#define LINE_MAX 96 /* of a short reply */
#define BYTES_PER_POLL 256
#define REPLY_MAX 1984 /* the longest reply: MLHELLO */
#define FRAME_TIMEOUT_US 250000u    /* of silence, for a frame to be complete */
#define SAMPLE_FIXED 6
#define DECISION_FIXED 18
#define DECISION_MAX (DECISION_FIXED + 6 * STINGER_MAX_CLASSES)
#define SAMPLE_MAX (SAMPLE_FIXED + 2 * STINGER_MAX_CHANNELS)
#define FLAG_GAP 1u
#define FLAG_READY 1u
#define FLAG_ON 2u

#if DECISION_MAX > STINGER_PAYLOAD_MAX || SAMPLE_MAX > STINGER_PAYLOAD_MAX
#error "a frame cannot hold this many classes or channels"
#endif

typedef enum { MODE_IDLE, MODE_REPLAY, MODE_STREAM } app_mode;

/* Apart from `app`, so that the linker can tell what the model itself needs. */
stinger_stream stinger_app_stream;
static stinger_decision decision;

static struct {
    const stinger_model *model;
    stinger_reader reader;
    app_mode mode;
    uint16_t session;
    uint32_t dropped;      /* frames and lines the host had no room for */
    uint32_t stray;        /* frames that came unasked */
    uint32_t bad;          /* of this replay: frames with a wrong sequence or shape */
    uint32_t lost_before;  /* reader's losses when the replay began */
    uint32_t expected;     /* sequence of the next sample */
    uint32_t samples;      /* of this replay or stream */
    uint32_t decisions;    /* of them answered ready */
    uint32_t replay_total;
    uint32_t stream_hz; /* samples a second that the host wants at most; 0: all */
    uint32_t unsent;    /* samples of the stream since the last that was sent, and that one */
    bool gap_unsent;    /* with a gap before one of them */
    uint32_t last_byte_us;
} app;

void app_reply(const char *line) {
    char buffer[LINE_MAX];
    text out = {buffer, sizeof buffer, 0, false};
    text_put(&out, "[ml] ");
    text_put(&out, line);
    text_put(&out, "\r\n");
    app_send(&out);
}

void app_send(const text *line) {
    if (!board_write((const uint8_t *)line->buffer, line->size)) {
        app.dropped++;
    }
}

static void send(uint8_t type, uint32_t sequence, const uint8_t *payload, size_t size) {
    uint8_t wire[STINGER_WIRE_MAX];
    const stinger_frame frame = {type, app.session, sequence, board_micros(), app.dropped, payload, size};
    if (!board_write(wire, stinger_frame_encode(&frame, wire))) {
        app.dropped++;
    }
}

static void put_field(text *out, const char *name, uint32_t value) {
    text_put(out, name);
    text_put_unsigned(out, value);
}

static void put_policy(text *out, const stinger_policy *policy) {
    put_field(out, ",\"policy\":{\"on\":", policy->on);
    put_field(out, ",\"off\":", policy->off);
    put_field(out, ",\"attack\":", policy->attack);
    put_field(out, ",\"release\":", policy->release);
    put_field(out, ",\"gate_lsb\":", policy->gate_lsb);
    put_field(out, ",\"stale_us\":", policy->stale_us);
    put_field(out, ",\"min_on_us\":", policy->min_on_us);
    put_field(out, ",\"gyro\":", policy->gyro);
    put_field(out, ",\"positive\":", policy->positive);
    text_put(out, "}");
}

static void put_model(text *out, const stinger_model *model) {
    text_put(out, ",\"model\":{\"name\":");
    text_put_json(out, model->name);
    text_put(out, ",\"family\":");
    text_put_json(out, model->family);
    text_put(out, ",\"hash\":");
    text_put_json(out, model->hash);
    text_put(out, ",\"feature_set\":");
    static const char *const feature_sets[] = {
        [STINGER_SUMMARY] = "summary",
        [STINGER_RICH] = "rich",
        [STINGER_COUPLED] = "coupled",
        [STINGER_INVARIANT] = "invariant",
        [STINGER_INVARIANT_RICH] = "invariant_rich",
        [STINGER_FLATTEN] = "flatten",
        [STINGER_MAGNETIC] = "magnetic",
    };
    text_put_json(out, feature_sets[model->feature_set]);
    put_field(out, ",\"window\":", model->window);
    put_field(out, ",\"channels\":", model->channels);
    put_field(out, ",\"period_us\":", model->period_us);
    text_put(out, ",\"classes\":[");
    for (uint8_t i = 0; i < model->classes; i++) {
        text_put(out, i == 0 ? "" : ",");
        text_put_json(out, model->class_names[i]);
    }
    text_put(out, "]");
    if (model->policy != NULL) {
        put_policy(out, model->policy);
    }
    text_put(out, "}");
}

static void hello(void) {
    static char buffer[REPLY_MAX];
    text out = {buffer, sizeof buffer, 0, false};
    int32_t stack_free = board_stack_free();

    put_field(&out, "[ml] {\"protocol\":", STINGER_PROTOCOL);
    text_put(&out, ",\"firmware\":");
    text_put_json(&out, STINGER_FIRMWARE_VERSION);
    text_put(&out, ",\"board\":");
    text_put_json(&out, board.name);
    put_field(&out, ",\"clock_hz\":", board.clock_hz);
    text_put(&out, ",\"imu\":");
    if (board.imu != NULL) {
        text_put_json(&out, board.imu);
    } else {
        text_put(&out, "null");
    }
    put_model(&out, app.model);
    models_put_hello(&out);
    put_field(&out, ",\"limits\":{\"replay_in_flight\":", STINGER_REPLAY_IN_FLIGHT);
    put_field(&out, ",\"max_body\":", STINGER_BODY_MAX);
    put_field(&out, "},\"counters\":{\"dropped\":", app.dropped);
    put_field(&out, ",\"lost_pieces\":", app.reader.lost_pieces);
    put_field(&out, ",\"stray_frames\":", app.stray);
    text_put(&out, "}");
    if (stack_free >= 0) {
        put_field(&out, ",\"stack_free\":", (uint32_t)stack_free);
    }
    text_put(&out, "}\r\n");
    if (out.overflow) {
        app_reply("ERROR: the model's names are too long");
    } else {
        app_send(&out);
    }
}

const stinger_model *app_model(void) {
    return app.model;
}

bool app_idle(void) {
    return app.mode == MODE_IDLE;
}

void app_stop(void) {
    app.mode = MODE_IDLE;
    bench_stop();
}

/* A stream goes on with the new model, unless its samples are of another shape. */
bool app_run(const stinger_model *model) {
    if (!stinger_stream_init(&stinger_app_stream, model) && app.model != NULL) {
        stinger_stream_init(&stinger_app_stream, app.model);
        return false;
    }
    if (app.mode != MODE_STREAM || model->channels != app.model->channels) {
        app_stop();
    }
    app.model = model;
    return true;
}

static void start(app_mode mode) {
    bench_stop();
    stinger_stream_init(&stinger_app_stream, app.model);
    app.mode = mode;
    app.session++;
    app.bad = 0;
    app.lost_before = app.reader.lost_pieces;
    app.expected = 0;
    app.samples = 0;
    app.decisions = 0;
    app.last_byte_us = board_micros();
}

static void command_replay(const char *argument) {
    uint32_t total;
    if (!text_parse_unsigned(argument, &total) || total == 0) {
        app.mode = MODE_IDLE;
        app_reply("MLREPLAY_ERR args");
        return;
    }
    start(MODE_REPLAY);
    app.replay_total = total;
    app_reply("MLREPLAY_READY");
}

/* ceil(x / d) for x below 2^20, without a divider. */
static uint32_t over(uint32_t x, uint32_t d) {
    uint32_t q = 0;
    for (unsigned i = 20; i > 0; i--) {
        q <<= 1;
        if (x >> (i - 1u) >= d) {
            x -= d << (i - 1u);
            q++;
        }
    }
    return q + (x != 0);
}

/* One of how many samples goes to the host. */
static uint32_t stream_stride(void) {
    return app.stream_hz == 0 ? 1 : over(over(1000000u, app.model->period_us), app.stream_hz);
}

static void command_stream(const char *argument) {
    const char *most = text_after(argument, "START ");
    uint32_t hz = 0;
    if (text_equal(argument, "START") || (most != NULL && text_parse_unsigned(most, &hz) && hz != 0)) {
        if (board.sensor_channels == 0) {
            app_reply("MLSTREAM_ERR no sensor");
        } else if (app.model->channels > board.sensor_channels) {
            app_reply("MLSTREAM_ERR channels");
        } else {
            start(MODE_STREAM);
            app.stream_hz = hz;
            app.unsent = 0;
            app.gap_unsent = false;
            app_reply("MLSTREAM_ON");
        }
    } else if (text_equal(argument, "STOP")) {
        app.mode = MODE_IDLE;
        app_reply("MLSTREAM_OFF");
    } else {
        app_reply("MLSTREAM_ERR args");
    }
}

static void command(const char *line) {
    const char *argument;
    if (app.mode == MODE_REPLAY && text_after(line, "MLMODEL_") != NULL) {
        app.mode = MODE_IDLE;
    }
    if (text_equal(line, "MLHELLO")) {
        hello();
    } else if ((argument = text_after(line, "MLREPLAY ")) != NULL) {
        command_replay(argument);
    } else if ((argument = text_after(line, "MLSTREAM ")) != NULL) {
        command_stream(argument);
    } else if (models_command(line) || log_command(line) || bench_command(line)) {
        return;
    } else if (text_after(line, "ML") != NULL) {
        app_reply("ERROR: unknown command");
    }
}

static uint16_t feature_crc(void) {
    uint16_t crc = STINGER_CRC_START;
    for (uint16_t i = 0; i < app.model->features; i++) {
        uint8_t bytes[2];
        stinger_put16(bytes, (uint16_t)decision.feature[i]);
        crc = stinger_crc16(crc, bytes, sizeof bytes);
    }
    return crc;
}

/* Classify one sample and answer with a DECISION frame, if it is to be sent. */
static void decide(uint32_t sequence, uint32_t t_us, bool gap, const int16_t *value, bool sent) {
    uint8_t payload[DECISION_MAX];
    uint8_t *at = payload;
    uint32_t began = board_cycles();
    bool ready = stinger_stream_push(&stinger_app_stream, value, t_us, gap);
    if (ready) {
        stinger_stream_decide(&stinger_app_stream, &decision);
    }
    uint32_t cycles = (board_cycles() - began) & BOARD_CYCLES_MASK;

    at = stinger_put32(at, sequence);
    at = stinger_put32(at, t_us);
    at = stinger_put32(at, cycles);
    at = stinger_put16(at, ready ? feature_crc() : 0);
    *at++ = (uint8_t)((ready ? FLAG_READY : 0u) | (stinger_stream_on(&stinger_app_stream) ? FLAG_ON : 0u));
    *at++ = ready ? decision.label : 0;
    *at++ = ready ? decision.classes : 0;
    *at++ = ready ? decision.scores : 0;
    if (ready) {
        for (uint8_t i = 0; i < decision.classes; i++) {
            at = stinger_put16(at, decision.probability[i]);
        }
        for (uint8_t i = 0; i < decision.scores; i++) {
            at = stinger_put32(at, (uint32_t)decision.score[i]);
        }
        app.decisions++;
    }
    app.samples++;
    if (sent) {
        send(STINGER_FRAME_DECISION, sequence, payload, (size_t)(at - payload));
    }
}

static void end_replay(void) {
    uint8_t payload[12];
    uint32_t bad = app.bad + (app.reader.lost_pieces - app.lost_before);
    stinger_put32(stinger_put32(stinger_put32(payload, app.samples), app.decisions), bad);
    app.mode = MODE_IDLE;
    send(STINGER_FRAME_END, app.replay_total, payload, sizeof payload);
}

static void take_frame(const stinger_frame *frame) {
    const uint8_t *payload = frame->payload;
    uint8_t channels = app.model->channels;
    int16_t value[STINGER_MAX_CHANNELS];

    if (app.mode != MODE_REPLAY) {
        app.stray++;
        return;
    }
    if (frame->type != STINGER_FRAME_SAMPLE || frame->payload_size != SAMPLE_FIXED + 2u * channels ||
        payload[5] != channels || channels > STINGER_MAX_CHANNELS || frame->sequence < app.expected ||
        frame->sequence >= app.replay_total) {
        app.bad++;
        return;
    }
    for (uint8_t i = 0; i < channels; i++) {
        value[i] = (int16_t)stinger_get16(payload + SAMPLE_FIXED + 2 * i);
    }
    /* A window must not span a sample that got lost on the way. */
    bool gap = (payload[4] & FLAG_GAP) != 0 || frame->sequence != app.expected;
    app.expected = frame->sequence + 1;
    decide(frame->sequence, stinger_get32(payload), gap, value, true);
    if (app.expected == app.replay_total) {
        end_replay();
    }
}

static bool take_bytes(void) {
    uint32_t taken = 0;
    int byte;
    while (taken < BYTES_PER_POLL && !log_sending() && (byte = board_read_byte()) >= 0) {
        taken++;
        if (models_uploading()) {
            models_take((uint8_t)byte);
            continue;
        }
        switch (stinger_reader_push(&app.reader, (uint8_t)byte)) {
        case STINGER_GOT_LINE:
            command(app.reader.line);
            break;
        case STINGER_GOT_FRAME:
            take_frame(&app.reader.frame);
            break;
        case STINGER_GOT_NOTHING:
            break;
        }
    }
    if (taken > 0) {
        app.last_byte_us = board_micros();
        return true;
    }
    uint32_t silent_us = board_micros() - app.last_byte_us;
    if (silent_us >= FRAME_TIMEOUT_US) {
        stinger_reader_silence(&app.reader);
    }
    models_silence(silent_us);
    if (app.mode == MODE_REPLAY && silent_us >= APP_SILENCE_US) {
        app.mode = MODE_IDLE;
        app_reply("MLREPLAY_ERR timeout");
    }
    return false;
}

static void send_sample(uint32_t sequence, const board_sample *sample, uint8_t channels) {
    uint8_t payload[SAMPLE_MAX];
    uint8_t *at = stinger_put32(payload, sample->t_us);
    *at++ = app.gap_unsent ? FLAG_GAP : 0;
    *at++ = channels;
    for (uint8_t i = 0; i < channels; i++) {
        at = stinger_put16(at, (uint16_t)sample->value[i]);
    }
    send(STINGER_FRAME_SAMPLE, sequence, payload, (size_t)(at - payload));
}

/* The sensor is read in every mode, or a stream would begin with stale samples. */
static bool take_sensor(void) {
    board_sample sample;
    uint8_t channels = app.model->channels;

    if (channels > STINGER_MAX_CHANNELS || !board_sensor_read(&sample, channels)) {
        return false;
    }
    log_sample(&sample, channels);
    if (app.mode == MODE_STREAM) {
        bool sent = app.unsent == 0;
        app.gap_unsent |= sample.gap;
        if (sent) {
            send_sample(app.expected, &sample, channels);
            app.gap_unsent = false;
        }
        decide(app.expected, sample.t_us, sample.gap, sample.value, sent);
        app.expected += sent;
        app.unsent = app.unsent + 1 < stream_stride() ? app.unsent + 1 : 0;
    }
    return true;
}

void stinger_app_init(const stinger_model *model) {
    app.mode = MODE_IDLE;
    app.session = 0;
    stinger_reader_init(&app.reader, COMMAND_MAX);
    app.model = NULL;
    models_init(model);
}

bool stinger_app_poll(void) {
    bool had_bytes = take_bytes();
    bool had_sample = take_sensor();
    bool had_work = log_poll() || bench_poll();
    return had_bytes || had_sample || had_work;
}
