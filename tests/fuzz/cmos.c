/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: clock and memory bytes. Beside device.h's oracles: a memory byte reads as it was written;
 * register D says that the battery is well; an interrupt flag shows in C only with its cause. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

#include <string.h>

static uint8_t chosen, byte[128];
static bool written[128];

static void begin(void)
{
    chosen = 0;
    memset(written, 0, sizeof(written));
}

static void told_data(bool write, uint8_t v)
{
    bool memory = chosen > 0x0d && chosen != 0x32;

    if (memory && write) {
        byte[chosen] = v;
        written[chosen] = true;
    } else if (memory && written[chosen]) {
        CHECK_EQ(v, byte[chosen]);
    } else if (chosen == 0x0d && !write) {
        CHECK_EQ(v, 0x80);
    } else if (chosen == 0x0c && !write) {
        CHECK(v & 0x80 ? v & 0x70 : true);
    }
}

static void told(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value)
{
    (void)m;
    for (unsigned i = 0; i < width; i++) {
        uint8_t v = (uint8_t)(value >> 8 * i);
        if (port + i == 0x70 && write)
            chosen = v & 0x7f;
        if (port + i == 0x71)
            told_data(write, v);
    }
}

static void check(const struct machine *m, uint64_t now)
{
    const struct cmos *c = &m->cmos;

    CHECK_EQ(c->index, chosen);
    CHECK(c->second_zero <= now || c->second_zero == DEV_NEVER);
}

static const uint16_t ports[] = { 0x70, 0x71, 0x71, 0x71 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 4, .told = told, .check = check, .begin = begin
};
