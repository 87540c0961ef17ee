/*
 * The model store on flash that holds anything. Input: a byte that chooses the flash's sizes and options, 16 bits that
 * say how much flash follows, the flash (what is missing is erased), then what is done: a byte each, with arguments.
 *
 * Records of the journal that begin as one does get a right CRC-32, and say the right one of an image, unless the
 * options say otherwise: no fuzzer would find them. Whatever the flash held, calls stay within it; and what is given
 * out is what was stored: an image that was committed comes back from a fresh start, an update that failed or was given
 * up changes nothing.
 */
#include "fuzz_check.h"
#include "stinger_image.h"
#include "stinger_store.h"

enum { AS_IT_IS = 0x80u, RECORD = 48u, RECORD_BYTES = 64u, MAX_STEPS = 48, MAX_IMAGE = 3000 };

static const struct {
    uint32_t sector, unit, slot;
} sizes[] = {{512, 64, 1024}, {1024, 256, 2048}, {4096, 256, 8192}, {128, 64, 128}, {256, 8, 1024}, {512, 1, 512}};

static uint8_t *flash;
static stinger_storage storage;
static unsigned fails_in; /* operations from now; 0: never */

static uint32_t region(void) {
    return STINGER_STORE_BYTES(storage.sector_size, storage.slot_size);
}

static bool failing(void) {
    return fails_in > 0 && --fails_in == 0;
}

static bool read_it(void *context, uint32_t at, void *to, uint32_t size) {
    (void)context;
    CHECK(at <= region() && size <= region() - at);
    memcpy(to, flash + at, size);
    return true;
}

static bool erase_it(void *context, uint32_t at) {
    (void)context;
    CHECK(at < region() && (at & (storage.sector_size - 1u)) == 0);
    bool fails = failing();
    memset(flash + at, 0xFF, fails ? storage.sector_size / 2u : storage.sector_size);
    return !fails;
}

static bool program_it(void *context, uint32_t at, const void *from, uint32_t size) {
    (void)context;
    CHECK(size > 0 && at < region() && size <= region() - at);
    CHECK((at & (storage.program_size - 1u)) == 0 && (size & (storage.program_size - 1u)) == 0);
    bool fails = failing();
    for (uint32_t i = 0; i < (fails ? size / 2u : size); i++) {
        flash[at + i] &= ((const uint8_t *)from)[i];
    }
    return !fails;
}

static bool sync_it(void *context) {
    (void)context;
    return !failing();
}

static uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/*
 * Give the journal's records what makes them count: CRCs, and numbers near each other, as they are in every journal that
 * was written. Numbers wrap, and of some that are further apart than half of all there are none is the newest.
 */
static void repair(void) {
    uint32_t first = 0;
    bool found = false;
    uint32_t unit = storage.program_size < RECORD_BYTES ? RECORD_BYTES : storage.program_size;
    for (uint32_t at = 0; at + RECORD <= 2u * storage.sector_size; at += unit) {
        uint8_t *record = flash + at;
        if (memcmp(record, "MLJ1", 4) != 0) {
            continue;
        }
        first = found ? first : get32(record + 4);
        found = true;
        fuzz_put32(record + 4, (uint32_t)(((uint64_t)first + (record[4] | (record[5] & 15u) << 8)) & 0xFFFFFFFFu));
        for (unsigned i = 0; i < 2; i++) {
            uint8_t *slot = record + 16 + 12 * i;
            uint32_t size = get32(slot);
            if (size <= storage.slot_size) {
                const uint8_t *image = flash + 2u * storage.sector_size + i * storage.slot_size;
                fuzz_put32(slot + 4, stinger_crc32(0, image, size));
            }
        }
        fuzz_put32(record + 40, stinger_crc32(0, record, 40));
    }
}

/* What the store gives out. */
typedef struct {
    uint8_t bytes[8192];
    uint32_t size;
    bool there;
} content;

static void look(const stinger_store *store, content *is) {
    const uint8_t *image = stinger_store_image(store, &is->size);
    is->there = image != NULL;
    if (image != NULL) {
        CHECK(is->size > 0 && is->size <= storage.slot_size);
        CHECK(image >= flash + 2u * storage.sector_size && image + is->size <= flash + region());
        memcpy(is->bytes, image, is->size);
        CHECK(stinger_crc32(0, image, is->size) == store->slot[store->active].crc);
        uint8_t byte;
        CHECK(stinger_store_read(store, is->size - 1u, &byte, 1) && byte == image[is->size - 1u]);
        CHECK(!stinger_store_read(store, is->size, &byte, 1));
    }
}

