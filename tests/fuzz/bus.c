/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the machine as a whole, with the keyboard controller, reset, power off and debug exit. Beside
 * device.h's oracles: what the guest asked of the machine first stays; accesses to nothing are counted, each
 * port once. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

static uint32_t asked;

static void begin(void)
{
    asked = DEV_REQUEST_NONE;
}

static void check(const struct machine *m, uint64_t now)
{
    (void)now;
    CHECK_LT(m->lines.request, DEV_REQUESTS);
    if (asked != DEV_REQUEST_NONE)
        CHECK_EQ(m->lines.request, asked);
    asked = m->lines.request;
    CHECK_LE(m->absent_used, ABSENT_PORTS);
    for (uint32_t i = 0; i < m->absent_used; i++)
        for (uint32_t k = 0; k < i; k++)
            CHECK_NE(m->absent[i].port, m->absent[k].port);
    CHECK_EQ(m->lines.level >> 16, 0);
}

static const uint16_t ports[] = { 0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,   0x43,  0x60,
                                  0x61,  0x64,  0x70,  0x71,  0x80,  0x92,  0xed,   0xf4,  0x3f8,
                                  0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff,  0x4d0, 0x4d1,
                                  0x510, 0x511, 0x604, 0xcf8, 0xcf9, 0xcfc, 0x8900, 0x1f0, 0xffff };
const struct fuzz_device fuzz_device = { .port = ports, .ports = 36, .check = check, .begin = begin };
