/*
 * TDK ICM-42688-P, at +-16 g and +-2000 degrees a second: its LSB are the Stinger's. Register numbers and times are from
 * the datasheet (DS-000347). All registers used are in bank 0, where a reset leaves the chip.
 */
#include "imu.h"

#define DEVICE_CONFIG 0x11u
#define RESET 0x01u
#define ACCEL_DATA 0x1Fu /* six values, accelerometer first, each big-endian */
#define INT_STATUS 0x2Du
#define DATA_READY 0x08u
#define NOT_A_STATUS 0x80u /* always 0 */
#define PWR_MGMT0 0x4Eu
#define BOTH_LOW_NOISE 0x0Fu
#define GYRO_CONFIG0 0x4Fu  /* bits 7..5: range, 0 is +-2000 degrees a second; bits 3..0: rate */
#define ACCEL_CONFIG0 0x50u /* bits 7..5: range, 0 is +-16 g; bits 3..0: rate */
#define WHO_AM_I 0x75u
#define IDENTITY 0x47u
#define REG_BANK_SEL 0x76u

#define RESET_US 1000u
#define POWER_UP_US 200u /* no register may be written before */

static bool start(const imu_bus *bus, uint32_t period_us) {
    static const imu_rate rates[] = {
        {20000, 0x09}, {10000, 0x08}, {5000, 0x07}, {2000, 0x0F}, {1000, 0x06}, {500, 0x05}, {250, 0x04}, {125, 0x03},
    };
    uint8_t rate = imu_rate_code(rates, sizeof rates / sizeof rates[0], period_us);

    imu_set(bus, REG_BANK_SEL, 0); /* our own restart may have come at any moment */
    if (imu_get(bus, WHO_AM_I) != IDENTITY) {
        return false;
    }
    imu_set(bus, DEVICE_CONFIG, RESET);
    bus->wait_us(bus->context, RESET_US);
    imu_set(bus, GYRO_CONFIG0, rate);
    imu_set(bus, ACCEL_CONFIG0, rate);
    imu_set(bus, PWR_MGMT0, BOTH_LOW_NOISE);
    bus->wait_us(bus->context, POWER_UP_US);
    return imu_get(bus, GYRO_CONFIG0) == rate && imu_get(bus, ACCEL_CONFIG0) == rate;
}

static bool read(const imu_bus *bus, int16_t value[IMU_CHANNELS]) {
    uint8_t raw[2 * IMU_CHANNELS];
    if ((imu_get(bus, INT_STATUS) & (DATA_READY | NOT_A_STATUS)) != DATA_READY) {
        return false;
    }
    imu_burst(bus, ACCEL_DATA, raw, sizeof raw);
    for (size_t i = 0; i < IMU_CHANNELS; i++) {
        value[i] = (int16_t)(uint16_t)((uint32_t)raw[2 * i] << 8 | raw[2 * i + 1]);
    }
    return true;
}

const imu_driver imu_icm42688p = {"ICM-42688-P", 50000, start, read};
