/* From reset to the application: vector table, memory, and the stack painted so that its use can be measured. */
#include "startup.h"

#define PAINT 0x5AFEC0DEu

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_bottom[], stack_top[];

int main(void);

static inline uint32_t *stack_pointer(void) {
    uint32_t *sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

void reset_handler(void) {
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    for (volatile uint32_t *to = stack_bottom; to < stack_pointer(); to++) {
        *to = PAINT;
    }
    main();
    for (;;) {
    }
}

int32_t startup_stack_free(void) {
    const volatile uint32_t *at = stack_bottom;
    while (at < stack_top && *at == PAINT) {
        at++;
    }
    return (int32_t)((uintptr_t)at - (uintptr_t)stack_bottom);
}

/* Interrupts only end a sleep; their causes are looked at by polling. */
static void ignore(void) {
}

/* Nothing sensible can follow: stop where a debugger will find it. The host sees a board that went silent. */
static void halt(void) {
    for (;;) {
    }
}

typedef void (*handler)(void);

typedef struct {
    uint32_t *initial_stack;
    handler exception[15];
    handler interrupt[32];
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    .initial_stack = stack_top,
    .exception = {reset_handler, halt, halt, 0, 0, 0, 0, 0, 0, 0, halt, 0, 0, halt, halt},
    .interrupt = {ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore,
                  ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore,
                  ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore},
};
