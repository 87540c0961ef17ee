#pragma once
#include <stdint.h>
typedef struct {
    volatile uint32_t csr, rvr, cvr;
} systick_hw_t;
extern systick_hw_t *const systick_hw;
