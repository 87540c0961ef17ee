/*
 * stinger_firmware: the classifier where the blaster's own firmware has its seams.
 *
 * Sampling on one core, deciding on the other, commands from the serial port, a model of the user's as a file. It knows
 * neither Arduino nor a file system: what it needs are the callbacks of stinger_firmware_hooks. C99, no heap; one context,
 * which its caller owns, and which must begin as zeros (a static one does).
 *
 *     static stinger_firmware idle;                              // both cores'
 *
 *     stinger_firmware_start(&idle, &stinger_model_data, &hooks, micros());      // core 0, once: setup()
 *     stinger_firmware_sample(&idle, micros(), axes);            // core 1, or an interrupt: every 16th raw sample
 *     stinger_firmware_poll(&idle);                              // core 0: each time round loop()
 *     bool spin = stinger_firmware_on(&idle, micros());          // core 0: what the flywheels are told
 *     if (!stinger_firmware_command(&idle, line, micros()))      // core 0: a line that came
 *         handle_command(line);                                  // not ours
 *
 * stinger_firmware_sample may be called at any time, from before stinger_firmware_start on, and never waits for the other
 * core (see stinger_ring.h). Everything else is core 0's.
 */
#ifndef STINGER_FIRMWARE_H
#define STINGER_FIRMWARE_H

#include "stinger_image.h"
#include "stinger_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef STINGER_FIRMWARE_IMAGE_BYTES
#define STINGER_FIRMWARE_IMAGE_BYTES 8192 /* RAM for a model from a file; 0 leaves files out */
#endif

/* A probability older than this counts as 0, as in the stock firmware: the sensor's side has stopped. */
#define STINGER_FIRMWARE_STALE_US 250000u

typedef struct {
    void *context; /* passed to the callbacks */

    /* Read the user's model file, at most `capacity` bytes, into `to`. Its size, which may be more than `capacity`; 0
     * when there is no such file, or it cannot be read. NULL without files. */
    uint32_t (*load)(void *context, void *to, uint32_t capacity);

    /* Remove that file; false when that fails. No file is no failure. NULL without files. */
    bool (*remove)(void *context);

    /* Send a reply, without prefix and line ending: the firmware adds its own "[ml] " and "\r\n". */
    void (*reply)(void *context, const char *line);
} stinger_firmware_hooks;

/* Treat as opaque, but for the fields named. */
typedef struct {
    stinger_ring ring; /* between the cores; all else is core 0's */
    stinger_stream stream;
    stinger_decision decision; /* the newest; decision.feature too */
    stinger_image image;
    const stinger_model *builtin;
    const stinger_firmware_hooks *hooks;
    uint32_t decided_t_us; /* of which sample */
    uint32_t decisions; /* made so far */
    uint32_t gaps; /* stretches of dropped samples */
    bool decided; /* there is a decision of this model, and it is not stale */
    bool user; /* the model is the file's */
    uint32_t bytes[(STINGER_FIRMWARE_IMAGE_BYTES + 3) / 4 + 1];
} stinger_firmware;

/*
 * Begin with the user's model if there is a good one, else with the one compiled in. `builtin` and `hooks` must stay.
 * False when not even `builtin` fits the limits of this build: then there will never be a decision.
 */
bool stinger_firmware_start(stinger_firmware *firmware, const stinger_model *builtin,
                            const stinger_firmware_hooks *hooks, uint32_t now_us);

/*
 * A sample, in the order and units the model was trained on: ax, ay, az, gx, gy, gz in LSB for the blaster. Here `value`
 * has STINGER_MAX_CHANNELS values. False when it was dropped, because the other side has been busy for too long.
 */
bool stinger_firmware_sample(stinger_firmware *firmware, uint32_t t_us, const int16_t *value);

/*
 * Take the samples that have come and decide once, on the newest. True when there is a new decision. Costs nothing when
 * there is no sample; with several waiting, one decision and the sliding window's share for each.
 */
bool stinger_firmware_poll(stinger_firmware *firmware);

/* What the model's policy says: on or off. Off without a policy, and when the samples have stopped. */
bool stinger_firmware_on(stinger_firmware *firmware, uint32_t now_us);

/* The newest probability of a class, in 1/32768; 0 when there is none yet, or it is stale. */
uint16_t stinger_firmware_probability(stinger_firmware *firmware, uint8_t label, uint32_t now_us);

/*
 * A line from the serial port, without its ending. True when it was one of these, which are the stock firmware's for a
 * generic model file and are answered as it does:
 *     MLMODEL_LOAD      take the file as it is now          MLMODEL_LOADED, or MLMODEL_ERR load
 *     MLMODEL_DELETE    remove it, back to the built-in     MLMODEL_DELETED, or MLMODEL_ERR delete
 *     MLMODEL_INFO      which model, how it is doing        name=value lines
 * MLMODEL_PUT stays with the firmware: it writes the file. A model that does not fit is refused; the built-in one runs.
 */
bool stinger_firmware_command(stinger_firmware *firmware, const char *line, uint32_t now_us);

/* What MLMODEL_LOAD does, for firmware with its own way of asking. */
bool stinger_firmware_load(stinger_firmware *firmware);

#ifdef __cplusplus
}
#endif

#endif
