/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the three counters and port 61h. Beside device.h's oracles: counts, modes and latches stay in
 * their ranges; port 61h keeps its four bits. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

static uint8_t speaker;

static void begin(void)
{
    speaker = 0;
}

static void told(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value)
{
    (void)m;
    for (unsigned i = 0; i < width; i++) {
        if (port + i != 0x61)
            continue;
        if (write)
            speaker = value >> 8 * i & 15;
        else
            CHECK_EQ(value >> 8 * i & 15, speaker);
    }
}

static void check(const struct machine *m, uint64_t now)
{
    (void)now;
    for (unsigned i = 0; i < 3; i++) {
        const struct pit_channel *c = &m->pit.channel[i];
        CHECK(c->count >= 1 && c->count <= 0x10000 && c->next >= 1 && c->next <= 0x10000);
        CHECK(c->mode <= 5 && c->bcd <= 1 && c->access >= 1 && c->access <= 3 && c->latched <= 2);
    }
}

static const uint16_t ports[] = { 0x40, 0x41, 0x42, 0x43, 0x43, 0x61, 0x40, 0x43 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 8, .told = told, .check = check, .begin = begin
};
