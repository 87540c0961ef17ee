/*
 * The flash that is kept for models, changed through the routines of the boot ROM.
 *
 * While they work the flash cannot be read, so no instruction may come from there: what calls them lies in RAM, has
 * everything it needs there, and interrupts are masked for good (main). Afterwards the flash is read in the plain mode that the
 * ROM sets up; a board with a second-stage boot loader would run that again.
 */
#include "board.h"

#define SECTOR_BYTES 4096u
#define PAGE_BYTES 256u
#define BLOCK_BYTES 65536u /* what the flash can erase at once, and its command for that */
#define BLOCK_ERASE 0xD8u
#define FLASH_BASE 0x10000000u
#define ROM_CODE(a, b) ((uint32_t)(a) | (uint32_t)(b) << 8)

typedef void (*rom_plain)(void);
typedef void (*rom_erase)(uint32_t at, uint32_t size, uint32_t block_bytes, uint32_t block_command);
typedef void (*rom_program)(uint32_t at, const uint8_t *from, uint32_t size);
typedef uintptr_t (*rom_lookup)(const uint16_t *table, uint32_t code);

/* From the linker script: halfwords in the ROM that say where its table and the function to search it are; the flash
 * for models. */
extern const uint16_t rom_function_table, rom_table_lookup;
extern const uint8_t models_begin[], models_end[];

static struct {
    rom_plain connect;
    rom_plain exit_xip;
    rom_erase erase;
    rom_program program;
    rom_plain flush_cache;
    rom_plain enter_xip;
} rom;

static void find_routines(void) {
    rom_lookup lookup = (rom_lookup)(uintptr_t)rom_table_lookup;
    const uint16_t *table = (const uint16_t *)(uintptr_t)rom_function_table;
    rom.connect = (rom_plain)lookup(table, ROM_CODE('I', 'F'));
    rom.exit_xip = (rom_plain)lookup(table, ROM_CODE('E', 'X'));
    rom.erase = (rom_erase)lookup(table, ROM_CODE('R', 'E'));
    rom.program = (rom_program)lookup(table, ROM_CODE('R', 'P'));
    rom.flush_cache = (rom_plain)lookup(table, ROM_CODE('F', 'C'));
    rom.enter_xip = (rom_plain)lookup(table, ROM_CODE('C', 'X'));
}

/* Erase a sector, or program `from`. In RAM, and calls nothing but the ROM. */
__attribute__((section(".ram_text"), noinline)) static void change(uint32_t at, const uint8_t *from, uint32_t size) {
    rom.connect();
    rom.exit_xip();
    if (from == NULL) {
        rom.erase(at, size, BLOCK_BYTES, BLOCK_ERASE);
    } else {
        rom.program(at, from, size);
    }
    rom.flush_cache();
    rom.enter_xip();
}

/* Through a pointer: RAM is further away than a call reaches. */
static void (*volatile const change_from_ram)(uint32_t, const uint8_t *, uint32_t) = change;

static bool change_at(uint32_t at, const void *from, uint32_t size) {
    if (rom.connect == NULL) {
        find_routines();
    }
    change_from_ram((uint32_t)(uintptr_t)models_begin - FLASH_BASE + at, from, size);
    return true;
}

const board_flash_area *board_flash(void) {
    static board_flash_area area = {NULL, 0, SECTOR_BYTES, PAGE_BYTES};
    area.mapped = models_begin;
    area.size = (uint32_t)((uintptr_t)models_end - (uintptr_t)models_begin);
    return &area;
}

bool board_flash_erase(uint32_t at) {
    return change_at(at, NULL, SECTOR_BYTES);
}

bool board_flash_program(uint32_t at, const void *from, uint32_t size) {
    return change_at(at, from, size);
}

bool board_flash_sync(void) {
    return true; /* the ROM waits until it is done */
}
