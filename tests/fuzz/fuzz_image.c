/*
 * Model images: whatever opens must also run. Input: a byte of options, then the image.
 *
 * The image's CRC-32 and announced length are put right, unless the options say otherwise: no fuzzer would find them.
 * It lies in memory of its exact size. Samples are of every strength, at every limit, and some come early or late.
 */
#include "fuzz_check.h"
#include "stinger_image.h"

#define AS_IT_IS 1u
#define SAMPLES 6u
#define UNEVEN 8u
#define DECISIONS 24

static uint32_t state;

static uint32_t any(void) {
    state ^= state << 13 & 0xFFFFFFFFu;
    state ^= state >> 17;
    state ^= state << 5 & 0xFFFFFFFFu;
    return state;
}

static int16_t value(unsigned kind, uint32_t t, unsigned channel) {
    switch (kind) {
    case 0:
        return INT16_MIN;
    case 1:
        return (t + channel) & 1u ? INT16_MAX : INT16_MIN;
    case 2:
        return (int16_t)((int32_t)(any() >> 16) - 32768);
    default:
        return (int16_t)((int32_t)(any() >> 27) - 16);
    }
}

static void check_decision(const stinger_model *model, const stinger_decision *d) {
    int32_t sum = 0;
    CHECK(d->classes == model->classes && d->label < d->classes && d->scores <= d->classes);
    for (unsigned i = 0; i < d->classes; i++) {
        CHECK(d->probability[i] <= STINGER_ONE);
        CHECK(d->probability[i] <= d->probability[d->label]);
        sum += d->probability[i];
    }
    CHECK(sum <= STINGER_ONE + d->classes && sum + d->classes >= STINGER_ONE);
}

static void run(const stinger_model *model, unsigned kind, bool uneven) {
    stinger_stream *stream = malloc(sizeof *stream);
    stinger_decision *decision = malloc(sizeof *decision);
    CHECK(stream != NULL && decision != NULL);
    if (stinger_stream_init(stream, model)) {
        uint32_t t_us = 0xFFFF0000u;
        unsigned count = 0, decided = 0;
        for (uint32_t t = 0; t < 3u * model->window && decided < DECISIONS; t++) {
            int16_t sample[STINGER_MAX_CHANNELS];
            for (unsigned c = 0; c < model->channels; c++) {
                sample[c] = value(kind, t, c);
            }
            bool gap = t == 2u * model->window;
            uint32_t step = uneven ? model->period_us - model->period_us / 3u * (t & 1u) : model->period_us;
            t_us = (uint32_t)(((uint64_t)t_us + step) & 0xFFFFFFFFu);
            bool ready = stinger_stream_push(stream, sample, t_us, gap);
            count = gap ? 1 : count + 1;
            CHECK(!ready || count >= model->window);
            if (ready) {
                stinger_stream_decide(stream, decision);
                check_decision(model, decision);
                CHECK(decision->on == stinger_stream_on(stream));
                decided++;
            }
        }
    }
    free(decision);
    free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = {data, size};
    uint8_t options = fuzz_take8(&in);
    uint32_t length = (uint32_t)in.left;
    uint8_t *bytes = malloc(length > 0 ? length : 1);
    stinger_image *image = malloc(sizeof *image);
    CHECK(bytes != NULL && image != NULL);
    if (length > 0) {
        memcpy(bytes, in.at, length);
    }
    if ((options & AS_IT_IS) == 0 && length >= 16) {
        memcpy(bytes, "MLMD\2\0", 6);
        fuzz_put32(bytes + 8, length);
        fuzz_put32(bytes + 12, stinger_crc32(stinger_crc32(0, bytes, 12), bytes + 16, length - 16));
    }
    if (stinger_image_open(image, bytes, length) == STINGER_IMAGE_OK) {
        state = 2463534242u ^ options;
        run(&image->model, (options & SAMPLES) >> 1, (options & UNEVEN) != 0);
    }
    free(image);
    free(bytes);
    return 0;
}
