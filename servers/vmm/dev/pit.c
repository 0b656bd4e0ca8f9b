/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254: waveforms as functions of time, then latches, command words and port 61h. See pit.h for what
 * holds. */
#include "servers/vmm/dev/pit.h"

#define CLOCK_ZERO (1ull << 20) /* the clock at init: waveforms may begin up to 65536 before */
#define IRQ_TIMER  0

#define P61_GATE2   1
#define P61_KEEPS   0x0f
#define P61_REFRESH 0x10
#define P61_OUT2    0x20

#define REFRESH_CLOCKS 18 /* one refresh cycle every 15 us: the toggle that DOS programs count */

static uint64_t clock_at(const struct pit *p, uint64_t now)
{
    return CLOCK_ZERO + (now > p->base ? dev_scale(now - p->base, PIT_HZ, p->hz) : 0);
}

static uint64_t ticks_at(const struct pit *p, uint64_t clock)
{
    return p->base + dev_scale_up(clock - CLOCK_ZERO, p->hz, PIT_HZ);
}

/* ---- waveforms: pure ---- */

static bool gate_stops(const struct pit_channel *c)
{
    return c->mode != 1 && c->mode != 5;
}

static bool counting(const struct pit_channel *c)
{
    return c->loaded && !c->stopped && (gate_stops(c) || c->triggered);
}

static uint64_t elapsed(const struct pit_channel *c, uint64_t clock)
{
    if (c->stopped)
        return c->frozen;
    return clock > c->start ? clock - c->start : 0;
}

static bool output(const struct pit_channel *c, uint64_t clock)
{
    uint64_t e = elapsed(c, clock), n = c->count;
    if (!c->loaded)
        return c->mode != 0;
    switch (c->mode) {
    case 0:
        return e >= n;
    case 1:
        return !c->triggered || e >= n;
    case 2:
        return c->stopped || e % n != n - 1;
    case 3:
        return c->stopped || e % n < (n + 1) / 2;
    case 4:
        return e != n;
    default:
        return !c->triggered || e != n;
    }
}

/* What the counting element of mode 3 shows: it counts by two, from an even number. */
static uint64_t square_count(uint64_t n, uint64_t e)
{
    uint64_t high = (n + 1) / 2, phase = e % n;
    return (n & ~1ull) - 2 * (phase < high ? phase : phase - high);
}

