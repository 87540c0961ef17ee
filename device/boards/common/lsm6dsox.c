/*
 * ST LSM6DSOX, at +-16 g and +-2000 degrees a second. Register numbers, sensitivities and times are from the datasheet
 * (DS12814), how its FIFO works from the application note AN5272. The LSM6DSO has the same identity and registers.
 */
#include "imu.h"

#define FIFO_CTRL1 0x07u /* watermark in words */
#define FIFO_CTRL3 0x09u /* rates as in CTRL2_G and CTRL1_XL, bits 7..4 and 3..0 */
#define FIFO_CTRL4 0x0Au
#define TIMES_CONTINUOUS 0x46u /* a time with each sample; when it is full the oldest words go */
#define INT1_CTRL 0x0Du
#define WATERMARK_TO_INT1 0x08u
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
#define CTRL10_C 0x19u
#define TIMESTAMP_EN 0x20u
#define FIFO_STATUS1 0x3Au /* words, lower bits; FIFO_STATUS2 follows */
#define OVERRUN 0x08u      /* latched until it is read */
#define NOT_A_STATUS 0x04u /* always 0 */
#define WORDS_MASK 0x03u
#define FIFO_DATA_OUT_TAG 0x78u

#define RESET_US 15000u /* the chip takes 10 ms to boot */

/* A word: tag and six bytes, little-endian. A sample is three words with the same count in their tags. */
#define WORD_BYTES 7u
#define SAMPLE_WORDS 3u
#define TAG_COUNT_MASK 0x06u
#define TAG_GYROSCOPE 0x01u
#define TAG_ACCELEROMETER 0x02u
#define TAG_TIME 0x04u
#define ALL_TAGS 0x07u

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * 70 mdps per LSB, where the Stinger has 16.4 LSB per degree a second: 0.070 * 16.4 = 1.148. The accelerometer's 0.488 mg
 * per LSB is 2049.2 LSB per g: within 0.06 % of 2048, a twentieth of what the datasheet allows it to be wrong.
 */
static int16_t scale_gyroscope(int16_t raw) {
    uint32_t size = (uint32_t)(raw < 0 ? -(int32_t)raw : raw);
    int32_t scaled = (int32_t)imu_divide(size * 1148u + 500u, 1000u);
    if (raw < 0) {
        scaled = -scaled;
    }
    return (int16_t)(scaled < INT16_MIN ? INT16_MIN : scaled > INT16_MAX ? INT16_MAX : scaled);
}

static uint32_t start(const imu_bus *bus, uint32_t period_us, uint32_t oversampling) {
    static const imu_rate rates[] = {
        {19231, 0x3}, {9615, 0x4}, {4808, 0x5}, {2404, 0x6}, {1200, 0x7}, {600, 0x8}, {300, 0x9}, {150, 0xA},
    };
    const imu_rate *rate = imu_choose_rate(rates, COUNT(rates), period_us, oversampling);
    const uint32_t upper = (uint32_t)rate->code << 4;
    const imu_setting settings[] = {
        {CTRL3_C, WHOLE_SAMPLES_NEXT_REGISTER},
        {CTRL4_C, NO_I2C},
        {CTRL10_C, TIMESTAMP_EN},
        {FIFO_CTRL1, SAMPLE_WORDS},
        {FIFO_CTRL3, (uint8_t)(upper | rate->code)},
        {INT1_CTRL, WATERMARK_TO_INT1},
        {CTRL1_XL, (uint8_t)(upper | RANGE_16G)},
        {CTRL2_G, (uint8_t)(upper | RANGE_2000DPS)},
        {FIFO_CTRL4, TIMES_CONTINUOUS},
    };

    if (imu_get(bus, WHO_AM_I) != IDENTITY) {
        return 0;
    }
    imu_set(bus, CTRL3_C, SOFTWARE_RESET);
    imu_wait(bus, RESET_US);
    imu_set_all(bus, settings, COUNT(settings));
    return imu_has_all(bus, settings, COUNT(settings)) ? rate->period_us : 0;
}

static bool runs(const imu_bus *bus) {
    static const imu_setting settings[] = {{FIFO_CTRL4, TIMES_CONTINUOUS}, {INT1_CTRL, WATERMARK_TO_INT1}};
    return imu_has_all(bus, settings, COUNT(settings));
}

static uint16_t little_endian(const uint8_t *bytes) {
    return (uint16_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8);
}

static void take_word(const uint8_t word[WORD_BYTES], imu_raw *raw) {
    const uint8_t *data = word + 1;
    switch (word[0] >> 3) {
    case TAG_GYROSCOPE:
        for (size_t i = 0; i < 3; i++) {
            raw->value[3 + i] = scale_gyroscope((int16_t)little_endian(data + 2 * i));
        }
        break;
    case TAG_ACCELEROMETER:
        for (size_t i = 0; i < 3; i++) {
            raw->value[i] = (int16_t)little_endian(data + 2 * i);
        }
        break;
    default:
        raw->ticks = little_endian(data) | (uint32_t)little_endian(data + 2) << 16;
        break;
    }
}

static bool read(const imu_bus *bus, imu_raw *raw) {
    uint8_t status[2];
    imu_burst(bus, FIFO_STATUS1, status, sizeof status);
    uint32_t words = status[0] | (uint32_t)(status[1] & WORDS_MASK) << 8;
    if ((status[1] & NOT_A_STATUS) != 0 || words < SAMPLE_WORDS) {
        return false;
    }
    raw->queued = imu_divide(words, SAMPLE_WORDS);
    raw->lost = (status[1] & OVERRUN) != 0;
    /* After an overrun the FIFO begins with what is left of a sample: that goes, too. */
    uint8_t have = 0;
    uint8_t count = 0;
    for (; words > 0 && have != ALL_TAGS; words--) {
        uint8_t word[WORD_BYTES];
        imu_burst(bus, FIFO_DATA_OUT_TAG, word, sizeof word);
        uint8_t tag = word[0] >> 3;
        if (tag != TAG_GYROSCOPE && tag != TAG_ACCELEROMETER && tag != TAG_TIME) {
            continue;
        }
        if ((word[0] & TAG_COUNT_MASK) != count) {
            count = word[0] & TAG_COUNT_MASK;
            have = 0;
        }
        have |= tag;
        take_word(word, raw);
    }
    return have == ALL_TAGS;
}

/* Ticks of the time are 25 us. */
const imu_driver imu_lsm6dsox = {"LSM6DSOX", 100000, UINT32_MAX, 25, 0, start, runs, read};
