/*
 * The blaster's arrangement on an RP2040: core 1 samples, core 0 decides and talks, the user's model is a file.
 *
 * Copy stinger_model_data.c from a bundle's folder `integer` beside this sketch: it is the model to fall back to. A file
 * /model.mlmd is one that the user uploads. Replace readRaw by the sensor's driver.
 */
#include <Arduino.h>
#include <LittleFS.h>
#include <stinger_firmware.h>

extern "C" const stinger_model stinger_model_data;

static const char *const FILE_NAME = "/model.mlmd";
static const uint32_t RAW_US = 625;     /* 1600 Hz */
static const uint32_t KEEP_EVERY = 16;  /* 100 Hz, as the log */

static stinger_firmware idle_model;
static char line[64];
static size_t lineLength;

static bool readRaw(int16_t *axes) {
    for (int i = 0; i < STINGER_MAX_CHANNELS; i++) {
        axes[i] = (int16_t)analogRead(A0);
    }
    return true;
}

static uint32_t loadFile(void *context, void *to, uint32_t capacity) {
    (void)context;
    File file = LittleFS.open(FILE_NAME, "r");
    if (!file) {
        return 0;
    }
    uint32_t size = (uint32_t)file.size();
    if (size <= capacity && (uint32_t)file.read((uint8_t *)to, size) != size) {
        size = 0;
    }
    file.close();
    return size;
}

static bool removeFile(void *context) {
    (void)context;
    return !LittleFS.exists(FILE_NAME) || LittleFS.remove(FILE_NAME);
}

static void reply(void *context, const char *text) {
    (void)context;
    Serial.print("[ml] ");
    Serial.print(text);
    Serial.print("\r\n");
}

static const stinger_firmware_hooks hooks = {NULL, loadFile, removeFile, reply};

void setup() {
    Serial.begin(115200);
    LittleFS.begin();
    stinger_firmware_start(&idle_model, &stinger_model_data, &hooks, micros());
}

void loop() {
    stinger_firmware_poll(&idle_model);
    digitalWrite(LED_BUILTIN, stinger_firmware_on(&idle_model, micros()) ? HIGH : LOW);
    while (Serial.available() > 0) {
        char c = (char)Serial.read();
        if (c != '\n') {
            lineLength += lineLength < sizeof line ? 1 : 0; /* a line that is too long is dropped whole */
            line[lineLength - 1] = c == '\r' ? '\0' : c;
            continue;
        }
        if (lineLength < sizeof line) {
            line[lineLength] = '\0';
            stinger_firmware_command(&idle_model, line, micros());
        }
        lineLength = 0;
    }
}

void setup1() {
    pinMode(LED_BUILTIN, OUTPUT);
}

void loop1() {
    static uint32_t dueUs = micros();
    static uint32_t count;
    int16_t axes[STINGER_MAX_CHANNELS];
    uint32_t now = micros();
    if ((int32_t)(now - dueUs) < 0 || !readRaw(axes)) {
        return;
    }
    dueUs += RAW_US;
    if (++count % KEEP_EVERY == 0) {
        stinger_firmware_sample(&idle_model, now, axes);
    }
}
