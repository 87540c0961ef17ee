/*
 * The model store on a simulated flash that loses power: see test_store_c.py.
 *
 * The flash only clears bits when it programs and only sets them when it erases a sector. After a chosen number of
 * operations it dies: before the operation, or in the middle of it, which leaves some of what was there and some of what
 * was to come. Then everything is started again from its bytes.
 */
#include "stinger_image.h"
#include "stinger_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(holds)                                                                                                   \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            printf("line %d: %s\n", __LINE__, #holds);                                                                 \
            fflush(stdout);                                                                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CONTENTS 24
#define BUILTIN (-1)
#define NOWHERE (-2)
#define LARGEST 20480
#define REGION (2 * 4096 + 2 * LARGEST)
#define VARIANTS 5

static uint64_t seed = 88172645463325252u;

static uint32_t any(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32);
}

static uint32_t below(uint32_t n) {
    return any() % n;
}

/* The flash. */
static struct {
    uint8_t bytes[REGION];
    uint8_t stuck[REGION]; /* bits that cannot be set */
    bool worn;
    bool dead;
    long left; /* operations until it dies; negative: it does not */
    int variant;
    long done;
    int guarded; /* a slot that nobody may touch */
    int sync_fails; /* so many calls from now; 0: none does */
} flash;

static stinger_storage storage;
static stinger_store store;

static uint32_t region(void) {
    return STINGER_STORE_BYTES(storage.sector_size, storage.slot_size);
}

static void guard(uint32_t at) {
    if (flash.guarded >= 0 && at >= 2 * storage.sector_size) {
        CHECK((at - 2 * storage.sector_size) / storage.slot_size != (uint32_t)flash.guarded);
    }
}

static bool read_it(void *context, uint32_t at, void *to, uint32_t size) {
    (void)context;
    CHECK(at < region() && size <= region() - at);
    memcpy(to, flash.bytes + at, size);
    return true;
}

/* Whether the operation is the last one. */
static bool dying(void) {
    flash.done++;
    if (flash.left >= 0 && flash.left-- == 0) {
        flash.dead = true;
    }
    return flash.dead;
}

/* What an interrupted operation leaves at each byte: the old, the new, or some of the new one's bits. */
static void half(uint8_t *at, const uint8_t *next, uint32_t size) {
    uint32_t place = below(size);
    for (uint32_t i = 0; i < size; i++) {
        uint8_t changed = (uint8_t)(at[i] ^ next[i]);
        if (flash.variant == 1) {
            changed = i < place ? changed : 0;
        } else if (flash.variant == 2) {
            changed &= (uint8_t)any();
        } else if (flash.variant == 3) {
            changed = i == place ? (uint8_t)(changed & any()) : changed; /* nearly done */
        } else if (flash.variant == 4) {
            changed = i == place ? (uint8_t)(changed & any()) : 0; /* hardly begun */
        } else {
            changed = 0;
        }
        at[i] ^= changed;
    }
}

static bool erase(void *context, uint32_t at) {
    static uint8_t ones[4096];
    (void)context;
    memset(ones, 0xFF, sizeof ones);
    if (flash.dead) {
        return false;
    }
    CHECK(at < region() && at % storage.sector_size == 0);
    guard(at);
    if (dying()) {
        half(flash.bytes + at, ones, storage.sector_size);
        return false;
    }
    for (uint32_t i = 0; i < storage.sector_size; i++) {
        flash.bytes[at + i] = (uint8_t)~flash.stuck[at + i];
    }
    return true;
}

static bool program(void *context, uint32_t at, const void *from, uint32_t size) {
    uint8_t next[STINGER_STORE_UNIT_MAX];
    (void)context;
    if (flash.dead) {
        return false;
    }
    CHECK(at < region() && size <= region() - at && size <= sizeof next);
    CHECK(at % storage.program_size == 0 && size % storage.program_size == 0);
    guard(at);
    for (uint32_t i = 0; i < size; i++) {
        CHECK(flash.worn || flash.bytes[at + i] == 0xFF); /* a unit is programmed once after it was erased */
        next[i] = flash.bytes[at + i] & ((const uint8_t *)from)[i];
    }
    if (dying()) {
        half(flash.bytes + at, next, size);
        return false;
    }
    memcpy(flash.bytes + at, next, size);
    return true;
}