static uint16_t to_bcd(uint64_t v)
{
    return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

static uint16_t current_count(const struct pit_channel *c, uint64_t clock)
{
    uint64_t modulus = c->bcd ? 10000 : 65536, n = c->count, v = n;
    if (counting(c) || c->stopped) {
        uint64_t e = elapsed(c, clock);
        if (c->mode == 2)
            v = n - e % n;
        else if (c->mode == 3)
            v = square_count(n, e);
        else
            v = n + modulus - e % modulus;
    }
    return c->bcd ? to_bcd(v % modulus) : (uint16_t)v;
}

/* The clock of the next rising edge of OUT after clock; DEV_NEVER. Mode 0: at N; 2, 3: multiples of N; 4, 5:
 * N + 1. */
static uint64_t next_rise(const struct pit_channel *c, uint64_t clock)
{
    uint64_t e = elapsed(c, clock), n = c->count;
    if (!counting(c))
        return DEV_NEVER;
    switch (c->mode) {
    case 0:
    case 1:
        return e < n ? c->start + n : DEV_NEVER;
    case 2:
    case 3:
        return n > 1 ? c->start + (e / n + 1) * n : DEV_NEVER;
    default:
        return e <= n ? c->start + n + 1 : DEV_NEVER;
    }
}

/* ---- time passes ---- */

/* A count written during a cycle of mode 2 or 3 takes over; in the middle of a square wave its low half
 * follows. */
static void reload(struct pit_channel *c, struct dev_ctx *ctx)
{
    uint64_t at = c->reload_at;
    bool low_half = c->mode == 3 && !output(c, at);
    DEV_SET(ctx, c->count, c->next);
    DEV_SET(ctx, c->start, low_half ? at - (c->count + 1) / 2 : at);
    DEV_SET(ctx, c->reload_at, DEV_NEVER);
}

static void run_channel0(struct pit *p, struct dev_ctx *ctx, uint64_t until)
{
    if (next_rise(&p->channel[0], p->seen) <= until)
        dev_edge(ctx, IRQ_TIMER);
    if (until != p->seen)
        DEV_SET(ctx, p->seen, until);
}

/* Brings the channels to the present: pending reloads, and channel 0's edges. */
static void run(struct pit *p, struct dev_ctx *ctx, uint64_t clock)
{
    for (int i = 0; i < 3; i++) {
        struct pit_channel *c = &p->channel[i];
        if (c->reload_at > clock)
            continue;
        if (i == 0)
            run_channel0(p, ctx, c->reload_at);
        reload(c, ctx);
    }
    run_channel0(p, ctx, clock);
}

/* After reprogramming: channel 0's line follows OUT, lasting low phases included. */
static void drive(struct pit *p, struct dev_ctx *ctx, uint64_t clock)
{
    const struct pit_channel *c = &p->channel[0];
    dev_line(ctx, IRQ_TIMER, c->mode != 0 || output(c, clock));
}

/* ---- programming ---- */

static uint32_t decode_count(const struct pit_channel *c, uint16_t v)
{
    if (!v)
        return c->bcd ? 10000 : 65536;
    if (!c->bcd)
        return v;
    return (uint32_t)((v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15));
}

static void begin(struct pit_channel *c, struct dev_ctx *ctx, uint64_t clock)
{
    DEV_SET(ctx, c->count, c->next);
    DEV_SET(ctx, c->start, clock + 1);
    DEV_SET(ctx, c->frozen, 0);
    DEV_SET(ctx, c->reload_at, DEV_NEVER);
}

/* The clock at which a new count takes over in modes 2 and 3: the end of the (half) cycle. */
static uint64_t cycle_end(const struct pit_channel *c, uint64_t clock)
{
    uint64_t n = c->count, e = elapsed(c, clock), cycle = c->start + e / n * n;
    if (c->mode == 3 && e % n < (n + 1) / 2)
        return cycle + (n + 1) / 2;
    return cycle + n;
}

static void load_count(struct pit_channel *c, struct dev_ctx *ctx, uint16_t value, uint64_t clock)
{
    bool first = !c->loaded;
    DEV_SET(ctx, c->next, decode_count(c, value));
    DEV_SET(ctx, c->loaded, 1);
    if (c->mode == 0 || c->mode == 4 || (gate_stops(c) && (first || c->stopped)))
        begin(c, ctx, clock);
    else if (gate_stops(c))
        DEV_SET(ctx, c->reload_at, cycle_end(c, clock));
}

static void write_count(struct pit_channel *c, struct dev_ctx *ctx, uint8_t v, uint64_t clock)
{
    if (c->access == 3 && !c->write_high) {
        DEV_SET(ctx, c->write_low, v);
        DEV_SET(ctx, c->write_high, 1);
        if (c->mode == 0)
            DEV_SET(ctx, c->loaded, 0); /* the first byte stops mode 0 */
        return;
    }
    uint8_t low = c->access == 3 ? c->write_low : 0;
    DEV_SET(ctx, c->write_high, 0);
    load_count(c, ctx, c->access == 1 ? v : (uint16_t)(v << 8 | low), clock);
}

static void set_gate(struct pit_channel *c, struct dev_ctx *ctx, bool gate, uint64_t clock)
{
    if (gate == c->gate)
        return;
    if (!gate && gate_stops(c)) {
        DEV_SET(ctx, c->frozen, elapsed(c, clock));
        DEV_SET(ctx, c->stopped, 1);
    } else if (gate && (c->mode == 0 || c->mode == 4)) {
        DEV_SET(ctx, c->start, clock - c->frozen);
        DEV_SET(ctx, c->stopped, 0);
    } else if (gate) {
        if (c->loaded)
            begin(c, ctx, clock);
        DEV_SET(ctx, c->stopped, 0);
        DEV_SET(ctx, c->triggered, c->loaded);
    }
    DEV_SET(ctx, c->gate, gate);
}

static void latch_count(struct pit_channel *c, struct dev_ctx *ctx, uint64_t clock)
{
    if (c->latched)
        return;
    DEV_SET(ctx, c->latch, current_count(c, clock));
    DEV_SET(ctx, c->latched, c->access == 3 ? 2 : 1);
}

static void latch_status(struct pit_channel *c, struct dev_ctx *ctx, uint64_t clock)
{
    if (c->status_latched)
        return;
    bool null_count = !c->loaded || c->reload_at != DEV_NEVER || (!c->stopped && clock < c->start);
    DEV_SET(ctx, c->status, output(c, clock) << 7 | null_count << 6 | c->access << 4 | c->mode << 1 | c->bcd);
    DEV_SET(ctx, c->status_latched, 1);
}

static void set_mode(struct pit_channel *c, struct dev_ctx *ctx, uint8_t v)
{
    struct pit_channel n = { .reload_at = DEV_NEVER, .count = c->count, .next = c->next, .gate = c->gate };
    n.access = v >> 4 & 3;
    n.mode = v >> 1 & (v & 4 ? 3 : 7); /* modes 6 and 7 are 2 and 3 */
    n.bcd = v & 1;
    n.stopped = !n.gate && gate_stops(&n);
    dev_touch(ctx->undo, c, sizeof(*c));
    *c = n;
}

static void write_command(struct pit *p, struct dev_ctx *ctx, uint8_t v, uint64_t clock)
{
    if (v >> 6 != 3) {
        struct pit_channel *c = &p->channel[v >> 6];
        if (v & 0x30)
            set_mode(c, ctx, v);
        else
            latch_count(c, ctx, clock);
        return;
    }
    for (int i = 0; i < 3; i++) { /* read-back */
        if (!(v & 2 << i))
            continue;
        if (!(v & 0x20))
            latch_count(&p->channel[i], ctx, clock);
        if (!(v & 0x10))
            latch_status(&p->channel[i], ctx, clock);
    }
}

static uint8_t read_count(struct pit_channel *c, struct dev_ctx *ctx, uint64_t clock)
{
    if (c->status_latched) {
        DEV_SET(ctx, c->status_latched, 0);
        return c->status;
    }
    uint16_t v = c->latched ? c->latch : current_count(c, clock);
    bool high = c->access == 2 || (c->access == 3 && c->read_high);
    if (c->latched)
        DEV_SET(ctx, c->latched, c->latched - 1);
    if (c->access == 3)
        DEV_SET(ctx, c->read_high, !c->read_high);
    return (uint8_t)(high ? v >> 8 : v);
}

/* ---- the contract ---- */

void pit_init(struct pit *p, uint64_t hz, uint64_t now)
{
    *p = (struct pit){ .hz = hz, .base = now, .seen = CLOCK_ZERO };
    for (int i = 0; i < 3; i++)
        p->channel[i] = (struct pit_channel){ .reload_at = DEV_NEVER,
                                              .count = 65536,
                                              .next = 65536,
                                              .access = 3,
                                              .mode = 3,
                                              .gate = i != 2,
                                              .stopped = i == 2 };
}

uint32_t pit_in(struct pit *p, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)width;
    uint64_t clock = clock_at(p, ctx->now);
    run(p, ctx, clock);
    if (port == 0x61) {
        uint32_t refresh = clock / REFRESH_CLOCKS & 1 ? P61_REFRESH : 0;
        return p->port61 | refresh | (output(&p->channel[2], clock) ? P61_OUT2 : 0);
    }
    if (port == 0x43)
        return 0xff; /* write-only */
    return read_count(&p->channel[port & 3], ctx, clock);
}

void pit_out(struct pit *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    (void)width;
    uint64_t clock = clock_at(p, ctx->now);
    run(p, ctx, clock);
    if (port == 0x61) {
        DEV_SET(ctx, p->port61, value & P61_KEEPS);
        set_gate(&p->channel[2], ctx, value & P61_GATE2, clock);
        return;
    }
    if (port == 0x43)
        write_command(p, ctx, (uint8_t)value, clock);
    else
        write_count(&p->channel[port & 3], ctx, (uint8_t)value, clock);
    drive(p, ctx, clock);
}

uint64_t pit_next_deadline(const struct pit *p, uint64_t now)
{
    (void)now; /* an edge not yet driven is due, however long ago it was */
    uint64_t next = dev_min(next_rise(&p->channel[0], p->seen), p->channel[0].reload_at);
    return next == DEV_NEVER ? DEV_NEVER : ticks_at(p, next);
}

void pit_expire(struct pit *p, struct dev_ctx *ctx)
{
    run(p, ctx, clock_at(p, ctx->now));
}
