/*
 * The firmware on an RP2040 as the emulator has it: the host on UART0, the microsecond timer, and SysTick counting core
 * cycles; sensor.c has the sensor. There is no clock or UART setup, which the emulator does not need and a real chip
 * would. Transmission is immediate; the FIFO counts as full while the line holds as much as it can for a host that does
 * not read, and there is room for one more message then, so one look for each is enough.
 */
#include "board.h"

#include "imu.h"
#include "sensor.h"
#include "startup.h"
#include "stinger_app.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define UART_DATA REGISTER(0x40034000u) /* UART0 */
#define UART_FLAGS REGISTER(0x40034018u)
#define UART_RX_EMPTY (1u << 4)
#define UART_TX_FULL (1u << 5)
#define UART_INTERRUPT_MASK REGISTER(0x40034038u)
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
#define WAKE_INTERRUPTS (1u << 0 | 1u << 20 | SENSOR_INTERRUPT) /* TIMER_0, UART0 */

#define WAKE_US 10000u /* for what has no interrupt: time-outs */

extern const stinger_model stinger_model_data;

board_info board = {"emulated_rp2040", 125000000u, NULL, 0};

int main(void);

int board_read_byte(void) {
    if (UART_FLAGS & UART_RX_EMPTY) {
        return -1;
    }
    return (int)(UART_DATA & 0xFFu);
}

bool board_write(const uint8_t *data, size_t size) {
    if (UART_FLAGS & UART_TX_FULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        UART_DATA = data[i];
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

/* Sleep until a byte or a sample arrives or WAKE_US have passed. Interrupts are masked: what arrives between the last poll and
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
    UART_INTERRUPT_MASK = UART_RX_INTERRUPTS;
    TIMER_INTERRUPT_ENABLE = TIMER_ALARM0_BIT;
    NVIC_ENABLE = WAKE_INTERRUPTS;

    board.imu = sensor_start(stinger_model_data.period_us);
    board.sensor_channels = board.imu != NULL ? IMU_CHANNELS : 0;
    while (!sensor_settled()) {
        wait();
    }
    stinger_app_init(&stinger_model_data);
    for (;;) {
        if (!stinger_app_poll()) {
            wait();
        }
    }
}
