/*
 * ST LSM6DSOX, at +-16 g and +-2000 degrees a second. Register numbers, sensitivities and times are from the datasheet
 * (DS12814). The LSM6DSO has the same identity and registers.
 */
#include "imu.h"

#define WHO_AM_I 0x0Fu
#define IDENTITY 0x6Cu
#define CTRL1_XL 0x10u
#define RANGE_16G 0x04u
#define CTRL2_G 0x11u
#define RANGE_2000DPS 0x0Cu
#define CTRL3_C 0x12u
#define SOFTWARE_RESET 0x01u
#define WHOLE_SAMPLES_NEXT_REGISTER 0x44u /* BDU: no half-new values; IF_INC: bursts go on */
#define CTRL4_C 0x13u
#define NO_I2C 0x04u
#define STATUS_REG 0x1Eu
#define BOTH_READY 0x03u
#define NOT_A_STATUS 0xF8u /* always 0 */
#define OUTX_L_G 0x22u     /* six values, gyroscope first, each little-endian */

#define RESET_US 15000u /* the chip takes 10 ms to boot */

/*
 * 70 mdps per LSB, where the Stinger has 16.4 LSB per degree a second: 0.070 * 16.4 = 1.148. The accelerometer's 0.488 mg
 * per LSB is 2049.2 LSB per g: within 0.06 % of 2048, a twentieth of what the datasheet allows it to be wrong.
 */
static int16_t scale_gyroscope(int32_t raw) {
    int32_t scaled = raw * 1148;
    scaled = (scaled + (scaled < 0 ? -500 : 500)) / 1000;
    return (int16_t)(scaled < INT16_MIN ? INT16_MIN : scaled > INT16_MAX ? INT16_MAX : scaled);
}

static bool start(const imu_bus *bus, uint32_t period_us) {
    static const imu_rate rates[] = {
        {19231, 0x30}, {9615, 0x40}, {4808, 0x50}, {2404, 0x60}, {1200, 0x70}, {600, 0x80}, {300, 0x90}, {150, 0xA0},
    };
    uint8_t rate = imu_rate_code(rates, sizeof rates / sizeof rates[0], period_us);

    if (imu_get(bus, WHO_AM_I) != IDENTITY) {
        return false;
    }
    imu_set(bus, CTRL3_C, SOFTWARE_RESET);
    bus->wait_us(bus->context, RESET_US);
    imu_set(bus, CTRL3_C, WHOLE_SAMPLES_NEXT_REGISTER);
    imu_set(bus, CTRL4_C, NO_I2C);
    imu_set(bus, CTRL1_XL, (uint8_t)(rate | RANGE_16G));
    imu_set(bus, CTRL2_G, (uint8_t)(rate | RANGE_2000DPS));
    return imu_get(bus, CTRL3_C) == WHOLE_SAMPLES_NEXT_REGISTER && imu_get(bus, CTRL1_XL) == (rate | RANGE_16G) &&
           imu_get(bus, CTRL2_G) == (rate | RANGE_2000DPS);
}

static int16_t little_endian(const uint8_t *raw) {
    return (int16_t)(uint16_t)(raw[0] | (uint32_t)raw[1] << 8);
}

static bool read(const imu_bus *bus, int16_t value[IMU_CHANNELS]) {
    uint8_t raw[2 * IMU_CHANNELS];
    if ((imu_get(bus, STATUS_REG) & (BOTH_READY | NOT_A_STATUS)) != BOTH_READY) {
        return false;
    }
    imu_burst(bus, OUTX_L_G, raw, sizeof raw);
    for (size_t i = 0; i < 3; i++) {
        value[i] = little_endian(raw + 6 + 2 * i);
        value[3 + i] = scale_gyroscope(little_endian(raw + 2 * i));
    }
    return true;
}

const imu_driver imu_lsm6dsox = {"LSM6DSOX", 100000, start, read};
