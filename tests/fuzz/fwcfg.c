/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: firmware configuration. Beside device.h's oracles: each byte read is the one of the item that
 * was chosen, zeros behind its end, by a model of its own. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

static uint16_t item;
static unsigned next;

static void begin(void)
{
    item = 0;
    next = 0;
}

static uint8_t expected(const struct machine *m)
{
    static const uint8_t name[4] = { 'Q', 'E', 'M', 'U' };

    switch (item) {
    case 0:
        return next < 4 ? name[next] : 0;
    case 1:
        return next == 0;
    case 3:
        return next < 8 ? (uint8_t)(m->fwcfg.memory_bytes >> 8 * next) : 0;
    default:
        return (item == 5 || item == 15) && next == 0;
    }
}

static void told(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value)
{
    if (write && port == 0x510 && width == 2) {
        item = (uint16_t)(value & ~0x4000u);
        next = 0;
    } else if (!write && width == 1 && (port == 0x510 || port == 0x511)) {
        CHECK_EQ(value, expected(m));
        next += next < 8;
    } else { /* a wide access, some of whose bytes may have gone here */
        next = m->fwcfg.offset;
    }
}

static void check(const struct machine *m, uint64_t now)
{
    (void)now;
    CHECK_EQ(m->fwcfg.selector, item);
    CHECK_LE(m->fwcfg.offset, 8);
}

static const uint16_t ports[] = { 0x510, 0x511 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 2, .told = told, .check = check, .begin = begin
};
