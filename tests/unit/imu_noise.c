/* The sensors' drivers on a bus whose answers come from standard input, under sanitizers; see test_imu_drivers.py. */
#include "imu.h"

#include <stdio.h>

static uint32_t clock_us;
static bool ended;

static void transfer(void *context, const uint8_t *send, uint8_t *receive, size_t size) {
    (void)context;
    (void)send;
    for (size_t i = 0; i < size; i++) {
        int byte = getchar();
        ended = ended || byte == EOF;
        receive[i] = (uint8_t)(byte == EOF ? 0 : byte);
    }
    clock_us += 997u;
}

static uint32_t micros(void *context) {
    (void)context;
    return clock_us += 10007u;
}

int main(void) {
    static const imu_bus bus = {transfer, micros, NULL};
    static imu sensor;
    imu_sample sample;
    unsigned long taken = 0, started = 0;
    while (!ended) {
        started += imu_start(&sensor, &bus, 10000u, 1u) ? 1u : 0u;
        for (int i = 0; i < 200 && !ended; i++) {
            taken += imu_take(&sensor, &sample) ? 1u : 0u;
        }
    }
    printf("%lu %lu\n", started, taken);
    return 0;
}
