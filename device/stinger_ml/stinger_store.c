/*
 * Two slots and a journal; see stinger_store.h.
 *
 * A record of the journal says everything: which images there are, which is active, which was before. It fills one
 * unit, and the valid one with the highest number counts. Records are added behind the newest; where one was cut off, its
 * place is skipped. When a sector is full the other one is erased and the next record goes there, so the newest
 * record is never in a sector that is being erased. Numbers count places and not records: one that was cut off, and
 * reads whole on another day, is older than what was written after it.
 *
 * Little-endian: u32 "MLJ1", u32 number, u8 active, u8 previous, u16 0, u32 generation, for each slot u32 size,
 * u32 crc, u32 generation, then u32 CRC-32 of all of it; the unit is filled up with 0xFF.
 */
#include "stinger_store.h"

#include "stinger_image.h"

#include <stddef.h>

#define MAGIC 0x314A4C4Du /* MLJ1 */
#define RECORD_BYTES 44u
#define CRC_AT 40u
#define CHUNK 64u
#define SLOTS 2u

typedef char stinger_assert_record[RECORD_BYTES <= STINGER_STORE_UNIT_MIN && CHUNK <= STINGER_STORE_UNIT_MIN ? 1 : -1];

/* What one record says. */
typedef struct {
    uint32_t sequence;
    uint32_t generation;
    stinger_store_slot slot[SLOTS];
    uint8_t active;
    uint8_t previous;
} record;

static uint8_t *put(uint8_t *at, uint32_t value) {
    for (unsigned i = 0; i < 4u; i++)
        at[i] = (uint8_t)(value >> (8u * i));
    return at + 4;
}

