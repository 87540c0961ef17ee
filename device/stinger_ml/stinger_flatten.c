/* The feature set `flatten`: the window's samples, oldest first, all channels of a sample side by side. */
#include "stinger_internal.h"

#if STINGER_WITH_FLATTEN

void stinger_flatten_add(stinger_stream *s, const int16_t *sample, uint16_t at, bool full) {
    for (unsigned c = 0; c < s->model->channels; c++) {
        stinger_running *r = &s->channel[c];
        int32_t x = sample[c], old = s->sample[at][c];
        r->squares += (uint32_t)(x * x);
        if (full)
            r->squares -= (uint32_t)(old * old);
        s->sample[at][c] = sample[c];
    }
}

void stinger_flatten(const stinger_stream *s, int16_t *feature) {
    unsigned window = s->model->window, channels = s->model->channels, at = s->next;
    for (unsigned i = 0; i < window; i++) {
        for (unsigned c = 0; c < channels; c++)
            *feature++ = s->sample[at][c];
        at = at + 1u == window ? 0u : at + 1u;
    }
}

#endif
