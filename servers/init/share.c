/* SPDX-License-Identifier: BSD-2-Clause */
/* Long work for a guest's component is done on that component's processor time, so that no neighbour waits
 * longer for it than for the guest itself: while somebody is built who takes over next time, one turn of the
 * component is divided into one of who serves and one of who builds, or sets itself up. Neighbours of the
 * same priority see the two together as the turn that they know (tests/system/test_gap.py). */
#include "init.h"

/* In parts of 64: what remains is for the switches between the two. Building has the greater part, as it does
 * not last, and until it is done a death would be noticed. */
#define SERVES 15u
#define BUILDS 48u

static void set(struct init *in, const struct component *c, cptr_t sched, uint64_t parts)
{
    const struct desc_component *d = c->d;
    uint64_t us = in->boot->tsc_hz / 1000000, budget = d->budget_us * us * parts / 64;
    uint64_t period = d->budget_us == d->period_us ? budget : d->period_us * us;

    err_t e = sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, budget, period, d->priority);
    if (e != ERR_OK)
        fail(in, e, "divide the processor time of %s", c->name);
}

void share_divide(struct init *in, struct component *c)
{
    if (!c->divided)
        set(in, c, c->sched, SERVES);
    c->divided = true;
}

void share_whole(struct init *in, struct component *c)
{
    if (c->divided)
        set(in, c, c->sched, 64);
    c->divided = false;
}

void share_builder(struct init *in, const struct component *c, cptr_t sched)
{
    set(in, c, sched, BUILDS);
}

void background_begin(struct init *in, struct component *c)
{
    if (!in->background)
        in->background = objects_new(in, NULL, &in->slots, OBJ_SCHED, 0, 1);
    share_divide(in, c);
    share_builder(in, c, in->background);
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, in->background, c->d->priority);
    sys_yield();
}

void background_end(struct init *in, struct component *c)
{
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, INIT_PRIORITY);
    if (c->process[0].state != PROCESS_STARTED && c->process[1].state != PROCESS_STARTED)
        share_whole(in, c);
}
