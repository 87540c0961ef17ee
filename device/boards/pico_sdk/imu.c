/* What the sensors have in common; see imu.h. */
#include "imu.h"

#define READ 0x80u
#define OVERSAMPLING 8u

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

uint8_t imu_rate_code(const imu_rate *rates, size_t count, uint32_t period_us) {
    size_t i = 0;
    while (i + 1 < count && rates[i].period_us > period_us / OVERSAMPLING) {
        i++;
    }
    return rates[i].code;
}

const imu_driver *imu_detect(const imu_bus *bus, uint32_t period_us) {
    /* In this order: the first only reads until it knows its chip, the second must select a bank before. */
    static const imu_driver *const known[] = {&imu_lsm6dsox, &imu_icm42688p};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i]->start(bus, period_us)) {
            return known[i];
        }
    }
    return NULL;
}
