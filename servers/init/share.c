/* SPDX-License-Identifier: BSD-2-Clause */
/* Long work for a guest's component is done on that component's processor time, so that no neighbour waits
 * longer for it than for the guest itself (tests/system/test_gap.py). While somebody is built who takes over
 * next time, the component's turn is divided: one part for who serves, one for who builds or sets itself up.
 * The latter has a priority of its own, one above the guests', so that a death soon is one again that nobody
 * notices; its budget bounds what it takes of them at a time. A server is built so, too, in short turns above
 * all guests. */
#include "init.h"
#include "turn.h"

static uint64_t tick_us(const struct init *in)
{
    return in->boot->tsc_hz / 1000000;
}

static struct turn whole(const struct init *in, const struct component *c)
{
    return (struct turn){ c->budget_us * tick_us(in), c->d->period_us * tick_us(in) };
}

static void set(struct init *in, const struct component *c, cptr_t sched, struct turn t, unsigned priority)
{
    err_t e = sys_invoke4(sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, t.budget, t.period, priority);
    if (e != ERR_OK)
        fail(in, e, "divide the processor time of %s", c->name);
}

static void divide(struct init *in, struct component *c)
{
    if (!c->divided)
        set(in, c, c->sched, turn_serving(whole(in, c)), c->d->priority);
    c->divided = true;
}

void share_whole(struct init *in, struct component *c)
{
    if (c->divided)
        set(in, c, c->sched, whole(in, c), c->d->priority);
    c->divided = false;
}

/* One above c, or, for a server, above all guests. */
static unsigned building_priority(const struct init *in, const struct component *c)
{
    unsigned below = c->guest ? c->d->priority : 0;

    for (uint32_t i = 0; i < in->desc.header.components && !c->guest; i++)
        if (in->component[i].guest && in->component[i].d->priority > below)
            below = in->component[i].d->priority;
    return below < INIT_PRIORITY ? below + 1 : INIT_PRIORITY;
}

static cptr_t builder(struct init *in, struct component *c)
{
    struct turn t = c->guest ? turn_building(whole(in, c), tick_us(in)) : turn_of_server(tick_us(in));

    if (!c->builder)
        c->builder = objects_new(in, NULL, &in->slots, OBJ_SCHED, 0, 1);
    set(in, c, c->builder, t, building_priority(in, c));
    return c->builder;
}

static struct process *next_of(struct component *c)
{
    return &c->process[c->now == &c->process[0]];
}

static uint64_t consumed(cptr_t sched)
{
    uint64_t used = 0;

    sys_invoke(sched, SCHED_CONSUMED, 0, 0, 0, 0, 0, &used);
    return used;
}

void share_preparing(struct component *c)
{
    struct process *next = next_of(c);

    if (next->state == PROCESS_STARTED)
        c->preparing += consumed(c->guest ? c->builder : next->sched);
}

void background_begin(struct init *in, struct component *c)
{
    struct process *next = next_of(c);

    share_preparing(c);
    if (c->guest)
        divide(in, c);
    if (c->guest && next->state != PROCESS_NONE) /* it may hold that part, dead or not */
        sys_invoke2(next->tcb, TCB_SET_SCHED, next->sched, c->d->priority);
    err_t e = sys_invoke2(SLOT_TCB, TCB_SET_SCHED, builder(in, c), building_priority(in, c));
    if (e != ERR_OK)
        fail(in, e, "work in the background for %s", c->name);
}

void background_end(struct init *in, struct component *c)
{
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, INIT_PRIORITY);
    struct process *next = next_of(c);

    if (!c->guest)
        return;
    if (next->state != PROCESS_STARTED) {
        share_whole(in, c);
        return;
    }
    consumed(c->builder); /* by init */
    sys_invoke2(next->tcb, TCB_SET_SCHED, c->builder, building_priority(in, c));
}
