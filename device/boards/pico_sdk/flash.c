/*
 * The flash that is kept for models: the last quarter of it, behind the firmware.
 *
 * While the flash is being changed nothing can be read from it, so the SDK's routines run from RAM with interrupts off.
 * The other core is no danger: nobody has started it, it waits in the boot ROM (PICO_FLASH_ASSUME_CORE1_SAFE).
 */
#include "board.h"

#include <hardware/flash.h>
#include <pico/flash.h>

#define AREA_BYTES (PICO_FLASH_SIZE_BYTES / 4u)
#define AREA_BEGIN (PICO_FLASH_SIZE_BYTES - AREA_BYTES)
#define TIMEOUT_MS 100 /* to park the other core, which takes no time here */

extern const char __flash_binary_end[]; /* from the SDK's linker script */

typedef struct {
    uint32_t at;
    const uint8_t *from; /* NULL: erase */
    uint32_t size;
} change;

static void apply(void *what) {
    const change *wanted = what;
    if (wanted->from == NULL) {
        flash_range_erase(AREA_BEGIN + wanted->at, wanted->size);
    } else {
        flash_range_program(AREA_BEGIN + wanted->at, wanted->from, wanted->size);
    }
}

static bool run(change *wanted) {
    return flash_safe_execute(apply, wanted, TIMEOUT_MS) == PICO_OK;
}

const board_flash_area *board_flash(void) {
    static board_flash_area area = {(const uint8_t *)(XIP_BASE + AREA_BEGIN), 0, FLASH_SECTOR_SIZE, FLASH_PAGE_SIZE};
    bool free = (uintptr_t)__flash_binary_end <= XIP_BASE + AREA_BEGIN;
    area.size = free ? AREA_BYTES : 0; /* a firmware as large as that has no room for models */
    return &area;
}

bool board_flash_erase(uint32_t at) {
    change wanted = {at, NULL, FLASH_SECTOR_SIZE};
    return run(&wanted);
}

bool board_flash_program(uint32_t at, const void *from, uint32_t size) {
    change wanted = {at, from, size};
    return run(&wanted);
}

bool board_flash_sync(void) {
    return true; /* the routines wait until the flash is done */
}