static bool sync_it(void *context) {
    (void)context;
    if (flash.sync_fails > 0 && --flash.sync_fails == 0) {
        return false;
    }
    return !flash.dead;
}

static void use(uint32_t sector, uint32_t unit, uint32_t slot, bool mapped) {
    CHECK(STINGER_STORE_BYTES(sector, slot) <= REGION);
    stinger_storage made = {NULL, read_it, erase, program, sync_it, mapped ? flash.bytes : NULL, sector, unit, slot};
    storage = made;
    memset(&flash, 0, sizeof flash);
    memset(flash.bytes, 0xFF, sizeof flash.bytes);
    flash.left = -1;
    flash.guarded = -1;
}

/* Contents to store. */
static struct {
    uint8_t bytes[LARGEST];
    uint32_t size;
    uint32_t crc;
} content[CONTENTS];

static void make_contents(void) {
    for (unsigned i = 0; i < CONTENTS; i++) {
        uint32_t most = storage.slot_size;
        content[i].size = i == 0 ? most : (i == 1 ? 1 : 1 + below(most));
        for (uint32_t k = 0; k < content[i].size; k++) {
            content[i].bytes[k] = i == 2 ? 0xFF : (uint8_t)any();
        }
        content[i].crc = stinger_crc32(0, content[i].bytes, content[i].size);
    }
}

/* Which content the store gives out; anything that was never stored is a failure. */
static int given(void) {
    static uint8_t bytes[LARGEST];
    uint32_t size = 0;
    if (store.active == STINGER_STORE_BUILTIN) {
        CHECK(stinger_store_image(&store, &size) == NULL);
        return BUILTIN;
    }
    CHECK(store.active <= STINGER_STORE_SLOT_1);
    size = store.slot[store.active].size;
    CHECK(size > 0 && stinger_store_read(&store, 0, bytes, size));
    CHECK(!stinger_store_read(&store, 0, bytes, size + 1) && !stinger_store_read(&store, size + 1, bytes, 0));
    if (storage.mapped != NULL) {
        uint32_t again = 0;
        const void *image = stinger_store_image(&store, &again);
        CHECK(image != NULL && again == size && memcmp(image, bytes, size) == 0);
    }
    for (int i = 0; i < CONTENTS; i++) {
        if (content[i].size == size && memcmp(content[i].bytes, bytes, size) == 0) {
            return i;
        }
    }
    CHECK(!"an image that was never stored");
    return NOWHERE;
}

static void start(void) {
    flash.dead = false;
    flash.left = -1;
    flash.guarded = -1;
    memset(&store, 0xA5, sizeof store);
    CHECK(stinger_store_open(&store, &storage) == STINGER_STORE_OK);
}

/* What must be active, and what may be instead while a change is being made. */
static struct {
    int active;
    int previous;
    int maybe;
} expected;

static void fresh(void) {
    memset(flash.bytes, 0xFF, sizeof flash.bytes);
    expected.active = expected.maybe = BUILTIN;
    expected.previous = NOWHERE;
    start();
}

static bool upload(int i, uint32_t stop) {
    flash.guarded = store.active <= STINGER_STORE_SLOT_1 ? store.active : -1;
    stinger_store_status status = stinger_store_begin(&store, content[i].size, content[i].crc);
    if (flash.dead) {
        CHECK(status == STINGER_STORE_FAILED);
        return false;
    }
    CHECK(status == STINGER_STORE_OK);
    if (expected.active != BUILTIN && expected.previous != BUILTIN) {
        expected.previous = NOWHERE;
    }
    for (uint32_t at = 0; at < stop;) {
        uint32_t count = 1 + below(700);
        count = count < stop - at ? count : stop - at;
        if (stinger_store_write(&store, content[i].bytes + at, count) != STINGER_STORE_OK) {
            CHECK(flash.dead);
            return false;
        }
        at += count;
    }
    return true;
}

