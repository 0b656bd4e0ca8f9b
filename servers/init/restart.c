/* SPDX-License-Identifier: BSD-2-Clause */
/* Another VMM under a living guest: what a dead one leaves goes to one that was built before and waits.
 *
 * Everything of the guest outlives its VMM: vCPU with the pending exit, memory, state segment, console rings,
 * budget. The new incarnation finds them at the same addresses and slots. It begins without shadow tables: a
 * new epoch makes all earlier ones stale (VM_RENEW). Only components with a state segment are restarted. */
#include "init.h"
#include "libc/libc.h"
#include <stdio.h>

#define FAILURES_MAX 3u /* of those that should wait: the program itself is broken */
#define DEATHS_MAX   3u /* on the same exit: the guest would kill every other VMM, too */

static void stop(struct process *p)
{
    if (p->state != PROCESS_NONE)
        sys_invoke0(p->tcb, TCB_SUSPEND);
}

void process_free(struct init *in, struct component *c, struct process *p)
{
    if (p->state == PROCESS_NONE)
        return;
    report_look(in, c, p);
    err_t e = sys_invoke1(SLOT_CNODE, CNODE_REVOKE, p->quota.cap);
    if (e != ERR_OK)
        fail(in, e, "take back the memory of %s", c->name);
    p->quota.used = 0;
    p->state = PROCESS_NONE;
}

/* Counts deaths at the exit that the guest waits in. */
static bool may_go_on(struct init *in, struct component *c)
{
    struct sys_message m = { .tag = TAG(VM_STATUS, 0) };

    if (sys_call(in->group[c->guest->vm].cap, &m) != ERR_OK)
        return false;
    uint64_t exit = m.w[2] + 1;
    c->deaths = exit == c->died_at ? c->deaths + 1 : 1;
    c->died_at = exit;
    return c->deaths < DEATHS_MAX;
}

static err_t give_budget(struct component *c, struct process *from, struct process *to)
{
    err_t e = sys_invoke2(from->tcb, TCB_SET_SCHED, from->sched, c->d->priority);

    return e == ERR_OK ? sys_invoke2(to->tcb, TCB_SET_SCHED, c->sched, c->d->priority) : e;
}

void background_begin(const struct component *c)
{
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, c->d->priority);
    sys_yield();
}

void background_end(void)
{
    sys_invoke2(SLOT_TCB, TCB_SET_SCHED, SLOT_SCHED, INIT_PRIORITY);
}

/* Building is long: it is done at the priority of who is built, in short turns. */
static void replace(struct init *in, struct component *c, struct process *p)
{
    background_begin(c);
    process_free(in, c, p);
    build_process(in, c, p);
    background_end();
}

static struct process *other_than(struct component *c, const struct process *p)
{
    return p == &c->process[0] ? &c->process[1] : &c->process[0];
}

/* Who takes over: the one that waits, or sets itself up to wait. */
static struct process *successor(struct component *c)
{
    struct process *p = other_than(c, c->now);

    return p->state == PROCESS_WAITING || p->state == PROCESS_STARTED ? p : NULL;
}

bool restart(struct init *in, struct component *c)
{
    struct process *old = c->now, *new = successor(c);

    stop(old);
    if (!may_go_on(in, c)) {
        printf("init: %s: every VMM dies at exit %lu\n", c->name, c->died_at);
        return false;
    }
    if (sys_invoke0(in->group[c->guest->vm].cap, VM_RENEW) != ERR_OK)
        return false;
    c->restarts++;
    if (new) {
        old->state = PROCESS_GONE;
        if (give_budget(c, old, new) != ERR_OK)
            return false;
        c->now = new;
        if (new->state == PROCESS_WAITING)
            start_process(in, new);
        return true;
    }
    replace(in, c, old); /* nobody waits: in the same place */
    return true;
}

void restart_waiting(struct process *p)
{
    stop(p);
    p->state = PROCESS_WAITING;
}

void restart_prepare(struct init *in, struct component *c)
{
    struct process *other = other_than(c, c->now);

    if (c->restartable && !c->ended && c->now->state == PROCESS_READY && !successor(c) &&
        c->failures < FAILURES_MAX && build_possible(in, c, other))
        replace(in, c, other);
}
