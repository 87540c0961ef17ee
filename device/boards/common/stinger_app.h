/*
 * The firmware application: text commands and frames from the host, samples from the sensor, decisions back.
 * The same on every board; see board.h for what a board provides, stinger_frame.h for the frames.
 *
 * Commands (at most 63 characters and a line ending; longer ones are dropped whole and counted):
 *     MLHELLO               one line of JSON: who this is, which model, which limits
 *     MLREPLAY <n>          READY; then n SAMPLE frames from the host, a DECISION for each, an END
 *     MLSTREAM START [hz]   a SAMPLE and a DECISION frame for every sample of the board's sensor, or for some
 *     MLSTREAM STOP         no more of them
 *     MLBENCH <n>           what n decisions cost, in cycles
 *     MLMODEL_PUT_SLOT, MLMODEL_ROLLBACK: a model into flash and running, and the one before it again
 *     MLINFO MLDUMP MLMODEL_...: as the stock firmware; docs/protocol.md
 * Anything else beginning with ML is answered `[ml] ERROR: unknown command`; other lines are not for us.
 */
#ifndef STINGER_APP_H
#define STINGER_APP_H

#include "stinger_ml.h"

#include <stdbool.h>

/* SAMPLE frames a host may have unanswered during a replay. */
#define STINGER_REPLAY_IN_FLIGHT 32

void stinger_app_init(const stinger_model *model);

/* Handle what has arrived since the last call. Returns false when there was nothing to do: time to sleep. */
bool stinger_app_poll(void);

#endif
