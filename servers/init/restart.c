/* SPDX-License-Identifier: BSD-2-Clause */
/* Another VMM under a living guest: what a dead one leaves goes to one that was built before and waits.
 *
 * Everything of the guest outlives its VMM: vCPU with the pending exit, memory, state segment, console rings,
 * budget. The new incarnation finds them at the same addresses and slots. It begins without shadow tables: a
 * new epoch makes all earlier ones stale (VM_RENEW). Only components with a state segment are restarted; of a
 * server, too, one that waits takes over, with the same capabilities, notification and rings. One with an
 * endpoint is built in the dead one's place, in its CNode: clients wait meanwhile. */
#include "init.h"
#include "component/component.h"
#include "libc/libc.h"
#include "servers/init/report.h"
#include <stdio.h>
#include <umbra/vcpu.h>

#define FAILURES_MAX 3u /* of those that should wait: the program itself is broken */
#define DEATHS_MAX   3u /* on the same exit, or before a server has done anything: the next would die, too */

static void stop(struct process *p)
{
    if (p->state != PROCESS_NONE)
        sys_invoke0(p->tcb, TCB_SUSPEND);
}

uint64_t restart_answered(struct init *in, const struct component *c)
{
    struct sys_message m = { .tag = TAG(VM_STATUS, 0) };

    return sys_call(in->group[c->guest->vm].cap, &m) == ERR_OK ? m.w[2] : 0;
}

/* Nothing of the guest runs from now on. A stop that nobody has made good yet counts from its beginning. */
static void stop_guest(struct init *in, struct component *c)
{
    uint64_t exit = restart_answered(in, c);

    stop(c->now);
    if (!c->stopped_at || c->stopped_exit != exit)
        c->stopped_at = libc_tsc();
    c->stopped_exit = exit;
}

void process_free(struct init *in, struct component *c, struct process *p)
{
    if (p->state == PROCESS_NONE)
        return;
    report_look(in, c, p);
    in->graph_due = in->graph;
    err_t e = sys_invoke1(SLOT_CNODE, CNODE_REVOKE, p->quota.cap);
    if (e != ERR_OK)
        fail(in, e, "take back the memory of %s", c->name);
    p->quota.used = 0;
    p->state = PROCESS_NONE;
}

/* Counts deaths at the exit that the guest waits in. */
static bool may_go_on(struct init *in, struct component *c)
{
    uint64_t exit = restart_answered(in, c) + 1;

    c->deaths = exit == c->died_at ? c->deaths + 1 : 1;
    c->died_at = exit;
    c->died_in = c->exit->kind < EXIT_KINDS ? c->exit->kind : 0;
    return c->deaths < DEATHS_MAX;
}

static err_t give_budget(struct component *c, struct process *from, struct process *to)
{
    err_t e = sys_invoke2(from->tcb, TCB_SET_SCHED, from->sched, c->d->priority);

    return e == ERR_OK ? sys_invoke2(to->tcb, TCB_SET_SCHED, c->sched, c->d->priority) : e;
}

static void replace(struct init *in, struct component *c, struct process *p)
{
    background_begin(in, c);
    process_free(in, c, p);
    build_process(in, c, p);
    background_end(in, c);
}

void restart_again(struct init *in, struct component *c)
{
    background_begin(in, c);
    build_again(in, c);
    background_end(in, c);
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

#define LATER_US 1000u /* chosen: some ten exits, and what fills the shadow tables again */

/* A guest that is served again has the processor for itself at first. */
static void later(struct init *in, struct component *c)
{
    c->later = libc_tsc() + in->boot->tsc_hz / 1000000 * LATER_US;
    sys_invoke1(in->later_timer, TIMER_SET, c->later);
}

void restart_serves(struct init *in, struct component *c, struct process *p)
{
    p->state = PROCESS_READY;
    c->began_at = c->guest ? restart_answered(in, c) : 0;
}

/* Its call is answered. */
static void take_over(struct init *in, struct component *c, struct process *p)
{
    struct umbra_message m = { .tag = TAG(ERR_OK, 0) };

    restart_serves(in, c, p);
    c->taken_over = true;
    c->spent = 0;
    component_answer(p->reply, &m);
}

static bool hand_over(struct init *in, struct component *c)
{
    if (c->upgrading)
        upgrade_refused(in, c, "the old program's VMM went while the new one was built");
    struct process *old = c->now, *new = successor(c);

    if (sys_invoke0(in->group[c->guest->vm].cap, VM_RENEW) != ERR_OK)
        return false;
    c->restarts++;
    in->graph_due = in->graph;
    later(in, c);
    if (new) {
        old->state = PROCESS_GONE;
        if (give_budget(c, old, new) != ERR_OK)
            return false;
        c->now = new;
        new->info->stopped_at = c->stopped_at;
        if (new->state == PROCESS_WAITING)
            take_over(in, c, new);
        return true;
    }
    replace(in, c, old); /* nobody waits: in the same place */
    return true;
}

/* --- servers --- */

static const struct desc_notify *events_of(const struct init *in, const struct component *c)
{
    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r))
        if (r->op == DESC_OP_NOTIFY && r->component == c->d->head.component)
            return (const void *)r;
    return NULL;
}

