/*
 * The firmware as a process on a POSIX host: the serial line is stdin and stdout, the end of stdin ends it. Good
 * for debuggers, sanitizers and fuzzers; there is no sensor.
 *
 * Output is buffered and written when it does not block. While half of the buffer is waiting nothing more is read,
 * so a host that is slow to read loses nothing.
 *
 * Flash is memory, kept in a file when `--flash FILE` says so.
 */
#define _POSIX_C_SOURCE 200809L

#include "board.h"
#include "stinger_app.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MS 10
#define FLASH_BYTES (512u * 1024u)
#define SECTOR_BYTES 4096u
#define PAGE_BYTES 256u

extern const stinger_model stinger_model_data;

/* A nominal 1 GHz: cycles are nanoseconds here. */
board_info board = {"native", 1000000000u, NULL, 0};

static struct {
    uint8_t bytes[4096];
    size_t at;
    size_t size;
    bool ended;
} input;

static struct {
    uint8_t bytes[65536];
    size_t size;
    bool broken; /* nobody reads any more */
} output;

/* Its bits are only cleared by programming, as a real one's. */
static uint8_t no_file[FLASH_BYTES];
static uint8_t *flash = no_file;

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t board_micros(void) {
    return (uint32_t)(nanoseconds() / 1000u);
}

uint32_t board_cycles(void) {
    return (uint32_t)nanoseconds() & BOARD_CYCLES_MASK;
}

int32_t board_stack_free(void) {
    return -1;
}

bool board_sensor_read(board_sample *sample, uint8_t channels) {
    (void)sample;
    (void)channels;
    return false;
}

const board_flash_area *board_flash(void) {
    static board_flash_area area = {NULL, FLASH_BYTES, SECTOR_BYTES, PAGE_BYTES};
    area.mapped = flash;
    return &area;
}

bool board_flash_erase(uint32_t at) {
    memset(flash + at, 0xFF, SECTOR_BYTES);
    return true;
}

bool board_flash_program(uint32_t at, const void *from, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        flash[at + i] &= ((const uint8_t *)from)[i];
    }
    return true;
}

bool board_flash_sync(void) {
    return flash == no_file || msync(flash, FLASH_BYTES, MS_SYNC) == 0;
}

/* A file that is too short is new flash from there on. */
static bool open_flash(const char *path) {
    memset(no_file, 0xFF, sizeof no_file);
    if (path == NULL) {
        return true;
    }
    struct stat status;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        return false;
    }
    off_t known = status.st_size < (off_t)FLASH_BYTES ? status.st_size : (off_t)FLASH_BYTES;
    if (known < (off_t)FLASH_BYTES && ftruncate(file, (off_t)FLASH_BYTES) != 0) {
        return false;
    }
    void *mapped = mmap(NULL, FLASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) {
        return false;
    }
    flash = mapped;
    memset(flash + known, 0xFF, FLASH_BYTES - (size_t)known);
    return true;
}

static bool would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void flush(void) {
    ssize_t written = write(STDOUT_FILENO, output.bytes, output.size);
    if (written > 0) {
        output.size -= (size_t)written;
        memmove(output.bytes, output.bytes + written, output.size);
    } else if (written < 0 && !would_block()) {
        output.broken = true;
    }
}

bool board_write(const uint8_t *data, size_t size) {
    if (size > sizeof output.bytes - output.size) {
        flush();
    }
    if (size > sizeof output.bytes - output.size) {
        return false;
    }
    memcpy(output.bytes + output.size, data, size);
    output.size += size;
    return true;
}

int board_read_byte(void) {
    if (input.at == input.size && !input.ended && output.size < sizeof output.bytes / 2) {
        ssize_t got = read(STDIN_FILENO, input.bytes, sizeof input.bytes);
        input.at = 0;
        input.size = got > 0 ? (size_t)got : 0;
        input.ended = got == 0 || (got < 0 && !would_block());
    }
    return input.at < input.size ? input.bytes[input.at++] : -1;
}

static void wait_for_host(void) {
    struct pollfd lines[2] = {
        {input.ended ? -1 : STDIN_FILENO, POLLIN, 0},
        {output.size > 0 ? STDOUT_FILENO : -1, POLLOUT, 0},
    };
    if (output.size >= sizeof output.bytes / 2) {
        lines[0].fd = -1;
    }
    poll(lines, 2, IDLE_MS);
}

int main(int count, char **argument) {
    bool usage = count != 1 && !(count == 3 && strcmp(argument[1], "--flash") == 0);
    if (usage || !open_flash(count == 3 ? argument[2] : NULL)) {
        fputs(usage ? "usage: firmware-native [--flash FILE]\n" : "cannot use the file for flash\n", stderr);
        return 2;
    }
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    stinger_app_init(&stinger_model_data);
    while (!output.broken) {
        bool busy = stinger_app_poll();
        if (output.size > 0) {
            flush();
        }
        if (!busy && input.ended && output.size == 0) {
            return 0;
        }
        if (!busy) {
            wait_for_host();
        }
    }
    return 1;
}
