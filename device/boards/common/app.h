/* What the parts of the firmware application have from each other; of it, boards may use app_model. See stinger_app.h. */
#ifndef APP_H
#define APP_H

#include "board.h"
#include "stinger_ml.h"
#include "text.h"

#include <stdbool.h>
#include <stdint.h>

#define APP_SILENCE_US 10000000u /* without a byte: a host that sends is gone */

/* stinger_app.c */

/* The stream that decisions come from. */
extern stinger_stream stinger_app_stream;
/* A line to the host, with prefix and ending; dropped and counted when there is no room. */
void app_reply(const char *line);
void app_send(const text *line);
/* Stop what the host began: replay, stream. */
void app_stop(void);
bool app_idle(void);
/* Run this model from now on. False, and the old one runs on, when it exceeds this firmware's limits. */
bool app_run(const stinger_model *model);
const stinger_model *app_model(void);

/* app_models.c: models in flash. */

/* Find out which model to run; `builtin` is what the firmware brings along. */
void models_init(const stinger_model *builtin);
bool models_command(const char *line);
/* Part of the answer to MLHELLO. */
void models_put_hello(text *out);
/* While an upload goes on, every byte from the host is the image's. */
bool models_uploading(void);
void models_take(uint8_t byte);
/* The host has been silent for so long. */
void models_silence(uint32_t silent_us);

/* app_stock.c: what the stock firmware says about its models. */
void stock_info(bool from_user, uint32_t loaded_us, const void *lr, const void *mlp);

/* app_log.c: the log of the sensor, as the stock firmware has it. */
void log_sample(const board_sample *sample, uint8_t channels);
bool log_command(const char *line);
/* While a log is sent, nothing is read from the host. */
bool log_sending(void);
/* Send some of it. Returns false when there was no room. */
bool log_poll(void);

/* app_bench.c: how long decisions take here. */
bool bench_command(const char *line);
bool bench_poll(void);
void bench_stop(void);

#endif
