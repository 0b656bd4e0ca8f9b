/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the I/O APIC, with the local one behind it. Beside device.h's oracles: what cannot be written
 * is not there; Remote IRR only where the trigger is a level; the inputs that are watched are those that ask
 * by a level. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

static void check(const struct machine *m, uint64_t now)
{
    const struct ioapic *a = &m->ioapic;
    uint32_t watched = 0;

    (void)now;
    for (unsigned i = 0; i < IOAPIC_INPUTS; i++) {
        uint64_t e = a->entry[i];
        CHECK_EQ(e & ~(0xff0000000001afffull | BIT(14)), 0);
        CHECK(!(e & BIT(14)) || e & BIT(15));
        watched |= (e & BIT(15) && !(e & BIT(16)) ? 1u : 0) << i;
    }
    CHECK_EQ(a->watched, watched);
    CHECK_EQ(a->id & ~0x0f000000u, 0);
    CHECK_EQ(a->level >> IOAPIC_INPUTS, 0);
}

static const uint16_t ports[] = { 0x43, 0x40 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 2, .memory = IOAPIC_BASE, .memory_mask = 0x10, .check = check
};
