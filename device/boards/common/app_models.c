/*
 * Models in flash: upload, activation, rollback.
 *
 * The stretch of flash holds three stores of two slots each: images that this firmware runs (MLMD version 2), and the
 * stock firmware's two kinds of float models, which are kept and described but not run. An image is run where it lies;
 * the store never writes to the slot of the active one, and the one that runs is active before anything is written.
 */
#include "app.h"
#include "stinger_image.h"
#include "stinger_stock.h"
#include "stinger_store.h"

#define STOCK_MAX 199999u /* bytes: what the commands take */
#define LINE_MAX 64

enum { FILE_MODEL, FILE_LR, FILE_MLP, FILES };

/* Sectors of 4096 bytes, or as many of another size as hold as much. */
static const uint32_t slot_bytes[FILES] = {49u * 4096u, 4096u, 5u * 4096u};

typedef struct {
    uint32_t begin; /* of its stretch in the flash */
    stinger_storage storage;
    stinger_store store;
    bool open;
} file;

static struct {
    file files[FILES];
    const stinger_model *builtin;
    stinger_image image[2]; /* one may run while the other is looked at */
    uint8_t running;        /* which of them */
    bool from_flash;        /* it runs, and not `builtin` */
    uint8_t slot;           /* where it lies then */
    uint32_t loaded_us;
} models;

static struct {
    file *to; /* NULL: none goes on */
    uint32_t left;
    bool run; /* as soon as it is there */
    stinger_store_status status;
} upload;

static bool read_flash(void *context, uint32_t at, void *to, uint32_t size) {
    const file *f = context;
    const uint8_t *from = board_flash()->mapped + f->begin + at;
    uint8_t *out = to;
    for (uint32_t i = 0; i < size; i++) {
        out[i] = from[i];
    }
    return true;
}

static bool erase_flash(void *context, uint32_t at) {
    return board_flash_erase(((const file *)context)->begin + at);
}

static bool program_flash(void *context, uint32_t at, const void *from, uint32_t size) {
    return board_flash_program(((const file *)context)->begin + at, from, size);
}

static bool sync_flash(void *context) {
    (void)context;
    return board_flash_sync();
}

static void open_files(void) {
    const board_flash_area *flash = board_flash();
    uint32_t begin = 0;
    for (unsigned i = 0; i < FILES; i++) {
        file *f = &models.files[i];
        uint32_t slot = slot_bytes[i] > flash->sector_size ? slot_bytes[i] : flash->sector_size;
        uint32_t size = STINGER_STORE_BYTES(flash->sector_size, slot);
        f->open = false;
        if (size > flash->size - begin) {
            return;
        }
        const stinger_storage storage = {f,
                                         read_flash,
                                         erase_flash,
                                         program_flash,
                                         sync_flash,
                                         flash->mapped + begin,
                                         flash->sector_size,
                                         flash->program_size,
                                         slot};
        f->begin = begin;
        f->storage = storage;
        f->open = stinger_store_open(&f->store, &f->storage) == STINGER_STORE_OK;
        begin += size;
    }
}

static void run_builtin(void) {
    models.from_flash = false;
    models.loaded_us = board_micros();
    app_run(models.builtin);
}

/* Open the image at `bytes` and run it. */
static stinger_image_status run_image(const void *bytes, uint32_t size, uint8_t slot) {
    uint8_t other = models.running ^ 1u;
    stinger_image_status status = stinger_image_open(&models.image[other], bytes, size);
    if (status != STINGER_IMAGE_OK) {
        return status;
    }
    if (!app_run(&models.image[other].model)) {
        return STINGER_IMAGE_TOO_LARGE;
    }
    models.running = other;
    models.from_flash = true;
    models.slot = slot;
    models.loaded_us = board_micros();
    return STINGER_IMAGE_OK;
}

