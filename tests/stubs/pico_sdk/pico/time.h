#pragma once
#include <stdbool.h>
#include <stdint.h>
typedef struct repeating_timer {
    void *user_data;
} repeating_timer_t;
typedef bool (*repeating_timer_callback_t)(repeating_timer_t *timer);
bool add_repeating_timer_us(int64_t delay_us, repeating_timer_callback_t callback, void *user, repeating_timer_t *out);
uint32_t time_us_32(void);
