/*
 * stinger_store: model images in flash, two of them, so that power may fail at any instruction of an update.
 *
 * A new image goes to the slot that is not in use. When all of it is there and its CRC-32 is right, one record in a
 * journal makes it the active one; the image before it stays and can be gone back to. Until that record is complete a
 * start finds the old image, from then on the new one, never a mix: what is not what was stored is not given out.
 *
 * The storage is one stretch of flash, STINGER_STORE_BYTES long, described by four callbacks and three sizes. Flash is
 * taken for what it is: erasing a sector sets all of its bits, programming only clears bits, both in units, and either
 * may be cut off half-way and leave anything there. Two sectors hold the journal, then come the slots:
 *
 *     0               sector_size     2 * sector_size
 *     | journal       | journal       | slot 0 (slot_size)    | slot 1 (slot_size)    |
 *
 * Use:
 *     static const stinger_storage storage = {0, read, erase, program, sync, mapped, 4096, 256, 49 * 4096};
 *     static stinger_store store;
 *     stinger_store_open(&store, &storage);
 *     const void *image = stinger_store_image(&store, &size);    // or NULL: run the model that is compiled in
 *     ...
 *     stinger_store_begin(&store, size, crc);                    // an update
 *     stinger_store_write(&store, bytes, count);                 // again and again
 *     stinger_store_commit(&store);                              // active from now on; or stinger_store_abort
 *
 * C99, no heap, no global state: a context belongs to its caller and several may coexist. Images are bytes here; whoever
 * runs one opens it (stinger_image.h). Calls take as long as the storage does: an erase tens of milliseconds.
 */
#ifndef STINGER_STORE_H
#define STINGER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STINGER_STORE_UNIT_MIN 64  /* bytes that are written together, at least: a record of the journal */
#define STINGER_STORE_UNIT_MAX 256 /* and at most: the page of a NOR flash */

/* Storage that a store takes. */
#define STINGER_STORE_BYTES(sector_size, slot_size) (2u * (sector_size) + 2u * (slot_size))

/*
 * Places are bytes from the beginning of the store's stretch. A callback returns false when it failed; that ends the
 * call with STINGER_STORE_FAILED and changes nothing about which image is active.
 */
typedef struct {
    void *context; /* passed to the callbacks */
    bool (*read)(void *context, uint32_t at, void *to, uint32_t size);
    bool (*erase)(void *context, uint32_t at);                                /* the sector that begins there */
    bool (*program)(void *context, uint32_t at, const void *from, uint32_t size); /* whole units, erased before */
    bool (*sync)(void *context); /* return when all of it would outlive a power cut */
    const void *mapped;          /* where the stretch can be read in memory, or NULL */
    uint32_t sector_size;        /* a power of two, at least two units */
    uint32_t program_size;       /* a power of two, at most STINGER_STORE_UNIT_MAX */
    uint32_t slot_size;          /* a multiple of sector_size; the largest image */
} stinger_storage;

typedef enum {
    STINGER_STORE_OK = 0,
    STINGER_STORE_MISUSED, /* not now: no update has begun, or one is going on; or the sizes make no sense */
    STINGER_STORE_SIZE,    /* an image of 0 bytes, of more than a slot, or of another size than announced */
    STINGER_STORE_FAILED,  /* the storage failed, or does not keep what is written to it */
    STINGER_STORE_DAMAGED, /* the bytes do not have the CRC-32 that was announced */
    STINGER_STORE_NOTHING  /* there is nothing to go back to */
} stinger_store_status;

/* What is active, or was before. */
enum {
    STINGER_STORE_SLOT_0 = 0,
    STINGER_STORE_SLOT_1 = 1,
    STINGER_STORE_BUILTIN = 2, /* no image: what the firmware brings along */
    STINGER_STORE_NO_PLACE = 3 /* nothing that can be gone back to */
};

typedef struct {
    uint32_t size; /* 0: empty */
    uint32_t crc;  /* CRC-32 of the image, as zlib's */
    uint32_t generation; /* counts the images committed so far; wraps */
} stinger_store_slot;

typedef struct {
    stinger_store_slot slot[2];
    uint32_t generation; /* of the newest image */
    uint8_t active;      /* a slot or STINGER_STORE_BUILTIN */
    uint8_t previous;    /* where a rollback leads, or STINGER_STORE_NO_PLACE */
    bool damaged;        /* the active image was no longer what had been stored when the store was opened */

    /* private */
    const stinger_storage *storage; /* NULL: not open */
    uint32_t unit;
    uint32_t newest_at; /* of the journal's newest record */
    uint32_t sequence;  /* its number */
    uint32_t size;      /* of the image being written */
    uint32_t crc;
    uint32_t taken; /* of its bytes */
    uint8_t target; /* its slot */
    bool updating;
    bool unsure; /* the journal may say something else than this */
    uint8_t buffer[STINGER_STORE_UNIT_MAX];
} stinger_store;

/*
 * Find out what is active; writes nothing. The active image is checked, and one that is not what was stored is given
 * up for the one before it, else for STINGER_STORE_BUILTIN. An empty or unreadable journal means STINGER_STORE_BUILTIN.
 * `storage` must stay. Unless it returns STINGER_STORE_OK the store stays closed: other calls then fail.
 */
stinger_store_status stinger_store_open(stinger_store *store, const stinger_storage *storage);

/* The active image where it lies, or NULL when there is none or the storage is not mapped. */
const void *stinger_store_image(const stinger_store *store, uint32_t *size);

/* Read from the active image; false beyond its end, or when the storage fails. */
bool stinger_store_read(const stinger_store *store, uint32_t at, void *to, uint32_t size);

/*
 * Begin to write an image of so many bytes and this CRC-32 to the slot that is not in use; an update that was going on
 * is given up. What that slot held is forgotten first, and not back when the update fails: if it was the image to roll
 * back to, there is none then.
 */
stinger_store_status stinger_store_begin(stinger_store *store, uint32_t size, uint32_t crc);

/* Write the next bytes. Sectors are erased one by one as they are reached. Any error ends the update. */
stinger_store_status stinger_store_write(stinger_store *store, const void *bytes, uint32_t size);

/*
 * All bytes have been written: make sure of it. Not needed before stinger_store_commit, but a caller may want to look
 * at the new image before it counts: `image` becomes its place in memory, or NULL when the storage is not mapped.
 */
stinger_store_status stinger_store_verify(stinger_store *store, const void **image);

/* Make the new image the active one. Whatever it returns, the update is over; unless STINGER_STORE_OK, nothing changed. */
stinger_store_status stinger_store_commit(stinger_store *store);

/* Give up an update. The active image is what it was. */
void stinger_store_abort(stinger_store *store);

/* Make the image before this one the active one; again, and this one is back. Both stay stored. */
stinger_store_status stinger_store_rollback(stinger_store *store);

/* Forget both images. */
stinger_store_status stinger_store_clear(stinger_store *store);

#ifdef __cplusplus
}
#endif

#endif
