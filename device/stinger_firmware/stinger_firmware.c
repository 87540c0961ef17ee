/* The adapter for two-core firmware; see stinger_firmware.h. */
#include "stinger_firmware.h"

#include <stddef.h>

#define REPLY_BYTES 64

static bool same(const char *a, const char *b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void say(const stinger_firmware *firmware, const char *line) {
    if (firmware->hooks->reply != NULL) {
        firmware->hooks->reply(firmware->hooks->context, line);
    }
}

/* A line of name and text; what does not fit is cut. */
static void say_text(const stinger_firmware *firmware, const char *name, const char *value) {
    char line[REPLY_BYTES];
    unsigned size = 0;
    for (; *name != '\0' && size + 1 < sizeof line; size++) {
        line[size] = *name++;
    }
    for (; *value != '\0' && size + 1 < sizeof line; size++) {
        line[size] = *value++;
    }
    line[size] = '\0';
    say(firmware, line);
}

static void say_number(const stinger_firmware *firmware, const char *name, uint32_t value) {
    char digits[11];
    unsigned at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value > 0);
    say_text(firmware, name, digits + at);
}

static bool run(stinger_firmware *firmware, const stinger_model *model) {
    firmware->decided = false;
    firmware->user = model != firmware->builtin;
    return stinger_stream_init(&firmware->stream, model);
}

bool stinger_firmware_load(stinger_firmware *firmware) {
    const stinger_firmware_hooks *hooks = firmware->hooks;
    /* The file goes where the model lies that may be running now: that one is over, whatever comes of this. */
    run(firmware, firmware->builtin);
    if (STINGER_FIRMWARE_IMAGE_BYTES == 0 || hooks->load == NULL) {
        return false;
    }
    uint32_t size = hooks->load(hooks->context, firmware->bytes, STINGER_FIRMWARE_IMAGE_BYTES);
    if (size == 0 || size > STINGER_FIRMWARE_IMAGE_BYTES) {
        return false;
    }
    if (stinger_image_open(&firmware->image, firmware->bytes, size) != STINGER_IMAGE_OK) {
        return false;
    }
    if (!run(firmware, &firmware->image.model)) {
        run(firmware, firmware->builtin);
        return false;
    }
    return true;
}

bool stinger_firmware_start(stinger_firmware *firmware, const stinger_model *builtin,
                            const stinger_firmware_hooks *hooks, uint32_t now_us) {
    firmware->builtin = builtin;
    firmware->hooks = hooks;
    firmware->decided_t_us = now_us;
    firmware->decisions = 0;
    firmware->gaps = 0;
    return stinger_firmware_load(firmware) || run(firmware, builtin);
}

bool stinger_firmware_sample(stinger_firmware *firmware, uint32_t t_us, const int16_t *value) {
    return stinger_ring_push(&firmware->ring, t_us, value, STINGER_MAX_CHANNELS);
}

bool stinger_firmware_poll(stinger_firmware *firmware) {
    stinger_ring_sample sample;
    bool ready = false;
    uint32_t t_us = 0;
    /* No more than a ringful, or a producer that is faster than this would keep us here. */
    for (unsigned i = 0; i < STINGER_RING_SAMPLES && stinger_ring_pop(&firmware->ring, &sample); i++) {
        firmware->gaps += sample.gap ? 1u : 0u;
        ready = stinger_stream_push(&firmware->stream, sample.value, sample.t_us, sample.gap);
        t_us = sample.t_us;
    }
    if (ready) {
        stinger_stream_decide(&firmware->stream, &firmware->decision);
        firmware->decided = true;
        firmware->decided_t_us = t_us;
        firmware->decisions++;
    }
    return ready;
}

/* Once stale is stale until the next decision, or an old one would seem new when the time has wrapped. */
static bool fresh(stinger_firmware *firmware, uint32_t now_us) {
    if (now_us - firmware->decided_t_us > STINGER_FIRMWARE_STALE_US) {
        firmware->decided = false;
    }
    return firmware->decided;
}

bool stinger_firmware_on(stinger_firmware *firmware, uint32_t now_us) {
    return fresh(firmware, now_us) && stinger_stream_on(&firmware->stream);
}

uint16_t stinger_firmware_probability(stinger_firmware *firmware, uint8_t label, uint32_t now_us) {
    bool known = fresh(firmware, now_us) && label < firmware->decision.classes;
    return known ? firmware->decision.probability[label] : 0;
}

static void info(const stinger_firmware *firmware, uint32_t now_us) {
    const stinger_model *model = firmware->user ? &firmware->image.model : firmware->builtin;
    say_text(firmware, "model_source=", firmware->user ? "user" : "factory");
    say_text(firmware, "model_name=", model->name);
    say_text(firmware, "model_family=", model->family);
    say_text(firmware, "model_hash=", model->hash);
    if (firmware->decided) {
        say_number(firmware, "cached_age_ms=", (now_us - firmware->decided_t_us) / 1000u);
    }
    say_number(firmware, "decisions=", firmware->decisions);
    say_number(firmware, "samples_dropped=", stinger_ring_dropped(&firmware->ring));
    say_number(firmware, "gaps=", firmware->gaps);
}

bool stinger_firmware_command(stinger_firmware *firmware, const char *line, uint32_t now_us) {
    const stinger_firmware_hooks *hooks = firmware->hooks;
    if (same(line, "MLMODEL_INFO")) {
        info(firmware, now_us);
    } else if (same(line, "MLMODEL_LOAD")) {
        say(firmware, stinger_firmware_load(firmware) ? "MLMODEL_LOADED" : "MLMODEL_ERR load");
    } else if (same(line, "MLMODEL_DELETE")) {
        bool removed = hooks->remove != NULL && hooks->remove(hooks->context);
        stinger_firmware_load(firmware);
        say(firmware, removed ? "MLMODEL_DELETED" : "MLMODEL_ERR delete");
    } else {
        return false;
    }
    return true;
}