static void push(int i) {
    if (!upload(i, content[i].size)) {
        return;
    }
    if (below(2) == 0) {
        const void *image = NULL;
        if (stinger_store_verify(&store, &image) != STINGER_STORE_OK) {
            CHECK(flash.dead);
            return;
        }
        CHECK((image == NULL) == (storage.mapped == NULL));
        CHECK(image == NULL || memcmp(image, content[i].bytes, content[i].size) == 0);
    }
    expected.maybe = i;
    stinger_store_status status = stinger_store_commit(&store);
    if (flash.dead) {
        CHECK(status != STINGER_STORE_OK);
        return;
    }
    CHECK(status == STINGER_STORE_OK);
    expected.previous = expected.active;
    expected.active = i;
    CHECK(given() == i);
}

static void give_up(int i) {
    if (upload(i, below(content[i].size + 1))) {
        stinger_store_abort(&store);
        CHECK(stinger_store_commit(&store) == STINGER_STORE_MISUSED);
        CHECK(given() == expected.active);
    }
}

static void rollback(void) {
    flash.guarded = -1;
    if (expected.previous != NOWHERE) {
        expected.maybe = expected.previous;
    }
    stinger_store_status status = stinger_store_rollback(&store);
    if (flash.dead) {
        return;
    }
    CHECK(status == (expected.previous == NOWHERE ? STINGER_STORE_NOTHING : STINGER_STORE_OK));
    if (status == STINGER_STORE_OK) {
        int active = expected.active;
        expected.active = expected.previous;
        expected.previous = active;
    }
    CHECK(given() == expected.active);
}

static void clear(void) {
    flash.guarded = -1;
    expected.maybe = BUILTIN;
    stinger_store_status status = stinger_store_clear(&store);
    if (!flash.dead) {
        CHECK(status == STINGER_STORE_OK);
        expected.active = BUILTIN;
        expected.previous = NOWHERE;
    }
}

/* The power comes back: one of the two, whole; and what happens next starts from there. */
static void power_up(void) {
    start();
    int active = given();
    CHECK(active == expected.active || active == expected.maybe);
    if (active != expected.active) {
        /* The change was made. Where a rollback leads was part of it. */
        expected.active = active;
    }
    CHECK(!store.damaged);
    if (store.previous == STINGER_STORE_NO_PLACE) {
        expected.previous = NOWHERE;
    } else if (store.previous == STINGER_STORE_BUILTIN) {
        expected.previous = BUILTIN;
    } else {
        stinger_store_slot slot = store.slot[store.previous];
        expected.previous = NOWHERE;
        for (int i = 0; i < CONTENTS; i++) {
            if (content[i].size == slot.size && content[i].crc == slot.crc) {
                expected.previous = i;
            }
        }
        CHECK(expected.previous != NOWHERE);
    }
    expected.maybe = expected.active;
}

/* `steps` says what is done: a digit or letter pushes a content. */
static void play(const char *steps) {
    for (; *steps != '\0' && !flash.dead; steps++) {
        expected.maybe = expected.active;
        if (*steps == 'R') {
            rollback();
        } else if (*steps == 'X') {
            clear();
        } else if (*steps == 'Q') {
            give_up(5);
        } else if (*steps == 'P') {
            long left = flash.left; /* power off and on between operations */
            start();
            flash.left = left;
        } else {
            push(*steps <= '9' ? *steps - '0' : *steps - 'a' + 10);
        }
    }
}

static const char *SCRIPT = "3RQR4RRP2Q5RQ6P0X1RRX78R9Xa2R";

static void cuts(uint32_t sector, uint32_t unit, uint32_t slot, unsigned every) {
    static uint8_t once[REGION];
    unsigned long first = 0, second = 0;
    use(sector, unit, slot, true);
    make_contents();
    for (long cut = 0;; cut++) {
        bool ended = false;
        for (int variant = 0; variant < VARIANTS; variant++) {
            fresh();
            flash.left = cut;
            flash.variant = variant;
            play(SCRIPT);
            ended = !flash.dead;
            power_up();
            first++;
            if (first % every != 0) {
                continue;
            }
            memcpy(once, flash.bytes, sizeof once);
            int active = expected.active, previous = expected.previous;
            for (long again = 0;; again++) {
                memcpy(flash.bytes, once, sizeof once);
                start();
                expected.active = expected.maybe = active;
                expected.previous = previous;
                flash.left = again;
                flash.variant = (int)below(VARIANTS);
                play("b");
                bool died = flash.dead;
                power_up();
                second++;
                int before = expected.active;
                play("cR"); /* a store that lived through this still works */
                CHECK(given() == before);
                play("PRP");
                CHECK(given() == 12);
                if (!died) {
                    break;
                }
            }
        }
        if (ended) {
            break;
        }
    }
    printf("%lu %lu\n", first, second);
}

