/*
 * stinger_ring: samples from one context to another, without a lock.
 *
 * One producer calls stinger_ring_push, one consumer stinger_ring_pop; each may be a core, a thread or an interrupt. Both
 * always return at once, in a time that does not depend on the other side, with interrupts as they were: pushing is safe
 * in an interrupt handler, also one that interrupts the consumer. When there is no room the new sample is dropped and
 * counted, and the next one that finds room says that there is a gap before it.
 *
 * Memory model: `pushed` is written by the producer only, `popped` by the consumer only, both aligned 32-bit words, which
 * are read and written in one piece. Each is stored after a release barrier and loaded before an acquire barrier. So who
 * sees a count sees all that was done to the entries before it was stored: the consumer a whole sample, the producer an
 * entry that is no longer being read. On ARMv6-M that is LDR, DMB and DMB, STR; no instruction that needs an exclusive
 * monitor, which its two cores do not share, and no masked interrupt. Counts wrap; entries are theirs modulo the length.
 *
 * Zero-initialised memory is an empty ring: a static one needs no start, and may be pushed to before the consumer runs.
 */
#ifndef STINGER_RING_H
#define STINGER_RING_H

#include "stinger_ml.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef STINGER_RING_SAMPLES
#define STINGER_RING_SAMPLES                                                                                           \
    32 /* a power of two; at 100 Hz, how many hundredths of a second the consumer may be busy */
#endif

typedef struct {
    uint32_t t_us;
    bool gap; /* samples were dropped before this one */
    int16_t value[STINGER_MAX_CHANNELS];
} stinger_ring_sample;

/* Private, but for reading. */
typedef struct {
    uint32_t pushed;  /* samples ever put in; the producer's */
    uint32_t dropped; /* samples ever turned away; the producer's */
    bool behind;      /* the last sample was turned away; the producer's */
    uint32_t popped;  /* samples ever taken out; the consumer's */
    stinger_ring_sample entry[STINGER_RING_SAMPLES];
} stinger_ring;

/* Producer: put in a sample of `channels` values, at most STINGER_MAX_CHANNELS. False when it was dropped. */
bool stinger_ring_push(stinger_ring *ring, uint32_t t_us, const int16_t *value, uint8_t channels);

/* Consumer: take the oldest sample. False when there is none. */
bool stinger_ring_pop(stinger_ring *ring, stinger_ring_sample *sample);

/* Anyone: samples dropped so far; wraps. */
uint32_t stinger_ring_dropped(const stinger_ring *ring);

#ifdef __cplusplus
}
#endif

#endif
