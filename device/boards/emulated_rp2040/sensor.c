/*
 * A six-axis sensor on the RP2040's first SPI, set up as the chip really needs it. Wired as on the Pico board, and the
 * sensor's INT1, which is high when samples wait, wakes the processor.
 *
 * Each sample of the sensor is one of the model's: its rate is the lowest that it has above the model's.
 */
#include "sensor.h"

#include "app.h"
#include "board.h"
#include "imu.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RESETS_CLEAR REGISTER(0x4000F000u)
#define RESETS_DONE REGISTER(0x4000C008u)
#define RESET_IO_PADS_SPI0 (1u << 5 | 1u << 8 | 1u << 16)

#define PIN_CONTROL(pin) REGISTER(0x40014004u + 8u * (pin))
#define FUNCTION_SPI 1u
#define FUNCTION_SIO 5u
#define INTERRUPT_ENABLE2 REGISTER(0x40014108u) /* pins 16 to 23, four bits each */
#define PAD(pin) REGISTER(0x4001C004u + 4u * (pin))
#define PAD_OUTPUT 0x50u         /* 4 mA; input enabled, as the SPI needs it for its own clock, too */
#define PAD_INPUT_PULL_UP 0x4Au  /* Schmitt trigger; reads as 0xFF, no sensor's answer, when nothing is there */
#define PAD_INPUT_PULL_DOWN 0x46u

#define PINS_IN REGISTER(0xD0000004u)
#define PINS_SET REGISTER(0xD0000014u)
#define PINS_CLEAR REGISTER(0xD0000018u)
#define PINS_DRIVE REGISTER(0xD0000024u)

#define SPI_CONTROL0 REGISTER(0x4003C000u)
#define SPI_CONTROL1 REGISTER(0x4003C004u)
#define SPI_DATA REGISTER(0x4003C008u)
#define SPI_STATUS REGISTER(0x4003C00Cu)
#define SPI_PRESCALE REGISTER(0x4003C010u)
#define MODE_0_OF_8_BITS 0x0007u
#define RATE_DIVISOR_8 (7u << 8)
#define SPI_ENABLE 2u
#define SPI_RECEIVED 4u
#define SPI_ROOM 2u

#define MISO 16u
#define SELECT 17u
#define CLOCK 18u
#define MOSI 19u
#define INT1 20u
#define INT1_HIGH (2u << 4 * (INT1 - 16u))

static imu sensor;
static bool waiting; /* there may be more samples than the interrupt says */

static void transfer(void *context, const uint8_t *send, uint8_t *receive, size_t size) {
    (void)context;
    PINS_CLEAR = 1u << SELECT;
    for (size_t i = 0; i < size; i++) {
        while (!(SPI_STATUS & SPI_ROOM)) {
        }
        SPI_DATA = send[i];
        while (!(SPI_STATUS & SPI_RECEIVED)) {
        }
        receive[i] = (uint8_t)SPI_DATA;
    }
    PINS_SET = 1u << SELECT;
}

static uint32_t micros(void *context) {
    (void)context;
    return board_micros();
}

static const imu_bus bus = {transfer, micros, NULL};

static void set_up_pins(void) {
    RESETS_CLEAR = RESET_IO_PADS_SPI0;
    while ((RESETS_DONE & RESET_IO_PADS_SPI0) != RESET_IO_PADS_SPI0) {
    }
    PINS_SET = 1u << SELECT;
    PINS_DRIVE = 1u << SELECT;
    PAD(MISO) = PAD_INPUT_PULL_UP;
    PAD(SELECT) = PAD_OUTPUT;
    PAD(CLOCK) = PAD_OUTPUT;
    PAD(MOSI) = PAD_OUTPUT;
    PAD(INT1) = PAD_INPUT_PULL_DOWN;
    PIN_CONTROL(MISO) = FUNCTION_SPI;
    PIN_CONTROL(SELECT) = FUNCTION_SIO;
    PIN_CONTROL(CLOCK) = FUNCTION_SPI;
    PIN_CONTROL(MOSI) = FUNCTION_SPI;
    PIN_CONTROL(INT1) = FUNCTION_SIO;
    INTERRUPT_ENABLE2 = INT1_HIGH;
}

const char *sensor_start(uint32_t period_us) {
    set_up_pins();
    SPI_PRESCALE = 2; /* 125 MHz / 2 / 8 */
    SPI_CONTROL0 = RATE_DIVISOR_8 | MODE_0_OF_8_BITS;
    SPI_CONTROL1 = SPI_ENABLE;
    return imu_start(&sensor, &bus, period_us, 1) ? sensor.driver->name : NULL;
}

bool sensor_settled(void) {
    return imu_settled(&sensor);
}

bool board_sensor_read(board_sample *sample, uint8_t channels) {
    imu_sample taken;
    if (board.imu == NULL) {
        return false;
    }
    if (app_model()->period_us != sensor.period_us) {
        imu_start(&sensor, &bus, app_model()->period_us, 1); /* another model has been uploaded */
    }
    waiting = waiting || (PINS_IN & 1u << INT1) != 0;
    if (!waiting && board_micros() - sensor.heard_us < IMU_SILENT_US) {
        return false;
    }
    waiting = imu_take(&sensor, &taken);
    if (!waiting) {
        return false;
    }
    sample->t_us = taken.t_us;
    sample->gap = taken.gap;
    for (uint8_t i = 0; i < channels && i < IMU_CHANNELS; i++) {
        sample->value[i] = taken.value[i];
    }
    return true;
}
