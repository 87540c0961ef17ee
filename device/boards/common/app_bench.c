/* MLBENCH: what samples and decisions cost here, on values that jump over the whole range; one sample a poll. */
#include "app.h"

#define DECISIONS_MAX 1000u

typedef struct {
    uint32_t total;
    uint32_t least;
    uint32_t most;
} cost;

static struct {
    uint32_t wanted; /* decisions; 0: not running */
    uint32_t done;
    uint32_t samples;
    uint32_t noise;
    cost push; /* of samples while the window is full */
    cost decide;
} bench;

static void add(cost *c, uint32_t cycles) {
    c->total += cycles;
    c->least = bench.done == 0 || cycles < c->least ? cycles : c->least;
    c->most = bench.done == 0 || cycles > c->most ? cycles : c->most;
}

static void put_cost(text *out, const char *name, const cost *c) {
    text_put(out, name);
    text_put(out, "\":{\"total\":");
    text_put_unsigned(out, c->total);
    text_put(out, ",\"least\":");
    text_put_unsigned(out, c->least);
    text_put(out, ",\"most\":");
    text_put_unsigned(out, c->most);
    text_put(out, "}");
}

bool bench_command(const char *line) {
    static const cost nothing = {0, 0, 0};
    const char *argument = text_after(line, "MLBENCH ");
    uint32_t wanted;
    if (argument == NULL) {
        return false;
    }
    if (!text_parse_unsigned(argument, &wanted) || wanted < 1u || wanted > DECISIONS_MAX) {
        app_reply("MLBENCH_ERR args");
    } else if (!app_idle()) {
        app_reply("MLBENCH_ERR busy");
    } else {
        stinger_stream_init(&stinger_app_stream, app_model());
        bench.wanted = wanted;
        bench.done = 0;
        bench.samples = 0;
        bench.noise = 0x2545F491u;
        bench.push = nothing;
        bench.decide = nothing;
    }
    return true;
}

void bench_stop(void) {
    bench.wanted = 0;
}

static void answer(void) {
    char buffer[256];
    text out = {buffer, sizeof buffer, 0, false};
    text_put(&out, "[ml] MLBENCH {\"decisions\":");
    text_put_unsigned(&out, bench.done);
    put_cost(&out, ",\"sample", &bench.push);
    put_cost(&out, ",\"decide", &bench.decide);
    text_put(&out, "}\r\n");
    app_send(&out);
}

bool bench_poll(void) {
    static stinger_decision decision;
    int16_t value[STINGER_MAX_CHANNELS];
    if (bench.wanted == 0) {
        return false;
    }
    for (unsigned i = 0; i < STINGER_MAX_CHANNELS; i++) {
        bench.noise ^= bench.noise << 13;
        bench.noise ^= bench.noise >> 17;
        bench.noise ^= bench.noise << 5;
        value[i] = (int16_t)bench.noise;
    }
    uint32_t t_us = bench.samples++ * app_model()->period_us;
    uint32_t began = board_cycles();
    bool ready = stinger_stream_push(&stinger_app_stream, value, t_us, false);
    uint32_t pushed = board_cycles();
    if (ready) {
        stinger_stream_decide(&stinger_app_stream, &decision);
        uint32_t decided = board_cycles();
        add(&bench.push, (pushed - began) & BOARD_CYCLES_MASK);
        add(&bench.decide, (decided - pushed) & BOARD_CYCLES_MASK);
        if (++bench.done == bench.wanted) {
            bench.wanted = 0;
            answer();
        }
    }
    return true;
}