static void flips(void) {
    unsigned long other = 0;
    use(512, 64, 1024, true);
    make_contents();
    fresh();
    play("34R6"); /* both slots in use, 6 active */
    int active = expected.active, previous = expected.previous;
    CHECK(active == 6 && previous == 3);
    uint32_t begins = 2 * storage.sector_size + store.active * storage.slot_size, ends = begins + content[6].size;
    for (uint32_t bit = 0; bit < 8 * region(); bit++) {
        flash.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        start();
        int now = given();
        /* A record that is lost leaves the one before it: an older state, but one that was. */
        CHECK(now == active || now == previous || now == BUILTIN);
        if (bit / 8 >= begins && bit / 8 < ends) {
            CHECK(now == previous && store.damaged);
        }
        other += now != active;
        flash.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    printf("%lu", other);
    static uint8_t whole[REGION];
    memcpy(whole, flash.bytes, sizeof whole);
    for (unsigned i = 0; i < 5000; i++) {
        memcpy(flash.bytes, whole, sizeof whole);
        for (unsigned k = 1 + below(40); k > 0; k--) {
            flash.bytes[below(region())] ^= (uint8_t)(1u << below(8));
        }
        start();
        given();
        expected.active = given();
        expected.maybe = expected.active;
        flash.worn = true; /* no power cut: a push simply works, whatever lies about */
        CHECK(stinger_store_begin(&store, content[7].size, content[7].crc) == STINGER_STORE_OK);
        CHECK(stinger_store_write(&store, content[7].bytes, content[7].size) == STINGER_STORE_OK);
        CHECK(stinger_store_commit(&store) == STINGER_STORE_OK);
        start();
        CHECK(given() == 7);
    }
    printf(" ok\n");
}

/* One bit of the flash is worn and always reads 0. */
static void worn(void) {
    unsigned long refused = 0;
    static uint8_t whole[REGION];
    use(512, 64, 1024, true);
    make_contents();
    fresh();
    play("346"); /* 6 active, 4 to go back to; the next one displaces 4 */
    memcpy(whole, flash.bytes, sizeof whole);
    uint32_t active_at = 2 * storage.sector_size + store.active * storage.slot_size;
    flash.worn = true;
    for (uint32_t bit = 0; bit < 8 * region(); bit += 3) {
        uint32_t at = bit / 8;
        if (at >= active_at && at < active_at + storage.slot_size) {
            continue;
        }
        memcpy(flash.bytes, whole, sizeof whole);
        memset(flash.stuck, 0, sizeof flash.stuck);
        flash.stuck[at] = (uint8_t)(1u << bit % 8);
        flash.bytes[at] &= (uint8_t)~flash.stuck[at];
        start();
        int before = given();
        stinger_store_status status = stinger_store_begin(&store, content[0].size, content[0].crc);
        if (status == STINGER_STORE_OK) {
            status = stinger_store_write(&store, content[0].bytes, content[0].size);
        }
        if (status == STINGER_STORE_OK) {
            status = stinger_store_commit(&store);
        }
        CHECK(status == STINGER_STORE_OK || status == STINGER_STORE_FAILED);
        CHECK(given() == (status == STINGER_STORE_OK ? 0 : before));
        CHECK(status == STINGER_STORE_OK || at >= 2 * storage.sector_size); /* the journal goes round bad places */
        start();
        CHECK(given() == (status == STINGER_STORE_OK ? 0 : before));
        refused += status != STINGER_STORE_OK;
    }
    printf("%lu\n", refused);
}

/* Any order of anything, on any flash, with power cuts. */
static void wander(uint64_t start_seed, unsigned steps) {
    unsigned long died = 0;
    seed = start_seed * 2654435761u + 88172645463325252u;
    uint32_t sector = 256u << below(4), unit = 1u << below(9);
    while (sector < 2 * unit || sector < 128) {
        unit /= 2;
    }
    use(sector, unit, sector * (1 + below(3)), below(2) == 0);
    make_contents();
    fresh();
    for (uint32_t i = 0; i < region() && below(3) == 0; i++) {
        flash.bytes[i] = (uint8_t)any(); /* not a new flash */
    }
    start();
    for (unsigned i = 0; i < steps; i++) {
        static const char *const moves[] = {"R", "X", "Q", "P", "3", "4", "5", "6", "7", "a", "b", "c", "0", "1", "2"};
        flash.left = below(2) == 0 ? (long)below(60) : -1;
        flash.variant = (int)below(VARIANTS);
        play(moves[below(sizeof moves / sizeof moves[0])]);
        died += flash.dead;
        if (flash.dead || below(4) == 0) {
            power_up();
        }
    }
    printf("%lu\n", died);
}

/* The bytes of a store's flash from the file `name`, and what a start finds there: size, generation. */
static void look(const char *name) {
    use(512, 64, 1024, true);
    FILE *file = fopen(name, "rb");
    CHECK(file != NULL && fread(flash.bytes, 1, region(), file) == region());
    fclose(file);
    start();
    uint32_t size = 0;
    stinger_store_image(&store, &size);
    printf("%u %u %u %u\n", store.active, store.previous, size, store.generation);
    make_contents();
    expected.active = expected.maybe = store.active == STINGER_STORE_BUILTIN ? BUILTIN : NOWHERE;
    flash.worn = true;
    for (int i = 3; i < 23; i++) { /* numbers go on, over their end and through both sectors */
        CHECK(stinger_store_begin(&store, content[i].size, content[i].crc) == STINGER_STORE_OK);
        CHECK(stinger_store_write(&store, content[i].bytes, content[i].size) == STINGER_STORE_OK);
        CHECK(stinger_store_commit(&store) == STINGER_STORE_OK);
        start();
        CHECK(given() == i);
    }
    printf("%u %u\n", store.sequence, store.generation);
}

static void api(void) {
    static const struct {
        uint32_t sector, unit, slot;
    } wrong[] = {{0, 64, 512},   {512, 0, 512},    {512, 512, 512}, {512, 96, 512},
                 {500, 64, 500}, {256, 256, 1024}, {512, 64, 0},    {512, 64, 700}};
    use(512, 64, 1024, true);
    make_contents();
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        stinger_storage bad = storage;
        bad.sector_size = wrong[i].sector;
        bad.program_size = wrong[i].unit;
        bad.slot_size = wrong[i].slot;
        CHECK(stinger_store_open(&store, &bad) == STINGER_STORE_MISUSED);
        CHECK(stinger_store_begin(&store, 1, 0) == STINGER_STORE_MISUSED);
        CHECK(stinger_store_rollback(&store) == STINGER_STORE_MISUSED);
        CHECK(stinger_store_clear(&store) == STINGER_STORE_MISUSED);
        CHECK(!stinger_store_read(&store, 0, &seed, 1));
    }
    fresh();
    const uint8_t *bytes = content[0].bytes;
    uint32_t size = 0;
    CHECK(stinger_store_begin(&store, 0, 0) == STINGER_STORE_SIZE);
    CHECK(stinger_store_begin(&store, 1025, 0) == STINGER_STORE_SIZE);
    CHECK(stinger_store_write(&store, bytes, 1) == STINGER_STORE_MISUSED);
    CHECK(stinger_store_commit(&store) == STINGER_STORE_MISUSED);
    CHECK(stinger_store_begin(&store, 100, 0) == STINGER_STORE_OK);
    CHECK(stinger_store_rollback(&store) == STINGER_STORE_MISUSED);
    CHECK(stinger_store_clear(&store) == STINGER_STORE_MISUSED);
    CHECK(stinger_store_write(&store, bytes, 99) == STINGER_STORE_OK);
    CHECK(stinger_store_commit(&store) == STINGER_STORE_SIZE);
    CHECK(stinger_store_begin(&store, 100, 0) == STINGER_STORE_OK);
    CHECK(stinger_store_write(&store, bytes, 101) == STINGER_STORE_SIZE);
    CHECK(stinger_store_begin(&store, 100, 0) == STINGER_STORE_OK);
    CHECK(stinger_store_write(&store, bytes, 100) == STINGER_STORE_OK);
    CHECK(stinger_store_commit(&store) == STINGER_STORE_DAMAGED);
    CHECK(given() == BUILTIN && store.generation == 0);
    expected.active = BUILTIN;
    push(3);
    CHECK(store.generation == 1 && stinger_store_image(&store, &size) != NULL);
    CHECK(stinger_store_rollback(&store) == STINGER_STORE_OK && given() == BUILTIN);
    CHECK(stinger_store_rollback(&store) == STINGER_STORE_OK && given() == 3);
    /* A begin that takes back what it began: the image that was written half is nothing to go back to. */
    CHECK(stinger_store_begin(&store, 100, 0) == STINGER_STORE_OK);
    CHECK(stinger_store_begin(&store, content[4].size, content[4].crc) == STINGER_STORE_OK);
    CHECK(stinger_store_write(&store, content[4].bytes, content[4].size) == STINGER_STORE_OK);
    CHECK(stinger_store_commit(&store) == STINGER_STORE_OK && given() == 4);
    /* What can be gone back to has changed in the meantime: no way back, and it is not given out. */
    flash.bytes[2 * 512 + store.previous * 1024] ^= 1;
    CHECK(stinger_store_rollback(&store) == STINGER_STORE_NOTHING && given() == 4);
    printf("ok\n");
}

