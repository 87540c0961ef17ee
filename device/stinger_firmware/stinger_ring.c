/* The ring between sampling and deciding; stinger_ring.h says why it is right. */
#include "stinger_ring.h"

#if (STINGER_RING_SAMPLES & (STINGER_RING_SAMPLES - 1)) != 0 || STINGER_RING_SAMPLES < 2
#error "STINGER_RING_SAMPLES must be a power of two"
#endif

#if defined(__clang__) && defined(__arm__)
/* Clang calls a library for atomics on ARMv6-M, which a freestanding build does not have. */
static uint32_t load(const uint32_t *at) {
    uint32_t value = *(const volatile uint32_t *)at;
    __asm__ volatile("dmb" ::: "memory");
    return value;
}

static void store(uint32_t *at, uint32_t value) {
    __asm__ volatile("dmb" ::: "memory");
    *(volatile uint32_t *)at = value;
}
#else
static uint32_t load(const uint32_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *at, uint32_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}
#endif

bool stinger_ring_push(stinger_ring *ring, uint32_t t_us, const int16_t *value, uint8_t channels) {
    uint32_t pushed = ring->pushed;
    if (pushed - load(&ring->popped) >= STINGER_RING_SAMPLES || channels > STINGER_MAX_CHANNELS) {
        store(&ring->dropped, ring->dropped + 1);
        ring->behind = true;
        return false;
    }
    stinger_ring_sample *entry = &ring->entry[pushed % STINGER_RING_SAMPLES];
    entry->t_us = t_us;
    entry->gap = ring->behind;
    for (uint8_t i = 0; i < channels; i++) {
        entry->value[i] = value[i];
    }
    ring->behind = false;
    store(&ring->pushed, pushed + 1);
    return true;
}

bool stinger_ring_pop(stinger_ring *ring, stinger_ring_sample *sample) {
    uint32_t popped = ring->popped;
    if (load(&ring->pushed) == popped) {
        return false;
    }
    *sample = ring->entry[popped % STINGER_RING_SAMPLES];
    store(&ring->popped, popped + 1);
    return true;
}

uint32_t stinger_ring_dropped(const stinger_ring *ring) {
    return load(&ring->dropped);
}