/* Run the active image, or the firmware's own model where there is none that runs here. */
static bool run_active(void) {
    const file *f = &models.files[FILE_MODEL];
    uint32_t size = 0;
    const void *bytes = f->open ? stinger_store_image(&f->store, &size) : NULL;
    if (bytes != NULL && run_image(bytes, size, f->store.active) == STINGER_IMAGE_OK) {
        return true;
    }
    run_builtin();
    return false;
}

void models_init(const stinger_model *builtin) {
    models.builtin = builtin;
    upload.to = NULL;
    open_files();
    run_builtin(); /* so that there is one to stay with, should the flash hold a model that does not fit */
    run_active();
}

/* `<size> <crc32hex>` */
static bool parse(const char *argument, uint32_t *size, uint32_t *crc) {
    char number[12];
    unsigned n = 0, digits = 0;
    while (*argument != ' ' && *argument != '\0' && n < sizeof number - 1u) {
        number[n++] = *argument++;
    }
    number[n] = '\0';
    if (!text_parse_unsigned(number, size) || *size < 1u || *size > STOCK_MAX || *argument++ != ' ') {
        return false;
    }
    for (*crc = 0; *argument != '\0'; argument++, digits++) {
        char c = *argument;
        uint32_t digit = 16;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            digit = (uint32_t)(c & 7) + 9u;
        }
        if (digit > 15u) {
            return false;
        }
        *crc = *crc << 4 | digit;
    }
    return digits > 0 && digits <= 8u;
}

static void put(unsigned number, bool run, const char *argument) {
    file *f = &models.files[number];
    uint32_t size, crc;
    if (!parse(argument, &size, &crc)) {
        app_reply("MLMODEL_ERR args");
    } else if (!f->open) {
        app_reply("MLMODEL_ERR fs");
    } else {
        /* What runs must not be what is overwritten: the slot that is not active. */
        if (number == FILE_MODEL && models.from_flash && models.slot != f->store.active) {
            run_active();
        }
        upload.status = stinger_store_begin(&f->store, size, crc);
        if (upload.status != STINGER_STORE_OK) {
            app_reply("MLMODEL_ERR open");
            return;
        }
        upload.to = f;
        upload.left = size;
        upload.run = run;
        app_reply("MLMODEL_READY");
    }
}

bool models_uploading(void) {
    return upload.to != NULL;
}

/* Try the new image before it counts; what runs is what it was when it does not. */
static bool try_image(stinger_store *store) {
    static const char *const refusal[] = {"", "foreign", "damaged", "malformed", "too large"};
    const void *bytes = NULL;
    upload.status = stinger_store_verify(store, &bytes);
    if (upload.status != STINGER_STORE_OK) {
        return true; /* said below */
    }
    stinger_image_status status = run_image(bytes, store->size, store->target);
    if (status == STINGER_IMAGE_OK) {
        upload.status = stinger_store_commit(store);
        if (upload.status != STINGER_STORE_OK) {
            run_active();
        }
        return true;
    }
    stinger_store_abort(store);
    char buffer[LINE_MAX];
    text line = {buffer, sizeof buffer - 1u, 0, false};
    text_put(&line, "MLMODEL_ERR ");
    text_put(&line, refusal[status]);
    buffer[line.size] = '\0';
    app_reply(buffer);
    return false;
}

static void end_upload(void) {
    stinger_store *store = &upload.to->store;
    upload.to = NULL;
    if (upload.status == STINGER_STORE_OK) {
        if (!upload.run) {
            upload.status = stinger_store_commit(store);
        } else if (!try_image(store)) {
            return;
        }
    }
    if (upload.status == STINGER_STORE_OK) {
        app_reply("MLMODEL_OK");
    } else {
        app_reply(upload.status == STINGER_STORE_DAMAGED ? "MLMODEL_ERR crc" : "MLMODEL_ERR rename");
    }
}

/* When the flash fails, the rest is swallowed all the same: it would be taken for commands. */
void models_take(uint8_t byte) {
    if (upload.status == STINGER_STORE_OK) {
        upload.status = stinger_store_write(&upload.to->store, &byte, 1);
    }
    if (--upload.left == 0) {
        end_upload();
    }
}

