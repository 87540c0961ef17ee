/*
 * What the firmware application needs from a board. A new board is one directory with these functions and a main
 * that calls stinger_app_init once and stinger_app_poll for ever. Nothing here may block.
 */
#ifndef BOARD_H
#define BOARD_H

#include "stinger_ml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    uint32_t clock_hz;
    const char *imu;         /* name of the sensor; NULL when none answers. Known before stinger_app_init */
    uint8_t sensor_channels; /* how many values it gives; 0 without one */
} board_info;

typedef struct {
    uint32_t t_us; /* when it was taken, in the sensor's clock */
    bool gap;      /* samples are known to be missing before this one */
    int16_t value[STINGER_MAX_CHANNELS];
} board_sample;

extern board_info board;

/* The next byte from the host, or -1. */
int board_read_byte(void);

/* Send all of `data` to the host, or nothing of it: false when there is no room now. */
bool board_write(const uint8_t *data, size_t size);

/* Time since start in microseconds; wraps after 71 minutes. */
uint32_t board_micros(void);

/* Processor cycles, counting up, modulo BOARD_CYCLES_MASK + 1. Differences are good for one wrap (134 ms at
 * 125 MHz). A board without such a counter counts nanoseconds. */
#define BOARD_CYCLES_MASK 0xFFFFFFu
uint32_t board_cycles(void);

/* Take a live sample of `channels` values, if one is there; the sensor may not have them all. */
bool board_sensor_read(board_sample *sample, uint8_t channels);

/*
 * The stretch of flash that is kept for models, and what changes it: whole sectors are erased, whole units programmed.
 * Places count from its beginning. These may take as long as the flash does; `sync` returns when all of it would
 * outlive a power cut.
 */
typedef struct {
    const uint8_t *mapped; /* where it is read; at a multiple of four */
    uint32_t size;         /* 0: there is none */
    uint32_t sector_size;
    uint32_t program_size;
} board_flash_area;

const board_flash_area *board_flash(void);
bool board_flash_erase(uint32_t at);
bool board_flash_program(uint32_t at, const void *from, uint32_t size);
bool board_flash_sync(void);

/* Bytes of stack never used so far, or -1 when the board cannot tell. */
int32_t board_stack_free(void);

#endif
