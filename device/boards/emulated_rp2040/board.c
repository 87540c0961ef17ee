/*
 * The firmware on an RP2040 as the emulator has it: the host on UART0, the sensor on UART1, the microsecond timer, and
 * SysTick counting core cycles. There is no clock, reset or pin setup, which the emulator does not need and a real
 * chip would. Transmission is immediate; the FIFO counts as full while the line holds as much as it can for a host that
 * does not read, and there is room for one more message then, so one look for each is enough.
 *
 * The sensor is anything that sends SAMPLE frames; a missing sequence number is a gap.
 */
#include "board.h"

#include "startup.h"
#include "stinger_app.h"
#include "stinger_frame.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define UART0 0x40034000u
#define UART1 0x40038000u
#define UART_DATA(uart) REGISTER((uart) + 0x00u)
#define UART_FLAGS(uart) REGISTER((uart) + 0x18u)
#define UART_RX_EMPTY (1u << 4)
#define UART_TX_FULL (1u << 5)
#define UART_INTERRUPT_MASK(uart) REGISTER((uart) + 0x38u)
#define UART_RX_INTERRUPTS ((1u << 4) | (1u << 6)) /* FIFO level, and a byte that has waited */

#define TIMER_ALARM0 REGISTER(0x40054010u)
#define TIMER_ARMED REGISTER(0x40054020u)
#define TIMER_RAW_LOW REGISTER(0x40054028u)
#define TIMER_INTERRUPT REGISTER(0x40054034u)
#define TIMER_INTERRUPT_ENABLE REGISTER(0x40054038u)
#define TIMER_ALARM0_BIT 1u

#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define SYSTICK_ENABLE_CORE_CLOCK 5u
#define NVIC_ENABLE REGISTER(0xE000E100u)
#define NVIC_CLEAR_PENDING REGISTER(0xE000E280u)
#define WAKE_INTERRUPTS ((1u << 0) | (1u << 20) | (1u << 21)) /* TIMER_0, UART0, UART1 */

#define WAKE_US 10000u /* for what has no interrupt: time-outs */
#define SENSOR_FIXED 6

extern const stinger_model stinger_model_data;

board_info board = {"emulated_rp2040", 125000000u, true};

static stinger_reader sensor_reader;
static uint32_t sensor_expected;

int main(void);

static int read_byte(uint32_t uart) {
    if (UART_FLAGS(uart) & UART_RX_EMPTY) {
        return -1;
    }
    return (int)(UART_DATA(uart) & 0xFFu);
}

int board_read_byte(void) {
    return read_byte(UART0);
}

bool board_write(const uint8_t *data, size_t size) {
    if (UART_FLAGS(UART0) & UART_TX_FULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        UART_DATA(UART0) = data[i];
    }
    return true;
}

uint32_t board_micros(void) {
    return TIMER_RAW_LOW;
}

uint32_t board_cycles(void) {
    return ~SYSTICK_VALUE & BOARD_CYCLES_MASK; /* SysTick counts down */
}

int32_t board_stack_free(void) {
    return startup_stack_free();
}

bool board_sensor_read(board_sample *sample, uint8_t channels) {
    int byte;
    while ((byte = read_byte(UART1)) >= 0) {
        const stinger_frame *frame = &sensor_reader.frame;
        if (stinger_reader_push(&sensor_reader, (uint8_t)byte) != STINGER_GOT_FRAME ||
            frame->type != STINGER_FRAME_SAMPLE || frame->payload_size != SENSOR_FIXED + 2u * channels ||
            frame->payload[5] != channels) {
            continue;
        }
        sample->t_us = stinger_get32(frame->payload);
        sample->gap = (frame->payload[4] & 1u) != 0 || frame->sequence != sensor_expected;
        for (uint8_t i = 0; i < channels; i++) {
            sample->value[i] = (int16_t)stinger_get16(frame->payload + SENSOR_FIXED + 2u * i);
        }
        sensor_expected = frame->sequence + 1;
        return true;
    }
    return false;
}

/* Sleep until a byte arrives or WAKE_US have passed. Interrupts are masked: what arrives between the last poll and
 * WFI is pending by then, and WFI falls through. */
static void wait(void) {
    TIMER_ALARM0 = TIMER_RAW_LOW + WAKE_US;
    __asm__ volatile("wfi" ::: "memory");
    TIMER_ARMED = TIMER_ALARM0_BIT;
    TIMER_INTERRUPT = TIMER_ALARM0_BIT;
    NVIC_CLEAR_PENDING = WAKE_INTERRUPTS;
}

int main(void) {
    __asm__ volatile("cpsid i");
    SYSTICK_RELOAD = BOARD_CYCLES_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = SYSTICK_ENABLE_CORE_CLOCK;
    UART_INTERRUPT_MASK(UART0) = UART_RX_INTERRUPTS;
    UART_INTERRUPT_MASK(UART1) = UART_RX_INTERRUPTS;
    TIMER_INTERRUPT_ENABLE = TIMER_ALARM0_BIT;
    NVIC_ENABLE = WAKE_INTERRUPTS;

    stinger_reader_init(&sensor_reader, 0);
    stinger_app_init(&stinger_model_data);
    for (;;) {
        if (!stinger_app_poll()) {
            wait();
        }
    }
}