static uint32_t get(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool read_at(const stinger_store *s, uint32_t at, void *to, uint32_t size) {
    return s->storage->read(s->storage->context, at, to, size);
}

static uint32_t slot_at(const stinger_store *s, unsigned slot) {
    return 2u * s->storage->sector_size + (slot == 0 ? 0 : s->storage->slot_size);
}

static bool power_of_two(uint32_t x) {
    return x != 0 && (x & (x - 1u)) == 0;
}

static bool makes_sense(const stinger_storage *g) {
    uint32_t unit = g->program_size < STINGER_STORE_UNIT_MIN ? STINGER_STORE_UNIT_MIN : g->program_size;
    if (!power_of_two(g->program_size) || unit > STINGER_STORE_UNIT_MAX)
        return false;
    if (!power_of_two(g->sector_size) || g->sector_size < 2u * unit || g->sector_size > 0x10000000u)
        return false;
    return g->slot_size >= g->sector_size && g->slot_size <= 0x40000000u && (g->slot_size & (g->sector_size - 1u)) == 0;
}

/* A record that was written by this code, and not merely has a right CRC. */
static bool decode(const stinger_store *s, const uint8_t bytes[RECORD_BYTES], record *r) {
    if (get(bytes) != MAGIC || get(bytes + CRC_AT) != stinger_crc32(0, bytes, CRC_AT))
        return false;
    r->sequence = get(bytes + 4);
    r->active = bytes[8];
    r->previous = bytes[9];
    r->generation = get(bytes + 12);
    for (unsigned i = 0; i < SLOTS; i++) {
        r->slot[i].size = get(bytes + 16 + 12u * i);
        r->slot[i].crc = get(bytes + 20 + 12u * i);
        r->slot[i].generation = get(bytes + 24 + 12u * i);
        if (r->slot[i].size > s->storage->slot_size)
            return false;
    }
    if (r->active > STINGER_STORE_BUILTIN || r->previous > STINGER_STORE_NO_PLACE || r->active == r->previous)
        return false;
    return (r->active >= SLOTS || r->slot[r->active].size != 0) &&
           (r->previous >= SLOTS || r->slot[r->previous].size != 0);
}

/* The image of a slot has the CRC that its record says. */
static bool intact(const stinger_store *s, unsigned slot) {
    uint8_t chunk[CHUNK];
    uint32_t size = s->slot[slot].size, crc = 0;
    for (uint32_t at = 0; at < size; at += CHUNK) {
        uint32_t count = size - at < CHUNK ? size - at : CHUNK;
        if (!read_at(s, slot_at(s, slot) + at, chunk, count))
            return false;
        crc = stinger_crc32(crc, chunk, count);
    }
    return size != 0 && crc == s->slot[slot].crc;
}

static void forget(stinger_store *s, unsigned slot) {
    static const stinger_store_slot empty = {0, 0, 0};
    s->slot[slot] = empty;
    if (s->previous == slot)
        s->previous = STINGER_STORE_NO_PLACE;
}

/* The newest record of the journal. False when the storage cannot be read; without a record the store is empty. */
static bool read_journal(stinger_store *s) {
    uint8_t bytes[RECORD_BYTES];
    bool found = false;
    for (uint32_t at = 0; at < 2u * s->storage->sector_size; at += s->unit) {
        record r;
        if (!read_at(s, at, bytes, RECORD_BYTES))
            return false;
        if (!decode(s, bytes, &r) || (found && (r.sequence - s->sequence) >= 0x80000000u))
            continue;
        found = true;
        s->sequence = r.sequence;
        s->newest_at = at;
        s->active = r.active;
        s->previous = r.previous;
        s->generation = r.generation;
        s->slot[0] = r.slot[0];
        s->slot[1] = r.slot[1];
    }
    return true;
}

stinger_store_status stinger_store_open(stinger_store *s, const stinger_storage *storage) {
    static const stinger_store_slot empty = {0, 0, 0};
    s->storage = NULL;
    s->updating = false;
    s->slot[0] = empty;
    s->slot[1] = empty;
    s->generation = 0;
    s->active = STINGER_STORE_BUILTIN;
    s->previous = STINGER_STORE_NO_PLACE;
    s->damaged = false;
    s->unsure = false;
    if (!makes_sense(storage))
        return STINGER_STORE_MISUSED;
    s->storage = storage;
    s->unit = storage->program_size < STINGER_STORE_UNIT_MIN ? STINGER_STORE_UNIT_MIN : storage->program_size;
    s->sequence = 0;
    s->newest_at = 2u * storage->sector_size - s->unit; /* so that the first record begins by erasing a sector */
    if (!read_journal(s)) {
        s->storage = NULL;
        s->active = STINGER_STORE_BUILTIN;
        s->previous = STINGER_STORE_NO_PLACE;
        return STINGER_STORE_FAILED;
    }
    if (s->active < SLOTS && !intact(s, s->active)) {
        s->damaged = true;
        s->unsure = true;
        forget(s, s->active);
        s->active = s->previous < SLOTS && intact(s, s->previous) ? s->previous : STINGER_STORE_BUILTIN;
        s->previous = STINGER_STORE_NO_PLACE;
    }
    return STINGER_STORE_OK;
}

const void *stinger_store_image(const stinger_store *s, uint32_t *size) {
    if (s->storage == NULL || s->storage->mapped == NULL || s->active >= SLOTS)
        return NULL;
    *size = s->slot[s->active].size;
    return (const uint8_t *)s->storage->mapped + slot_at(s, s->active);
}

bool stinger_store_read(const stinger_store *s, uint32_t at, void *to, uint32_t size) {
    if (s->storage == NULL || s->active >= SLOTS)
        return false;
    uint32_t all = s->slot[s->active].size;
    return at <= all && size <= all - at && read_at(s, slot_at(s, s->active) + at, to, size);
}

/* Whether a unit has never been programmed since it was erased. */
static bool blank(const stinger_store *s, uint32_t at) {
    uint8_t chunk[CHUNK];
    for (uint32_t done = 0; done < s->unit; done += CHUNK) {
        if (!read_at(s, at + done, chunk, CHUNK))
            return false;
        for (unsigned i = 0; i < CHUNK; i++)
            if (chunk[i] != 0xFFu)
                return false;
    }
    return true;
}

/* Program the buffer and look whether it is there: worn cells, or ones that were not erased, do not take it. */
static bool program(stinger_store *s, uint32_t at) {
    uint8_t chunk[CHUNK];
    if (!s->storage->program(s->storage->context, at, s->buffer, s->unit))
        return false;
    for (uint32_t done = 0; done < s->unit; done += CHUNK) {
        if (!read_at(s, at + done, chunk, CHUNK))
            return false;
        for (unsigned i = 0; i < CHUNK; i++)
            if (chunk[i] != s->buffer[done + i])
                return false;
    }
    return true;
}

static void encode(stinger_store *s, uint32_t sequence) {
    uint8_t *at = put(put(s->buffer, MAGIC), sequence);
    *at++ = s->active;
    *at++ = s->previous;
    *at++ = 0;
    *at++ = 0;
    at = put(at, s->generation);
    for (unsigned i = 0; i < SLOTS; i++)
        at = put(put(put(at, s->slot[i].size), s->slot[i].crc), s->slot[i].generation);
    at = put(at, stinger_crc32(0, s->buffer, CRC_AT));
    while (at < s->buffer + s->unit)
        *at++ = 0xFFu;
}

/* Write down what is known now. Tries each place behind the newest record, then those of the other sector. */
static bool append(stinger_store *s) {
    uint32_t sector = s->storage->sector_size, at = s->newest_at, sequence = s->sequence;
    uint32_t end = at < sector ? sector : 2u * sector;
    bool other = false;
    for (;;) {
        at += s->unit;
        sequence++;
        if (at == end) {
            if (other)
                return false;
            other = true;
            at = end == sector ? sector : 0;
            end = at + sector;
            if (!s->storage->erase(s->storage->context, at))
                return false;
        }
        if (!blank(s, at))
            continue;
        encode(s, sequence);
        if (program(s, at))
            break;
    }
    s->newest_at = at;
    s->sequence = sequence;
    return s->storage->sync(s->storage->context);
}

/* What a record says of the store: kept to go back to when the new one cannot be written. */
static record now(const stinger_store *s) {
    record r = {0, s->generation, {s->slot[0], s->slot[1]}, s->active, s->previous};
    return r;
}

static stinger_store_status write_down(stinger_store *s, const record *before) {
    s->unsure = !append(s);
    if (!s->unsure)
        return STINGER_STORE_OK;
    s->generation = before->generation;
    s->slot[0] = before->slot[0];
    s->slot[1] = before->slot[1];
    s->active = before->active;
    s->previous = before->previous;
    return STINGER_STORE_FAILED;
}

stinger_store_status stinger_store_begin(stinger_store *s, uint32_t size, uint32_t crc) {
    s->updating = false;
    if (s->storage == NULL)
        return STINGER_STORE_MISUSED;
    if (size == 0 || size > s->storage->slot_size)
        return STINGER_STORE_SIZE;
    /* Not the active slot; with none active, not the one that can be gone back to. */
    uint8_t kept = s->active < SLOTS ? s->active : s->previous;
    s->target = kept == STINGER_STORE_SLOT_0 ? STINGER_STORE_SLOT_1 : STINGER_STORE_SLOT_0;
    if (s->slot[s->target].size != 0 || s->unsure) {
        record before = now(s);
        forget(s, s->target);
        if (write_down(s, &before) != STINGER_STORE_OK)
            return STINGER_STORE_FAILED;
    }
    s->size = size;
    s->crc = crc;
    s->taken = 0;
    s->updating = true;
    return STINGER_STORE_OK;
}

/* The buffer is full, or the image is at its end: write it. */
static bool flush(stinger_store *s) {
    uint32_t offset = (s->taken - 1u) & ~(s->unit - 1u);
    uint32_t at = slot_at(s, s->target) + offset;
    for (uint32_t i = s->taken - offset; i < s->unit; i++)
        s->buffer[i] = 0xFFu;
    if ((offset & (s->storage->sector_size - 1u)) == 0 && !s->storage->erase(s->storage->context, at))
        return false;
    return program(s, at);
}

stinger_store_status stinger_store_write(stinger_store *s, const void *bytes, uint32_t size) {
    const uint8_t *from = bytes;
    if (!s->updating)
        return STINGER_STORE_MISUSED;
    if (size > s->size - s->taken) {
        s->updating = false;
        return STINGER_STORE_SIZE;
    }
    for (uint32_t i = 0; i < size; i++) {
        s->buffer[s->taken & (s->unit - 1u)] = from[i];
        s->taken++;
        if (((s->taken & (s->unit - 1u)) == 0 || s->taken == s->size) && !flush(s)) {
            s->updating = false;
            return STINGER_STORE_FAILED;
        }
    }
    return STINGER_STORE_OK;
}

stinger_store_status stinger_store_verify(stinger_store *s, const void **image) {
    if (!s->updating)
        return STINGER_STORE_MISUSED;
    stinger_store_slot *slot = &s->slot[s->target];
    if (s->taken != s->size) {
        s->updating = false;
        return STINGER_STORE_SIZE;
    }
    if (!s->storage->sync(s->storage->context)) {
        s->updating = false;
        return STINGER_STORE_FAILED;
    }
    slot->size = s->size;
    slot->crc = s->crc;
    s->updating = intact(s, s->target);
    slot->size = 0; /* not yet */
    if (!s->updating)
        return STINGER_STORE_DAMAGED;
    if (image != NULL)
        *image = s->storage->mapped == NULL ? NULL : (const uint8_t *)s->storage->mapped + slot_at(s, s->target);
    return STINGER_STORE_OK;
}

stinger_store_status stinger_store_commit(stinger_store *s) {
    stinger_store_status status = stinger_store_verify(s, NULL);
    if (status != STINGER_STORE_OK)
        return status;
    s->updating = false;
    record before = now(s);
    s->generation++;
    s->slot[s->target].size = s->size;
    s->slot[s->target].crc = s->crc;
    s->slot[s->target].generation = s->generation;
    s->previous = s->active;
    s->active = s->target;
    return write_down(s, &before);
}

void stinger_store_abort(stinger_store *s) {
    s->updating = false;
}

stinger_store_status stinger_store_rollback(stinger_store *s) {
    if (s->storage == NULL || s->updating)
        return STINGER_STORE_MISUSED;
    if (s->previous < SLOTS && !intact(s, s->previous))
        forget(s, s->previous);
    if (s->previous == STINGER_STORE_NO_PLACE)
        return STINGER_STORE_NOTHING;
    record before = now(s);
    s->previous = s->active;
    s->active = before.previous;
    return write_down(s, &before);
}

stinger_store_status stinger_store_clear(stinger_store *s) {
    if (s->storage == NULL || s->updating)
        return STINGER_STORE_MISUSED;
    record before = now(s);
    forget(s, 0);
    forget(s, 1);
    s->active = STINGER_STORE_BUILTIN;
    s->previous = STINGER_STORE_NO_PLACE;
    return write_down(s, &before);
}