void models_silence(uint32_t silent_us) {
    if (upload.to != NULL && silent_us >= APP_SILENCE_US) {
        stinger_store_abort(&upload.to->store);
        upload.to = NULL;
        app_reply("MLMODEL_ERR timeout");
    }
}

static const void *stock_image(unsigned number, stinger_stock_kind kind) {
    const file *f = &models.files[number];
    uint32_t size = 0;
    const void *bytes = f->open ? stinger_store_image(&f->store, &size) : NULL;
    return bytes != NULL && stinger_stock_open(bytes, size) == kind ? bytes : NULL;
}

static void rollback(void) {
    file *f = &models.files[FILE_MODEL];
    if (!f->open || stinger_store_rollback(&f->store) != STINGER_STORE_OK) {
        app_reply("MLMODEL_ERR rollback");
    } else {
        run_active();
        app_reply("MLMODEL_ROLLED_BACK");
    }
}

static void delete_all(void) {
    bool good = models.files[FILE_MODEL].open;
    run_builtin();
    for (unsigned i = 0; i < FILES; i++) {
        file *f = &models.files[i];
        good = good && (!f->open || stinger_store_clear(&f->store) == STINGER_STORE_OK);
    }
    app_reply(good ? "MLMODEL_DELETED" : "MLMODEL_ERR delete");
}

bool models_command(const char *line) {
    const char *argument;
    if ((argument = text_after(line, "MLMODEL_PUT_SLOT ")) != NULL) {
        put(FILE_MODEL, true, argument);
    } else if ((argument = text_after(line, "MLMODEL_PUT_LR ")) != NULL) {
        put(FILE_LR, false, argument);
    } else if ((argument = text_after(line, "MLMODEL_PUT_MLP ")) != NULL) {
        put(FILE_MLP, false, argument);
    } else if ((argument = text_after(line, "MLMODEL_PUT ")) != NULL) {
        put(FILE_MODEL, false, argument);
    } else if (text_equal(line, "MLMODEL_LOAD")) {
        app_reply(run_active() ? "MLMODEL_LOADED" : "MLMODEL_ERR load");
    } else if (text_equal(line, "MLMODEL_LOAD_LR") || text_equal(line, "MLMODEL_LOAD_MLP")) {
        app_reply("MLMODEL_ERR load"); /* kept, but not run: this firmware has no floating point */
    } else if (text_equal(line, "MLMODEL_ROLLBACK")) {
        rollback();
    } else if (text_equal(line, "MLMODEL_DELETE")) {
        delete_all();
    } else if (text_equal(line, "MLMODEL_INFO")) {
        stock_info(models.from_flash, models.loaded_us, stock_image(FILE_LR, STINGER_STOCK_LR),
                   stock_image(FILE_MLP, STINGER_STOCK_MLP));
    } else {
        return false;
    }
    return true;
}

void models_put_hello(text *out) {
    static const char *const place[] = {"\"slot0\"", "\"slot1\"", "\"builtin\"", "null"};
    const file *f = &models.files[FILE_MODEL];
    if (!f->open) {
        return;
    }
    text_put(out, ",\"store\":{\"running\":");
    text_put(out, place[models.from_flash ? models.slot : STINGER_STORE_BUILTIN]);
    text_put(out, ",\"active\":");
    text_put(out, place[f->store.active]);
    text_put(out, ",\"previous\":");
    text_put(out, place[f->store.previous]);
    text_put(out, ",\"generation\":");
    text_put_unsigned(out, f->store.active < 2u ? f->store.slot[f->store.active].generation : 0);
    text_put(out, ",\"slot_bytes\":");
    text_put_unsigned(out, f->storage.slot_size < STOCK_MAX ? f->storage.slot_size : STOCK_MAX);
    text_put(out, f->store.damaged ? ",\"damaged\":true}" : ",\"damaged\":false}");
}
