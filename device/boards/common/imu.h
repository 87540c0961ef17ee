/*
 * Six-axis sensors behind SPI. Nothing here knows a board: a bus is two functions, which a test can be as well as a
 * chip.
 *
 * Samples come out of the sensor's FIFO with the sensor's own times: what waits there while the board is busy is
 * neither lost nor late, and what was overwritten, or never measured, is told as a gap.
 *
 * Whatever the sensor, values have the scale of the Stinger's log: accelerometer 2048 LSB per g, gyroscope 16.4 LSB per
 * degree a second, limited to int16; in the order ax, ay, az, gx, gy, gz.
 */
#ifndef IMU_H
#define IMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMU_CHANNELS 6
/* Silence after which the sensor is asked whether it still has its settings. */
#define IMU_SILENT_US 500000u

typedef struct {
    /* Within one chip select: send `size` bytes and receive as many; both buffers are always given. */
    void (*transfer)(void *context, const uint8_t *send, uint8_t *receive, size_t size);
    /* The board's clock; wraps. */
    uint32_t (*micros)(void *context);
    void *context;
} imu_bus;

/* What a driver takes out of its sensor's FIFO. */
typedef struct {
    int16_t value[IMU_CHANNELS];
    uint32_t ticks;  /* of the sensor's clock */
    uint32_t queued; /* samples that were in the FIFO, this one included */
    bool lost;       /* samples before this one may have been overwritten */
} imu_raw;

typedef struct {
    const char *name;
    uint32_t settle_us; /* from start until the values mean something */
    uint32_t tick_mask; /* of what its clock counts to */
    uint8_t tick_us;    /* a tick is this long, */
    uint8_t tick_part;  /* and so many fifteenths */

    /*
     * Look for the chip, reset it and let it sample at a rate of its own, at least `oversampling` samples per
     * `period_us`; at its highest rate if that is less. Returns the time between two samples; 0 when another chip
     * answers, or none. May take some milliseconds.
     */
    uint32_t (*start)(const imu_bus *bus, uint32_t period_us, uint32_t oversampling);

    /* Whether it still has its settings: its supply may have broken down, or a contact. */
    bool (*runs)(const imu_bus *bus);

    /* The oldest sample in the FIFO. False when it is empty. */
    bool (*read)(const imu_bus *bus, imu_raw *raw);
} imu_driver;

extern const imu_driver imu_icm42688p;
extern const imu_driver imu_lsm6dsox;

/* A sensor in use; see imu_start. */
typedef struct {
    const imu_bus *bus;
    const imu_driver *driver; /* NULL: none answers */
    uint32_t period_us;       /* what it was started for */
    uint32_t oversampling;
    uint32_t heard_us; /* by the board's clock: the last start, sample or look at its settings */
    uint32_t start_us;
    uint32_t born_us;   /* about when the last sample was taken, by the board's clock */
    uint32_t sample_us; /* from one sample to the next */
    uint32_t ticks;     /* of the last sample */
    uint32_t t_us;      /* its time */
    uint32_t rest;      /* and the fifteenths that are missing from it */
    bool timed;         /* there has been one */
    bool settling;
    bool gap; /* before the next sample: it has been started since the last */
} imu;

typedef struct {
    uint32_t t_us; /* in the sensor's clock, which goes on over restarts */
    bool gap;      /* samples are missing before this one */
    int16_t value[IMU_CHANNELS];
} imu_sample;

/*
 * Start the first sensor that answers, with the rate that `start` of a driver gets. Again, for another period or after
 * a failure, on the same zeroed-at-first object. False when none answers.
 */
bool imu_start(imu *sensor, const imu_bus *bus, uint32_t period_us, uint32_t oversampling);

/* False as long as samples are thrown away because the sensor has just been started. */
bool imu_settled(imu *sensor);

/*
 * The next sample. False when there is none now; call it again before IMU_SILENT_US have passed, since a sensor that
 * has lost its settings is started again here.
 */
bool imu_take(imu *sensor, imu_sample *sample);

/* For drivers. Both chips have 7-bit register addresses, bit 7 set to read, and go on to the next register. */
uint8_t imu_get(const imu_bus *bus, uint8_t address);
void imu_set(const imu_bus *bus, uint8_t address, uint8_t value);

typedef struct {
    uint8_t address;
    uint8_t value;
} imu_setting;

void imu_set_all(const imu_bus *bus, const imu_setting *settings, size_t count);
/* Whether all of them read as they were set: they do not with a bad wire to the sensor's data pin. */
bool imu_has_all(const imu_bus *bus, const imu_setting *settings, size_t count);

#define IMU_BURST_MAX 16
/* Read up to IMU_BURST_MAX registers from `address` on. */
void imu_burst(const imu_bus *bus, uint8_t address, uint8_t *value, size_t size);

void imu_wait(const imu_bus *bus, uint32_t us);

/* The processor cannot divide, and compilers would call a function that nothing else needs. */
uint32_t imu_divide(uint32_t dividend, uint32_t divisor);

/* A rate of a sensor, and the bits that ask for it. */
typedef struct {
    uint32_t period_us;
    uint8_t code;
} imu_rate;

/* Of rates from slow to fast, the slowest that brings `oversampling` samples in `period_us`; else the last. */
const imu_rate *imu_choose_rate(const imu_rate *rates, size_t count, uint32_t period_us, uint32_t oversampling);

#endif
