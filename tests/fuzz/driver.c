/*
 * A main for the fuzz targets, for any C compiler on a POSIX system: it runs every file of the corpora, then random
 * changes of them, without knowing what they reach (that is libFuzzer's art). The same seed does the same.
 *
 *     fuzz_image [-seed=N] [-runs=N] [-max_total_time=SECONDS] [-max_len=BYTES] CORPUS...
 *
 * The options are libFuzzer's. With -runs=0 only the corpora are run. The input that ends the program is left in
 * `crash-input`, and one that takes more than ten seconds is such an input.
 */
#define _POSIX_C_SOURCE 200809L

#include "fuzz_check.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SEEDS = 512, MAX_BYTES = 1 << 16, SLOW_S = 10 };

typedef struct {
    uint8_t *bytes;
    size_t size;
} input;

static input seeds[MAX_SEEDS];
static size_t seed_count;
static uint8_t current[MAX_BYTES];
static size_t current_size;
static size_t max_len = 4096;
static uint64_t state = 88172645463325252u;

static uint32_t any(void) {
    state ^= state << 13 & UINT64_MAX;
    state ^= state >> 7;
    state ^= state << 17 & UINT64_MAX;
    return (uint32_t)(state >> 32);
}

static uint32_t below(uint32_t n) {
    return n == 0 ? 0 : any() % n;
}

static void keep_input(void) {
    FILE *file = fopen("crash-input", "wb");
    if (file != NULL) {
        fwrite(current, 1, current_size, file);
        fclose(file);
    }
}

/* gcc's and clang's sanitizers call this; without them it is not there. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_signal(int number) {
    keep_input();
    static const char text[] = "stopped by a signal; the input is in crash-input\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    _exit(written > 0 ? 128 + number : 1);
}

static void one(const uint8_t *bytes, size_t size) {
    if (bytes != current) {
        memcpy(current, bytes, size);
    }
    current_size = size;
    alarm(SLOW_S);
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that reading beyond its end is seen */
    CHECK(exact != NULL);
    memcpy(exact, current, size);
    CHECK(LLVMFuzzerTestOneInput(exact, size) == 0);
    free(exact);
    alarm(0);
}

static int by_size_and_bytes(const void *a, const void *b) {
    const input *x = a, *y = b;
    if (x->size != y->size) {
        return x->size < y->size ? -1 : 1;
    }
    return memcmp(x->bytes, y->bytes, x->size);
}

static void load(const char *path) {
    struct stat is;
    if (stat(path, &is) != 0) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    if (S_ISDIR(is.st_mode)) {
        DIR *folder = opendir(path);
        struct dirent *entry;
        CHECK(folder != NULL);
        while ((entry = readdir(folder)) != NULL) {
            char name[4096];
            if (entry->d_name[0] != '.' &&
                snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < (int)sizeof name) {
                load(name);
            }
        }
        closedir(folder);
        return;
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL || seed_count == MAX_SEEDS) {
        fprintf(stderr, "cannot read %s, or too many files\n", path);
        exit(2);
    }
    input *seed = &seeds[seed_count++];
    seed->size = fread(current, 1, sizeof current, file);
    seed->bytes = malloc(seed->size + 1);
    CHECK(seed->bytes != NULL);
    memcpy(seed->bytes, current, seed->size);
    fclose(file);
}

/* Make room at `at`, or close it up. */
static size_t shift(size_t size, size_t at, size_t from, size_t count) {
    memmove(current + at, current + from, count);
    return size - from + at;
}

static size_t mutate(size_t size) {
    static const uint32_t numbers[] = {0,      1,      2,       7,          16,         32,        63,
                                       64,     127,    128,     255,        256,        1024,      0x7FFF,
                                       0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    size_t at = below((uint32_t)size), length = 1u + below(below(4) == 0 ? 200 : 8), source;
    const input *other;
    length = length < size - at ? length : size - at;
    switch (below(9)) {
    case 0:
        current[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1:
        current[at] = (uint8_t)(any() & 0xFFu);
        return size;
    case 2: /* a number that programs trip over, of 1, 2 or 4 bytes */
    case 3: {
        uint32_t number = numbers[below(sizeof numbers / sizeof numbers[0])];
        for (size_t i = 0; i < (size_t)1 << below(3) && at + i < size; i++) {
            current[at + i] = (uint8_t)(number >> (8 * i) & 0xFFu);
        }
        return size;
    }
    case 4: { /* a little more or less */
        uint32_t by = below(9) + 0xFCu;
        current[at] = (uint8_t)((current[at] + by) & 0xFFu);
        return size;
    }
    case 5:
        return shift(size, at, at + length, size - at - length);
    case 6: /* bytes twice */
        if (size + length > max_len) {
            return size;
        }
        memmove(current + at + length, current + at, size - at);
        return size + length;
    case 7: /* bytes from elsewhere in it */
        source = below((uint32_t)(size - length + 1));
        memmove(current + at, current + source, length);
        return size;
    default: /* a piece of another one, over it or at its end */
        other = &seeds[below((uint32_t)seed_count)];
        if (other->size == 0) {
            return size;
        }
        source = below((uint32_t)other->size);
        length = 1u + below((uint32_t)(other->size - source));
        at = below(2) == 0 ? size : at;
        length = at + length <= max_len ? length : max_len > at ? max_len - at : 0;
        memcpy(current + at, other->bytes + source, length);
        return at + length > size ? at + length : size;
    }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *value_of(const char *argument, const char *name) {
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 ? argument + length : NULL;
}

int main(int count, char **arguments) {
    long runs = -1, limit_s = 0, done = 0;
    static const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
    for (int i = 1; i < count; i++) {
        const char *value;
        if ((value = value_of(arguments[i], "-runs=")) != NULL) {
            runs = strtol(value, NULL, 10);
        } else if ((value = value_of(arguments[i], "-seed=")) != NULL) {
            state ^= strtoull(value, NULL, 10) << 20;
        } else if ((value = value_of(arguments[i], "-max_total_time=")) != NULL) {
            limit_s = strtol(value, NULL, 10);
        } else if ((value = value_of(arguments[i], "-max_len=")) != NULL) {
            size_t wanted = strtoul(value, NULL, 10);
            max_len = wanted >= 1 && wanted <= MAX_BYTES ? wanted : max_len;
        } else {
            load(arguments[i]);
        }
    }
    if (seed_count == 0) {
        seeds[seed_count++].bytes = calloc(1, 1);
    }
    qsort(seeds, seed_count, sizeof seeds[0], by_size_and_bytes);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(keep_input);
    }
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        signal(signals[i], on_signal);
    }
    double began = seconds();
    for (size_t i = 0; i < seed_count; i++) {
        one(seeds[i].bytes, seeds[i].size);
        done++;
    }
    for (long i = 0; runs < 0 ? limit_s > 0 && seconds() - began < (double)limit_s : i < runs; i++, done++) {
        const input *seed = &seeds[below((uint32_t)seed_count)];
        size_t size = seed->size < max_len ? seed->size : max_len;
        memcpy(current, seed->bytes, size);
        for (uint32_t changes = 1u + below(below(3) == 0 ? 24 : 4); changes > 0; changes--) {
            if (size == 0) {
                current[size++] = (uint8_t)(any() & 0xFFu);
            }
            size = mutate(size);
        }
        one(current, size);
    }
    printf("%ld runs from %zu seeds in %.0f s, no finding\n", done, seed_count, seconds() - began);
    for (size_t i = 0; i < seed_count; i++) {
        free(seeds[i].bytes);
    }
    return 0;
}