/* A change that was written down, but not reported as such: it is taken back before anything else is written. */
static void unsure(void) {
    use(512, 64, 1024, true);
    make_contents();
    for (int change = 0; change < 3; change++) {
        fresh();
        play("34");
        if (change == 0) {
            CHECK(upload(6, content[6].size));
            flash.sync_fails = 2; /* the first one is for the image */
            CHECK(stinger_store_commit(&store) == STINGER_STORE_FAILED);
        } else {
            flash.sync_fails = 1;
            CHECK((change == 1 ? stinger_store_rollback(&store) : stinger_store_clear(&store)) == STINGER_STORE_FAILED);
        }
        CHECK(given() == 4 && store.generation == 2);
        static uint8_t whole[REGION];
        memcpy(whole, flash.bytes, sizeof whole);
        CHECK(upload(7, content[7].size));
        start();
        CHECK(given() == 4 && !store.damaged);
        memcpy(flash.bytes, whole, sizeof whole);
        start();
        CHECK(given() == (change == 0 ? 6 : (change == 1 ? 3 : BUILTIN)));
    }
}

/* A record that was cut off at the end of a sector, passed over, and reads whole on another day: it is too late. */
static void too_late(void) {
    uint8_t late[64];
    use(512, 64, 1024, true);
    make_contents();
    fresh();
    play("34");
    uint32_t last = 2 * storage.sector_size - 64;
    while (store.newest_at != last - 64) {
        play("R");
    }
    play("R");
    CHECK(store.newest_at == last);
    memcpy(late, flash.bytes + last, sizeof late);
    flash.bytes[last + 20] ^= 4;
    start();
    play("X");
    CHECK(store.newest_at == 0);
    memcpy(flash.bytes + last, late, sizeof late);
    start();
    CHECK(given() == BUILTIN);
}

int main(int count, char **argument) {
    CHECK(count >= 2);
    long n[5] = {0, 0, 0, 0, 0};
    for (int i = 2; i < count && i < 7; i++) {
        n[i - 2] = atol(argument[i]);
    }
    if (strcmp(argument[1], "cuts") == 0) {
        cuts((uint32_t)n[0], (uint32_t)n[1], (uint32_t)n[2], (unsigned)n[3]);
    } else if (strcmp(argument[1], "flips") == 0) {
        flips();
    } else if (strcmp(argument[1], "worn") == 0) {
        worn();
    } else if (strcmp(argument[1], "wander") == 0) {
        for (long i = 0; i < n[1]; i++) {
            wander((uint64_t)(n[0] + i), (unsigned)n[2]);
        }
    } else if (strcmp(argument[1], "look") == 0) {
        look(argument[2]);
    } else {
        unsure();
        too_late();
        api();
    }
    return 0;
}
