/* What the sensors have in common; see imu.h. */
#include "imu.h"

#define READ 0x80u
#define FIFTEENTHS 15u

uint8_t imu_get(const imu_bus *bus, uint8_t address) {
    uint8_t value;
    imu_burst(bus, address, &value, 1);
    return value;
}

void imu_set(const imu_bus *bus, uint8_t address, uint8_t value) {
    const uint8_t send[2] = {address, value};
    uint8_t receive[2];
    bus->transfer(bus->context, send, receive, sizeof send);
}

void imu_set_all(const imu_bus *bus, const imu_setting *settings, size_t count) {
    for (size_t i = 0; i < count; i++) {
        imu_set(bus, settings[i].address, settings[i].value);
    }
}

bool imu_has_all(const imu_bus *bus, const imu_setting *settings, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (imu_get(bus, settings[i].address) != settings[i].value) {
            return false;
        }
    }
    return true;
}

void imu_burst(const imu_bus *bus, uint8_t address, uint8_t *value, size_t size) {
    uint8_t send[1 + IMU_BURST_MAX] = {0};
    uint8_t receive[1 + IMU_BURST_MAX] = {0};
    send[0] = (uint8_t)(address | READ);
    if (size > IMU_BURST_MAX) {
        size = IMU_BURST_MAX;
    }
    bus->transfer(bus->context, send, receive, 1 + size);
    for (size_t i = 0; i < size; i++) {
        value[i] = receive[1 + i];
    }
}

void imu_wait(const imu_bus *bus, uint32_t us) {
    uint32_t began = bus->micros(bus->context);
    while (bus->micros(bus->context) - began <= us) {
    }
}

uint32_t imu_divide(uint32_t dividend, uint32_t divisor) {
    uint32_t quotient = 0;
    uint32_t bit = 1;
    while (divisor <= dividend >> 1) {
        divisor <<= 1;
        bit <<= 1;
    }
    for (; bit != 0; bit >>= 1, divisor >>= 1) {
        if (dividend >= divisor) {
            dividend -= divisor;
            quotient |= bit;
        }
    }
    return quotient;
}

const imu_rate *imu_choose_rate(const imu_rate *rates, size_t count, uint32_t period_us, uint32_t oversampling) {
    uint32_t wanted_us = imu_divide(period_us, oversampling);
    size_t i = 0;
    while (i + 1 < count && rates[i].period_us > wanted_us) {
        i++;
    }
    return &rates[i];
}

static uint32_t now(const imu *sensor) {
    return sensor->bus->micros(sensor->bus->context);
}

bool imu_start(imu *sensor, const imu_bus *bus, uint32_t period_us, uint32_t oversampling) {
    /* In this order: the first only reads until it knows its chip, the second must select a bank before. */
    static const imu_driver *const known[] = {&imu_lsm6dsox, &imu_icm42688p};
    sensor->bus = bus;
    sensor->period_us = period_us;
    sensor->oversampling = oversampling;
    sensor->driver = NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && sensor->driver == NULL; i++) {
        sensor->sample_us = known[i]->start(bus, period_us, oversampling);
        if (sensor->sample_us != 0) {
            sensor->driver = known[i];
        }
    }
    sensor->start_us = sensor->heard_us = now(sensor);
    sensor->settling = sensor->driver != NULL;
    sensor->gap = true;
    return sensor->driver != NULL;
}

bool imu_settled(imu *sensor) {
    if (sensor->settling && now(sensor) - sensor->start_us >= sensor->driver->settle_us) {
        sensor->settling = false;
    }
    return !sensor->settling;
}

/*
 * Ticks since the last sample. A short clock wraps while nothing comes: how long ago that was, by the board's clock and
 * the samples' places in the FIFO, says how often. Only a clock of 16/15 us is short.
 */
static uint32_t ticks_since(const imu *sensor, uint32_t ticks, uint32_t passed_us) {
    uint32_t mask = sensor->driver->tick_mask;
    uint32_t step = (ticks - sensor->ticks) & mask;
    uint32_t nearest = passed_us - (passed_us >> 4) + (mask >> 1);
    if (mask != UINT32_MAX && nearest > step) {
        step += (nearest - step) & ~mask;
    }
    return step;
}

/* Give a sample its time. */
static void stamp(imu *sensor, const imu_raw *raw, imu_sample *sample) {
    const imu_driver *driver = sensor->driver;
    uint32_t born_us = now(sensor) - (raw->queued - 1u) * sensor->sample_us;
    uint32_t passed_us = born_us - sensor->born_us;
    uint32_t step_us;
    if (passed_us > UINT32_MAX / 2) {
        passed_us = 0; /* the sensor's samples come faster than it says */
    }
    if (sensor->timed && sensor->gap) {
        step_us = passed_us; /* it has been started again, and its clock with it */
    } else {
        uint32_t step = sensor->timed ? ticks_since(sensor, raw->ticks, passed_us) : raw->ticks;
        uint32_t fifteenths = step * driver->tick_part + sensor->rest;
        uint32_t part = imu_divide(fifteenths, FIFTEENTHS);
        sensor->rest = fifteenths - part * FIFTEENTHS;
        step_us = step * driver->tick_us + part;
    }
    bool missing = sensor->gap || step_us > sensor->period_us + sensor->period_us / 2;
    sample->gap = raw->lost || (sensor->timed && missing); /* the first follows no other */
    sensor->t_us += step_us;
    sample->t_us = sensor->t_us;
    sensor->ticks = raw->ticks;
    sensor->born_us = born_us;
    sensor->timed = true;
    sensor->gap = false;
}

bool imu_take(imu *sensor, imu_sample *sample) {
    imu_raw raw;
    while (sensor->driver != NULL && sensor->driver->read(sensor->bus, &raw)) {
        sensor->heard_us = now(sensor);
        if (!imu_settled(sensor)) {
            continue;
        }
        for (size_t i = 0; i < IMU_CHANNELS; i++) {
            sample->value[i] = raw.value[i];
        }
        stamp(sensor, &raw, sample);
        return true;
    }
    if (now(sensor) - sensor->heard_us >= IMU_SILENT_US) {
        sensor->heard_us = now(sensor);
        if (sensor->driver == NULL || !sensor->driver->runs(sensor->bus)) {
            imu_start(sensor, sensor->bus, sensor->period_us, sensor->oversampling);
        }
    }
    return false;
}
