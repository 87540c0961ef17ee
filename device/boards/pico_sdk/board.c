/*
 * The firmware on a Raspberry Pi Pico: the host on USB, a sensor on the Pico's first SPI, everything on core 0 by
 * polling. The timer wakes it a thousand times a second, the USB controller whenever there is something.
 *
 * The sensor runs much faster than the model's rate, and its newest sample is taken when one is due, as the blaster
 * itself takes every 16th of its sensor's: any period is met exactly, whatever rates the sensor has.
 */
#include "board.h"

#include "app.h"
#include "imu.h"
#include "stinger_app.h"
#include "usb.h"

#include <hardware/clocks.h>
#include <hardware/gpio.h>
#include <hardware/spi.h>
#include <hardware/structs/systick.h>
#include <hardware/sync.h>
#include <pico/bootrom.h>
#include <pico/time.h>

#define SPI_HZ 8000000u
#define TICK_US 1000u
#define OVERSAMPLING 8u
#define TAKEN_AT_ONCE 64u /* in a tick its fastest rate brings eight */
#define PAINT 0x5AFEC0DEu
#define SYSTICK_ENABLE_CORE_CLOCK 5u

extern const stinger_model stinger_model_data;
extern uint32_t __StackBottom[], __StackTop[]; /* from the SDK's linker script */

board_info board = {"pico_sdk", 0, NULL, 0};

static imu sensor;
static imu_sample newest;
static bool fresh; /* nobody has got the newest sample yet */
static bool gap;
static uint32_t due_us;

static void transfer(void *context, const uint8_t *send, uint8_t *receive, size_t size) {
    (void)context;
    gpio_put(PICO_DEFAULT_SPI_CSN_PIN, false);
    spi_write_read_blocking(spi_default, send, receive, size);
    gpio_put(PICO_DEFAULT_SPI_CSN_PIN, true);
}

static uint32_t micros(void *context) {
    (void)context;
    return time_us_32();
}

static const imu_bus bus = {transfer, micros, NULL};

int board_read_byte(void) {
    return usb_read_byte();
}

bool board_write(const uint8_t *data, size_t size) {
    return usb_write(data, size);
}

uint32_t board_micros(void) {
    return time_us_32();
}

uint32_t board_cycles(void) {
    return ~systick_hw->cvr & BOARD_CYCLES_MASK; /* it counts down */
}

int32_t board_stack_free(void) {
    const volatile uint32_t *at = __StackBottom;
    while (at < __StackTop && *at == PAINT) {
        at++;
    }
    return (int32_t)((uintptr_t)at - (uintptr_t)__StackBottom);
}

bool board_sensor_read(board_sample *sample, uint8_t channels) {
    uint32_t period_us = app_model()->period_us;
    if (board.imu == NULL) {
        return false;
    }
    if (period_us != sensor.period_us) {
        imu_start(&sensor, &bus, period_us, OVERSAMPLING); /* another model has been uploaded */
    }
    for (unsigned i = 0; i < TAKEN_AT_ONCE && imu_take(&sensor, &newest); i++) {
        fresh = true;
        gap = gap || newest.gap;
    }
    uint32_t now = time_us_32();
    uint32_t late = now - due_us;
    if (!fresh || late > UINT32_MAX / 2) {
        return false;
    }
    /* Whoever is a period late has missed samples, which the times show: the grid begins anew. Half a tick early, or
     * ticks that are not on the microsecond would fall now before it, now behind. */
    due_us = late < period_us ? due_us + period_us : now + period_us - TICK_US / 2;
    sample->t_us = now;
    sample->gap = gap;
    for (uint8_t i = 0; i < channels && i < IMU_CHANNELS; i++) {
        sample->value[i] = newest.value[i];
    }
    fresh = false;
    gap = false;
    return true;
}

static void paint_stack(void) {
    uint32_t *sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    for (volatile uint32_t *at = __StackBottom; at < sp; at++) {
        *at = PAINT;
    }
}

static void start_spi(void) {
    spi_init(spi_default, SPI_HZ);
    spi_set_format(spi_default, 8, SPI_CPOL_0, SPI_CPHA_0, SPI_MSB_FIRST);
    gpio_set_function(PICO_DEFAULT_SPI_SCK_PIN, GPIO_FUNC_SPI);
    gpio_set_function(PICO_DEFAULT_SPI_TX_PIN, GPIO_FUNC_SPI);
    gpio_set_function(PICO_DEFAULT_SPI_RX_PIN, GPIO_FUNC_SPI);
    gpio_pull_up(PICO_DEFAULT_SPI_RX_PIN); /* reads as 0xFF, no sensor's answer, when nothing is there */
    gpio_init(PICO_DEFAULT_SPI_CSN_PIN);
    gpio_put(PICO_DEFAULT_SPI_CSN_PIN, true);
    gpio_set_dir(PICO_DEFAULT_SPI_CSN_PIN, GPIO_OUT);
}

static bool on_tick(repeating_timer_t *timer) {
    (void)timer;
    return true;
}

/* Sleep until an interrupt. They are masked meanwhile: one that comes between the look and WFI is pending then, and WFI
 * falls through. */
static void wait(void) {
    uint32_t state = save_and_disable_interrupts();
    if (usb_idle()) {
        __wfi();
    }
    restore_interrupts(state);
}

int main(void) {
    static repeating_timer_t timer;
    paint_stack();
    board.clock_hz = clock_get_hz(clk_sys);
    systick_hw->rvr = BOARD_CYCLES_MASK;
    systick_hw->cvr = 0;
    systick_hw->csr = SYSTICK_ENABLE_CORE_CLOCK;
    usb_start();
    start_spi();
    if (imu_start(&sensor, &bus, stinger_model_data.period_us, OVERSAMPLING)) {
        board.imu = sensor.driver->name;
        board.sensor_channels = IMU_CHANNELS;
    }
    add_repeating_timer_us(-(int64_t)TICK_US, on_tick, NULL, &timer);

    stinger_app_init(&stinger_model_data);
    for (;;) {
        usb_poll();
        if (usb_touched()) {
            reset_usb_boot(0, 0);
        }
        if (!stinger_app_poll()) {
            wait();
        }
    }
}
