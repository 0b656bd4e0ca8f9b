/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the local APIC. Beside device.h's oracles: IRR and ISR hold no vector below 16; what is
 * offered is the highest request, and its class is above that of TPR and of all that is served, by a
 * computation of its own; a disabled APIC offers nothing and has its entries masked. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

static int highest(const uint32_t *set)
{
    for (int v = 255; v >= 0; v--)
        if (set[v / 32] >> v % 32 & 1)
            return v;
    return -1;
}

static void check(const struct machine *m, uint64_t now)
{
    const struct lapic *l = &m->lapic;
    int request = highest(l->irr), served = highest(l->isr), offered = lapic_pending(l);
    bool software = l->svr & BIT(8), enabled = l->base & BIT(11);
    int class = (int)(l->tpr >> 4 & 15) > served / 16 || served < 0 ? (int)(l->tpr >> 4 & 15) : served / 16;

    (void)now;
    CHECK_EQ((l->irr[0] | l->isr[0]) & 0xffff, 0);
    CHECK_EQ(offered, enabled && software && request >= 0 && request / 16 > class ? request : -1);
    for (unsigned i = 0; !software && i < LVTS; i++)
        CHECK(l->lvt[i] & BIT(16));
    CHECK_EQ(l->base & ~(BIT(8) | BIT(11)), LAPIC_BASE);
    CHECK(!l->running || l->initial);
    CHECK_EQ(l->tpr & ~0xffu, 0);
}

static const uint16_t ports[] = { 0x20, 0x21 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 2, .memory = LAPIC_BASE, .memory_mask = 0xff0, .check = check
};