static bool same(const content *a, const content *b) {
    return a->there == b->there && (!a->there || (a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0));
}

static stinger_store store;
static content before, after;
static bool sure; /* no operation has failed since the last start: what a start finds is what is active */

static void start(void) {
    look(&store, &before);
    CHECK(stinger_store_open(&store, &storage) == STINGER_STORE_OK);
    look(&store, &after);
    CHECK(!sure || same(&before, &after));
    sure = true;
}

static void update(fuzz_input *in, uint8_t kind) {
    static uint8_t image[MAX_IMAGE];
    uint32_t size = fuzz_take16(in) % (MAX_IMAGE + 1u), given = 0;
    uint8_t fill = fuzz_take8(in);
    memset(image, fill, sizeof image);
    for (unsigned i = 0; i < 4 && i < size; i++) {
        image[i] = fuzz_take8(in);
    }
    uint32_t crc = stinger_crc32(0, image, size) ^ (kind & 1u);
    bool armed = fails_in > 0;
    stinger_store_status status = stinger_store_begin(&store, size, crc);
    CHECK(size > 0 && size <= storage.slot_size ? status == STINGER_STORE_OK || armed : status == STINGER_STORE_SIZE);
    while (status == STINGER_STORE_OK && given < size) {
        uint32_t part = 1u + fuzz_take8(in) * 4u;
        part = part < size - given ? part : size - given;
        status = stinger_store_write(&store, image + given, part);
        given += part;
    }
    if (kind & 2u) {
        const void *place = NULL;
        stinger_store_status said = stinger_store_verify(&store, &place);
        CHECK(status != STINGER_STORE_OK || said != STINGER_STORE_OK || memcmp(place, image, size) == 0);
    }
    look(&store, &after);
    CHECK(same(&before, &after)); /* until it is committed */
    if (kind & 4u) {
        stinger_store_abort(&store);
        CHECK(stinger_store_commit(&store) == STINGER_STORE_MISUSED);
        return;
    }
    stinger_store_status committed = stinger_store_commit(&store);
    if (committed == STINGER_STORE_OK) {
        CHECK(status == STINGER_STORE_OK && (kind & 1u) == 0);
        look(&store, &after);
        CHECK(after.there && after.size == size && memcmp(after.bytes, image, size) == 0);
    } else {
        CHECK(armed || status != STINGER_STORE_OK || (kind & 1u) != 0);
        look(&store, &after);
        CHECK(same(&before, &after));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    uint8_t options = fuzz_take8(&in);
    unsigned which = (options & 0x7Fu) % (unsigned)(sizeof sizes / sizeof sizes[0]);
    const stinger_storage one = {
        NULL, read_it, erase_it, program_it, sync_it, NULL, sizes[which].sector, sizes[which].unit, sizes[which].slot};
    size_t held;
    storage = one;
    flash = malloc(region());
    CHECK(flash != NULL);
    memset(flash, 0xFF, region());
    size_t wanted = fuzz_take16(&in);
    const uint8_t *from = fuzz_take(&in, wanted < region() ? wanted : region(), &held);
    if (held > 0) {
        memcpy(flash, from, held);
    }
    storage.mapped = flash;
    if ((options & AS_IT_IS) == 0) {
        repair();
    }
    fails_in = 0;
    CHECK(stinger_store_open(&store, &storage) == STINGER_STORE_OK);
    sure = true;
    for (unsigned step = 0; step < MAX_STEPS && in.left > 0; step++) {
        uint8_t kind = fuzz_take8(&in);
        look(&store, &before);
        stinger_store_status status;
        switch (kind >> 5) {
        case 0:
        case 1:
        case 2:
            update(&in, kind);
            break;
        case 3:
            status = stinger_store_rollback(&store);
            look(&store, &after);
            CHECK(status == STINGER_STORE_OK || same(&before, &after));
            break;
        case 4:
            if ((kind & 31u) == 0) {
                status = stinger_store_clear(&store);
                look(&store, &after);
                CHECK(status != STINGER_STORE_OK || !after.there);
            }
            break;
        case 5:
            fails_in = 1u + (kind & 31u);
            sure = false;
            break;
        case 6:
            fails_in = 0;
            start();
            break;
        default: /* a cell changes: at worst the image before it, or none */
            flash[fuzz_take16(&in) % region()] ^= (uint8_t)(1u << (kind & 7u));
            CHECK(stinger_store_open(&store, &storage) == STINGER_STORE_OK);
            fails_in = 0;
            sure = true;
            break;
        }
    }
    free(flash);
    return 0;
}
