/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject.h. */
#include "servers/memmgr/inject.h"

#if UMBRA_DEBUG
#include "sys/sys.h"
#include <stdio.h>

static uint64_t steps; /* that are still made; 0: no plan */
static enum inject_way way;

void inject_open(const struct memmgr_config *c, uint32_t incarnation)
{
    if (c->inject_at && (!c->inject_count || incarnation < c->inject_count))
        steps = c->inject_at + (uint64_t)incarnation * c->inject_every;
    way = (enum inject_way)c->inject;
}

static void die(void)
{
    if (way == INJECT_LOOP)
        for (;;)
            __asm__ volatile("");
    if (way == INJECT_STAND) {
        printf("memmgr: stands still\n");
        fflush(stdout);
        sys_invoke0(CAP_TCB, TCB_SUSPEND);
    }
    __asm__ volatile("movq $0, 8");
}

void inject_step(void)
{
    if (steps && --steps == 0)
        die();
}
#endif
