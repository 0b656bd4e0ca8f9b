/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine on the bench: one struct machine, a clock that tests move by hand, and an undo log that can roll
 * back. Every test of a device goes through the ports, as a guest does. */
#ifndef TESTS_HOST_DEV_RIG_H
#define TESTS_HOST_DEV_RIG_H

#include "check.h"
#include "servers/vmm/dev/bus.h"

#define RIG_HZ 1000000000ull /* one tick is a nanosecond */
#define US     1000ull
#define MS     1000000ull

struct rig {
    struct machine m;
    uint64_t now;
};

static inline void rig_init(struct rig *r)
{
    r->now = 5 * RIG_HZ;
    struct machine_config config = {
        .hz = RIG_HZ, .seconds = 1700000000, .memory_bytes = 128 << 20, .tsc_offset = 0 - 4 * RIG_HZ
    };
    CHECK(machine_init(&r->m, &config, r->now));
}

static inline uint8_t in8(struct rig *r, uint16_t port)
{
    return (uint8_t)machine_in(&r->m, NULL, r->now, port, 1);
}

static inline void out8(struct rig *r, uint16_t port, uint8_t v)
{
    machine_out(&r->m, NULL, r->now, port, 1, v);
}

static inline uint32_t mem_in(struct rig *r, uint64_t at)
{
    uint32_t v;
    machine_read(&r->m, NULL, r->now, (gpa_t){ at }, (uint8_t *)&v, sizeof(v));
    return v;
}

static inline void mem_out(struct rig *r, uint64_t at, uint32_t v)
{
    machine_write(&r->m, NULL, r->now, (gpa_t){ at }, (const uint8_t *)&v, sizeof(v));
}

/* Time passes; deadlines are met on the way. Returns how often one was. */
static inline unsigned rig_wait(struct rig *r, uint64_t ticks)
{
    uint64_t until = r->now + ticks;
    unsigned served = 0;
    for (; r->m.deadline <= until; served++) {
        if (r->m.deadline > r->now)
            r->now = r->m.deadline;
        machine_expire(&r->m, NULL, r->now);
        CHECK_LT(served, 1000000);
    }
    r->now = until;
    return served;
}

static inline int rig_ack(struct rig *r)
{
    return machine_intr(&r->m) ? machine_ack(&r->m, NULL, r->now) : -1;
}

/* The pair as Linux sets it up: vectors 30h and 38h, everything open but what mask closes. */
static inline void rig_pic(struct rig *r, uint16_t mask)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } words[] = { { 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 0x04 }, { 0x21, 0x01 },
                  { 0xa0, 0x11 }, { 0xa1, 0x38 }, { 0xa1, 0x02 }, { 0xa1, 0x01 } };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        out8(r, words[i].port, words[i].value);
    out8(r, 0x21, (uint8_t)mask);
    out8(r, 0xa1, (uint8_t)(mask >> 8));
}

#endif
