/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject.h. */
#include "servers/memmgr/inject.h"

#if UMBRA_DEBUG
static uint64_t steps; /* that are still made; 0: no plan */

void inject_open(const struct memmgr_config *c, uint32_t incarnation)
{
    if (c->inject_at && (!c->inject_count || incarnation < c->inject_count))
        steps = c->inject_at + (uint64_t)incarnation * c->inject_every;
}

void inject_step(void)
{
    if (steps && --steps == 0)
        __asm__ volatile("movq $0, 8");
}
#endif
