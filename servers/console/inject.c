/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject.h. */
#include "servers/console/inject.h"

#if UMBRA_DEBUG
#include "servers/console/flow.h"
#include "sys/sys.h"
#include <stdlib.h>

#define NOWHERE    ((void *)8)
#define BYTE_STEPS 6u /* that flow_typed makes with a byte */

static struct {
    enum inject_way way;
    uint64_t steps;  /* that are still made; 0: no plan, or it is due */
    uint32_t within; /* of INJECT_TYPED: the step of a byte, from 1 on */
    bool due;
} plan;

void inject_open(const struct console_config *c, uint32_t incarnation)
{
    unsigned ways = 0;

    if (c->inject_count && incarnation >= c->inject_count)
        return;
    for (uint32_t n = c->inject; n; n >>= 4)
        ways++;
    if (!ways)
        return;
    plan.way = (enum inject_way)(c->inject >> incarnation % ways * 4 & 15);
    plan.steps = c->inject_at + (uint64_t)incarnation * c->inject_every;
    plan.within = 1 + incarnation / ways % BYTE_STEPS;
}

static void die(enum inject_way way)
{
    switch (way) {
    case INJECT_CRASH:
        __asm__ volatile("movq $0, 8");
        break;
    case INJECT_EXIT:
        exit(3);
    case INJECT_CAPABILITY:
        if (sys_invoke1(CAP_NOTIFICATION, VCPU_SYNC, ~0ull) != ERR_OK)
            abort();
        break;
    case INJECT_LOOP:
        for (;;)
            __asm__ volatile("");
    case INJECT_STAND:
        sys_invoke0(CAP_TCB, TCB_SUSPEND);
        break;
    default:
        plan.due = true;
    }
}

/* Which step this is of a byte that was read; 0: there is none. */
static uint32_t step_of_byte(void)
{
    const struct console_state *s = (const struct console_state *)STATE_ADDRESS;
    static uint32_t step;

    if (s->typed.decided)
        step++;
    else
        step = s->received != NOTHING_RECEIVED;
    return step;
}

void flow_step(void)
{
    __asm__ volatile("" ::: "memory");
    if (step_of_byte() == plan.within && plan.due && plan.way == INJECT_TYPED)
        die(INJECT_CRASH);
    if (plan.steps && --plan.steps == 0)
        die(plan.way);
}

void *inject_put(void *to)
{
    return plan.due && plan.way == INJECT_PUT ? NOWHERE : to;
}

void *inject_get(void *to)
{
    return plan.due && plan.way == INJECT_GET ? NOWHERE : to;
}
#endif
