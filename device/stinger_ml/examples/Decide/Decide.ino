/*
 * A decision for each sample of a six-axis sensor, printed when it changes.
 *
 * Export a model (`stinger export`) and copy stinger_model_data.c from the bundle's folder `integer` beside this sketch.
 * Then replace readAxes by what your sensor's library offers: the channels, units and rate that the model was trained on.
 */
#include <Arduino.h>
#include <stinger_ml.h>

extern "C" const stinger_model stinger_model_data;

static stinger_stream stream;
static stinger_decision decision;
static uint32_t dueUs;

static bool readAxes(int16_t *axes) {
    for (int i = 0; i < STINGER_MAX_CHANNELS; i++) {
        axes[i] = (int16_t)analogRead(A0);
    }
    return true;
}

void setup() {
    Serial.begin(115200);
    while (!stinger_stream_init(&stream, &stinger_model_data)) {
        Serial.println("the model does not fit this build's limits, see stinger_ml.h");
        delay(1000);
    }
    dueUs = micros();
}

void loop() {
    static int last = -1;
    int16_t axes[STINGER_MAX_CHANNELS];
    uint32_t now = micros();
    if ((int32_t)(now - dueUs) < 0 || !readAxes(axes)) {
        return;
    }
    dueUs += stinger_model_data.period_us;
    if (!stinger_stream_push(&stream, axes, now, false)) {
        return; /* the window is not full yet */
    }
    stinger_stream_decide(&stream, &decision);
    if (decision.label != last) {
        last = decision.label;
        Serial.print(stinger_model_data.class_names[decision.label]);
        Serial.print(' ');
        Serial.println((long)decision.probability[decision.label] * 100 / STINGER_ONE);
    }
}
