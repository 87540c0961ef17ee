/*
 * Six-axis sensors behind SPI, for the pico_sdk board. Nothing here knows the SDK: a bus is two functions, which a test
 * can be as well as a chip.
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

typedef struct {
    /* Within one chip select: send `size` bytes and receive as many; both buffers are always given. */
    void (*transfer)(void *context, const uint8_t *send, uint8_t *receive, size_t size);
    void (*wait_us)(void *context, uint32_t us);
    void *context;
} imu_bus;

typedef struct {
    const char *name;
    uint32_t settle_us; /* from start until the values mean something */

    /*
     * Look for the chip, reset it and let it run at a rate of its own, so much higher than one sample per `period_us`
     * that its newest sample is young enough whenever it is read; at its highest rate if there is no such one. False
     * when another chip answers, or none. May take some milliseconds.
     */
    bool (*start)(const imu_bus *bus, uint32_t period_us);

    /* The newest sample. False when there is none since the last: it is unplugged, or has lost its settings. */
    bool (*read)(const imu_bus *bus, int16_t value[IMU_CHANNELS]);
} imu_driver;

extern const imu_driver imu_icm42688p;
extern const imu_driver imu_lsm6dsox;

/* Start the first sensor that answers, or NULL. */
const imu_driver *imu_detect(const imu_bus *bus, uint32_t period_us);

/* For drivers. Both chips have 7-bit register addresses, bit 7 set to read, and go on to the next register. */
uint8_t imu_get(const imu_bus *bus, uint8_t address);
void imu_set(const imu_bus *bus, uint8_t address, uint8_t value);

#define IMU_BURST_MAX 16
/* Read up to IMU_BURST_MAX registers from `address` on. */
void imu_burst(const imu_bus *bus, uint8_t address, uint8_t *value, size_t size);

/* A rate of a sensor, and the bits that ask for it. */
typedef struct {
    uint32_t period_us;
    uint8_t code;
} imu_rate;

/* Of rates from slow to fast, the slowest that brings eight samples in `period_us`; else the last. */
uint8_t imu_rate_code(const imu_rate *rates, size_t count, uint32_t period_us);

#endif