static err_t give_events(const struct init *in, const struct component *c, struct process *from,
                         struct process *to)
{
    const struct desc_notify *r = events_of(in, c);

    if (!r)
        return ERR_OK;
    err_t e = sys_invoke1(from->tcb, TCB_BIND_NOTIFICATION, 0);
    return e == ERR_OK ? sys_invoke1(to->tcb, TCB_BIND_NOTIFICATION, in->group[r->notification].cap) : e;
}

/* The next one learns where this one stood: what it did last may be done and not be written down. */
static void keep_registers(struct component *c, const struct process *p)
{
    struct report_regs r = { 0 };

    report_regs(p, &r);
    c->left_rip = r.rip;
    c->left_rdx = r.rdx;
}

static bool restart_server(struct init *in, struct component *c)
{
    struct process *old = c->now, *new = successor(c);
    uint64_t done = c->done ? *c->done : 0;

    stop(old);
    c->deaths = done == c->died_at ? c->deaths + 1 : 1;
    c->died_at = done;
    if (c->deaths == DEATHS_MAX) {
        printf("init: %s: every incarnation dies before it has done anything\n", c->name);
        return false;
    }
    keep_registers(c, old);
    c->restarts++;
    if (!new) {
        replace(in, c, old);
        return true;
    }
    old->state = PROCESS_GONE;
    if (give_events(in, c, old, new) != ERR_OK || give_budget(c, old, new) != ERR_OK)
        return false;
    c->now = new;
    new->info->left.rip = c->left_rip;
    new->info->left.rdx = c->left_rdx;
    if (new->state == PROCESS_WAITING)
        take_over(in, c, new);
    return true;
}

bool restart(struct init *in, struct component *c)
{
    if (!c->guest)
        return restart_server(in, c);
    stop_guest(in, c);
    upgrade_gives_way(in, c, c->stopped_exit, "died");
    if (!may_go_on(in, c)) {
        printf("init: %s: every VMM dies at exit %lu\n", c->name, c->died_at);
        return false;
    }
    return hand_over(in, c);
}

void restart_pause(struct init *in, struct component *c)
{
    stop_guest(in, c);
}

static void signal_guest(struct init *in, struct component *c, cptr_t *place, uint64_t event)
{
    if (!*place) {
        *place = slot_new(in, &in->slots);
        err_t e = sys_invoke4(SLOT_CNODE, CNODE_MINT, *place, in->group[c->guest->notification].cap,
                              RIGHT_WRITE, event);
        if (e != ERR_OK)
            fail(in, e, "signal the guest of %s", c->name);
    }
    sys_signal(*place);
}

void restart_ping(struct init *in, struct component *c)
{
    const struct desc_notify *r = c->ping ? NULL : events_of(in, c);

    if (r) {
        c->ping = slot_new(in, &in->slots);
        err_t e = sys_invoke4(SLOT_CNODE, CNODE_MINT, c->ping, in->group[r->notification].cap, RIGHT_WRITE,
                              DESC_EVENT_LOOK);
        if (e != ERR_OK)
            fail(in, e, "signal %s", c->name);
    }
    if (c->ping)
        sys_signal(c->ping);
}

void restart_ping_servers(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].done && !in->component[i].ended)
            restart_ping(in, &in->component[i]);
}

void restart_hang(struct init *in, struct component *c)
{
    signal_guest(in, c, &c->hang, DESC_EVENT_HANG);
}

void restart_audit(struct init *in, struct component *c)
{
    signal_guest(in, c, &c->audit_event, DESC_EVENT_AUDIT);
}

bool restart_planned(struct init *in, struct component *c)
{
    stop_guest(in, c);
    upgrade_gives_way(in, c, c->stopped_exit, "was replaced");
    c->died_at = c->stopped_exit + 1;
    c->deaths = 0;
    if (!hand_over(in, c))
        return false;
    /* a guest that waits in HLT would not be heard of before its next event, and its clocks stand still till
     * then
     */
    signal_guest(in, c, &c->look, DESC_EVENT_LOOK);
    return true;
}

void restart_other(struct init *in, struct component *c)
{
    replace(in, c, other_than(c, c->now));
}

void restart_waiting(struct init *in, struct component *c, struct process *p)
{
    cptr_t held = in->reply;

    in->reply = p->reply ? p->reply : objects_new(in, NULL, &in->slots, OBJ_REPLY, 0, 1);
    p->reply = held;
    p->state = PROCESS_WAITING;
    sys_invoke2(p->tcb, TCB_SET_SCHED, p->sched, c->d->priority);
    share_whole(in, c);
}

void restart_afterwards(struct init *in, struct component *c)
{
    struct process *other = other_than(c, c->now);
    bool says = c->now->state != PROCESS_STARTED && (c->taken_over || (c->report && c->report->due));
    bool builds = c->restartable && !c->cnode && !c->ended && c->now->state == PROCESS_READY &&
                  !successor(c) && c->failures < FAILURES_MAX && build_possible(in, c, other);

    if ((!says && !builds) || libc_tsc() < c->later)
        return;
    background_begin(in, c);
    if (says)
        report_say(in, c);
    if (builds) {
        process_free(in, c, other);
        build_process(in, c, other);
    }
    background_end(in, c);
}
