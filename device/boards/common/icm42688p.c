/*
 * TDK ICM-42688-P, at +-16 g and +-2000 degrees a second: its LSB are the Stinger's. Register numbers, packets and times
 * are from the datasheet (DS-000347). All registers used are in bank 0, where a reset leaves the chip.
 */
#include "imu.h"

#define DEVICE_CONFIG 0x11u
#define RESET 0x01u
#define INT_CONFIG 0x14u
#define LATCHED_PUSH_PULL_HIGH 0x07u
#define FIFO_CONFIG 0x16u
#define STREAM 0x40u     /* when it is full the oldest samples go */
#define INT_STATUS 0x2Du /* FIFO_COUNTH and FIFO_COUNTL follow; reading it lets go of the interrupt */
#define FIFO_FULL 0x02u
#define NOT_A_STATUS 0x80u /* always 0 */
#define FIFO_DATA 0x30u
#define INTF_CONFIG0 0x4Cu
#define RECORDS_BIG_ENDIAN_NO_I2C 0x73u
#define PWR_MGMT0 0x4Eu
#define BOTH_LOW_NOISE 0x0Fu
#define GYRO_CONFIG0 0x4Fu  /* bits 7..5: range, 0 is +-2000 degrees a second; bits 3..0: rate */
#define ACCEL_CONFIG0 0x50u /* bits 7..5: range, 0 is +-16 g; bits 3..0: rate */
#define TMST_CONFIG 0x54u
#define TIMESTAMPS 0x21u /* bits 7..5 as after a reset; no FSYNC, resolution 1 us */
#define FIFO_CONFIG1 0x5Fu
#define BOTH_AND_TEMPERATURE 0x27u /* and an interrupt at every sample above the watermark */
#define FIFO_CONFIG2 0x60u         /* watermark, FIFO_CONFIG3 is its upper half */
#define FIFO_CONFIG3 0x61u
#define INT_CONFIG1 0x64u
#define SHORT_PULSES 0x60u /* as rates of 4 kHz and more need; bit 4 must be cleared for interrupts to work */
#define INT_SOURCE0 0x65u
#define WATERMARK_TO_INT1 0x04u
#define WHO_AM_I 0x75u
#define IDENTITY 0x47u
#define REG_BANK_SEL 0x76u

#define RESET_US 1000u
#define POWER_UP_US 200u /* no register may be written before */

/* A packet: header, accelerometer, gyroscope, temperature, time; 16-bit values big-endian. */
#define PACKET_BYTES 16u
#define HEADER_MASK 0xFCu /* the rest says that a rate has changed */
#define HEADER 0x68u      /* both sensors, 16 bits, the time of the sample */
#define TIME_AT 14u

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint16_t big_endian(const uint8_t *bytes) {
    return (uint16_t)((uint32_t)bytes[0] << 8 | bytes[1]);
}

static uint32_t start(const imu_bus *bus, uint32_t period_us, uint32_t oversampling) {
    static const imu_rate rates[] = {
        {20000, 0x09}, {10000, 0x08}, {5000, 0x07}, {2000, 0x0F}, {1000, 0x06}, {500, 0x05}, {250, 0x04}, {125, 0x03},
    };
    const imu_rate *rate = imu_choose_rate(rates, COUNT(rates), period_us, oversampling);
    const imu_setting settings[] = {
        {INT_CONFIG, LATCHED_PUSH_PULL_HIGH},
        {INTF_CONFIG0, RECORDS_BIG_ENDIAN_NO_I2C},
        {GYRO_CONFIG0, rate->code},
        {ACCEL_CONFIG0, rate->code},
        {TMST_CONFIG, TIMESTAMPS},
        {FIFO_CONFIG2, 1},
        {FIFO_CONFIG3, 0},
        {FIFO_CONFIG1, BOTH_AND_TEMPERATURE},
        {INT_CONFIG1, SHORT_PULSES},
        {INT_SOURCE0, WATERMARK_TO_INT1},
        {FIFO_CONFIG, STREAM},
        {PWR_MGMT0, BOTH_LOW_NOISE},
    };

    imu_set(bus, REG_BANK_SEL, 0); /* our own restart may have come at any moment */
    if (imu_get(bus, WHO_AM_I) != IDENTITY) {
        return 0;
    }
    imu_set(bus, DEVICE_CONFIG, RESET);
    imu_wait(bus, RESET_US);
    imu_set_all(bus, settings, COUNT(settings));
    imu_wait(bus, POWER_UP_US);
    return imu_has_all(bus, settings, COUNT(settings)) ? rate->period_us : 0;
}

static bool runs(const imu_bus *bus) {
    static const imu_setting settings[] = {{PWR_MGMT0, BOTH_LOW_NOISE}, {FIFO_CONFIG, STREAM}};
    return imu_has_all(bus, settings, COUNT(settings));
}

static bool read(const imu_bus *bus, imu_raw *raw) {
    uint8_t status[3];
    uint8_t packet[PACKET_BYTES];
    imu_burst(bus, INT_STATUS, status, sizeof status);
    raw->queued = big_endian(status + 1);
    if ((status[0] & NOT_A_STATUS) != 0 || raw->queued == 0) {
        return false;
    }
    imu_burst(bus, FIFO_DATA, packet, sizeof packet);
    if ((packet[0] & HEADER_MASK) != HEADER) {
        return false;
    }
    for (size_t i = 0; i < IMU_CHANNELS; i++) {
        raw->value[i] = (int16_t)big_endian(packet + 1 + 2 * i);
    }
    raw->ticks = big_endian(packet + TIME_AT);
    raw->lost = (status[0] & FIFO_FULL) != 0;
    return true;
}

/* Ticks of the time are 32/30 us (section 12.7). */
const imu_driver imu_icm42688p = {"ICM-42688-P", 50000, 0xFFFFu, 1, 1, start, runs, read};
