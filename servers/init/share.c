/* SPDX-License-Identifier: BSD-2-Clause */
/* Long work for a guest's component is done on that component's processor time, so that no neighbour waits
 * longer for it than for the guest itself (tests/system/test_gap.py). While somebody is built who takes over
 * next time, the component's turn is divided: one part for who serves, one for who builds or sets itself up.
 * The latter has a priority of its own, one above the guests', so that a death soon is one again that nobody
 * notices; its budget bounds what it takes of them at a time. A server is built in short turns beside the
 * guests. */
#include "init.h"

/* In parts of 64: what remains is for the switches between the two. */
#define SERVES      15u
#define BUILDS      48u
#define PRIORITY(c) ((c)->d->priority < INIT_PRIORITY ? (c)->d->priority + 1u : INIT_PRIORITY)
#define TURN_US     100u /* chosen: guests hardly notice */

static uint64_t ticks(const struct init *in, uint64_t us, uint64_t parts)
{
    return us * (in->boot->tsc_hz / 1000000) * parts / 64;
}

static void set(struct init *in, const struct component *c, cptr_t sched, uint64_t budget, uint64_t period,
                unsigned priority)
{
    err_t e = sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, budget, period, priority);
    if (e != ERR_OK)
        fail(in, e, "divide the processor time of %s", c->name);
}

/* A full budget's parts are turns; another one's are of the same period. */
static void set_serving(struct init *in, const struct component *c, uint64_t parts)
{
    const struct desc_component *d = c->d;
    uint64_t budget = ticks(in, c->budget_us, parts);

    set(in, c, c->sched, budget, c->budget_us == d->period_us ? budget : ticks(in, d->period_us, 64),
        d->priority);
}

static void divide(struct init *in, struct component *c)
{
    if (!c->divided)
        set_serving(in, c, SERVES);
    c->divided = true;
}

void share_whole(struct init *in, struct component *c)
{
    if (c->divided)
        set_serving(in, c, 64);
    c->divided = false;
}

static unsigned lowest_priority(const struct init *in)
{
    unsigned lowest = INIT_PRIORITY;

    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].guest && in->component[i].d->priority < lowest)
            lowest = in->component[i].d->priority;
    return lowest;
}

/* In every second period at most, as the guests' turns follow each other. */
static cptr_t builder(struct init *in, struct component *c)
{
    if (!c->builder)
        c->builder = objects_new(in, NULL, &in->slots, OBJ_SCHED, 0, 1);
    if (c->guest)
        set(in, c, c->builder, ticks(in, c->budget_us, BUILDS), 2 * ticks(in, c->d->period_us, 64),
            PRIORITY(c));
    else
        set(in, c, c->builder, ticks(in, TURN_US, 64), ticks(in, TURN_US, 64), lowest_priority(in));
    return c->builder;
}

static struct process *next_of(struct component *c)
{
    return &c->process[c->now == &c->process[0]];
}

void background_begin(struct init *in, struct component *c)
{
    struct process *next = next_of(c);

    if (c->guest)
        divide(in, c);
    if (c->guest && next->state != PROCESS_NONE) /* it may hold that part, dead or not */
        sys_invoke2(next->tcb, TCB_SET_SCHED, next->sched, c->d->priority);
    err_t e =
        sys_invoke2(SLOT_TCB, TCB_SET_SCHED, builder(in, c), c->guest ? PRIORITY(c) : lowest_priority(in));
    if (e != ERR_OK)
        fail(in, e, "work in the background for %s", c->name);
}

void background_end(struct init *in, struct component *c)
{
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, INIT_PRIORITY);
    struct process *next = next_of(c);

    if (!c->guest)
        return;
    if (next->state != PROCESS_STARTED)
        share_whole(in, c);
    else
        sys_invoke2(next->tcb, TCB_SET_SCHED, c->builder, PRIORITY(c));
}
