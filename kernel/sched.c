/* SPDX-License-Identifier: BSD-2-Clause */
/* The scheduler: 256 fixed priorities, first in first out within one; budgets per period. A budget that is
 * its whole period never ends; its thread goes behind the others of its priority then. Who only gives way to
 * a higher priority is the first of its own again.
 *
 * Invariants: a thread is in a ready queue exactly if it is READY or GUEST, has a scheduling context with
 * budget left and is not cpu.current. Who has no budget waits for its context's refill. Threads without a
 * context never run. */
#include "cpu.h"
#include "ipc.h"
#include "log.h"

static unsigned highest_ready(void)
{
    for (int w = PRIORITIES / 64 - 1; w >= 0; w--)
        if (cpu.ready_bits[w])
            return w * 64 + 64 - __builtin_clzll(cpu.ready_bits[w]);
    return 0;
}

static void ready_remove(struct tcb *t)
{
    if (!t->queued)
        return;
    struct thread_queue *q = &cpu.ready[t->priority];
    queue_remove(q, t);
    t->queued = 0;
    if (q->head)
        return;
    cpu.ready_bits[t->priority / 64] &= ~BIT(t->priority % 64);
    cpu.highest = highest_ready();
}

static bool may_run(const struct tcb *t)
{
    return (t->state == THREAD_READY || t->state == THREAD_GUEST) && t->sc && t->sc->remaining;
}

static void ready_insert_at(struct tcb *t, void (*insert)(struct thread_queue *q, struct tcb *t))
{
    if (t->queued || t == cpu.current || !may_run(t))
        return;
    insert(&cpu.ready[t->priority], t);
    cpu.ready_bits[t->priority / 64] |= BIT(t->priority % 64);
    t->queued = 1;
    if (t->priority >= cpu.highest)
        cpu.highest = t->priority + 1;
    if (cpu.current && t->priority >= cpu.current->priority)
        cpu.reschedule = true; /* of the same priority: the end of the turn needs the timer */
}

static void ready_insert(struct tcb *t)
{
    ready_insert_at(t, queue_push);
}

void thread_ready(struct tcb *t)
{
    if (t->state != THREAD_GUEST)
        t->state = THREAD_READY;
    ready_insert(t);
}

void thread_block(struct tcb *t, unsigned state)
{
    t->state = state;
    if (t == cpu.current) {
        sched_account();
        cpu.current = NULL;
    }
}

void thread_stop(struct tcb *t)
{
    ready_remove(t);
    if (t == cpu.current) {
        sched_account();
        cpu.current = NULL;
    }
    ipc_cancel(t);
    t->state = THREAD_INACTIVE;
}

void thread_priority(struct tcb *t, unsigned priority)
{
    ready_remove(t);
    t->priority = priority;
    ready_insert(t);
    cpu.reschedule = true;
}

void thread_requeue(struct tcb *t)
{
    if (t == cpu.current && !may_run(t)) {
        sched_account();
        cpu.current = NULL;
    }
    if (!may_run(t))
        ready_remove(t);
    else
        ready_insert(t);
}

/* Charge what was used up to now. Periods follow each other without a gap; of a slice that began in an
 * earlier one only the part in the present one counts. What was used too much, because the timer came late,
 * is paid in the next. */
static void charge(struct sched *s, uint64_t used, uint64_t now)
{
    uint64_t elapsed = now - s->period_start;

    if (elapsed >= s->period) {
        s->period_start = now - elapsed % s->period;
        s->remaining = s->budget;
        if (used > now - s->period_start)
            used = now - s->period_start;
        used += s->overrun;
        s->overrun = 0;
        deadline_remove(&s->refill);
    }
    if (used < s->remaining) {
        s->remaining -= used;
        return;
    }
    s->overrun += used - s->remaining;
    s->remaining = 0;
    deadline_insert(&s->refill, s->period_start + s->period);
}

void sched_refilled(struct sched *s)
{
    uint64_t skip = s->overrun / s->budget;

    s->overrun %= s->budget;
    if (skip) {
        deadline_insert(&s->refill, s->refill.when + skip * s->period);
        return;
    }
    s->period_start = s->refill.when;
    s->remaining = s->budget - s->overrun;
    s->overrun = 0;
    if (s->tcb)
        ready_insert(s->tcb);
}

static void charge_turn(struct sched *s, uint64_t used)
{
    if (used < s->remaining) {
        s->remaining -= used;
        return;
    }
    s->remaining = s->budget;
    cpu.turn_over = true;
}

void sched_account(void)
{
    struct tcb *t = cpu.current;
    uint64_t now = arch_now();

    if (t && t->sc) {
        uint64_t used = now - cpu.slice_start;
        t->sc->consumed += used;
        if (sched_is_full(t->sc))
            charge_turn(t->sc, used);
        else
            charge(t->sc, used, now);
        cpu.slice_end = sched_slice_end(t->sc, now);
    }
    cpu.slice_start = now;
}

void sched_yield(void)
{
    struct tcb *t = cpu.current;

    sched_account();
    cpu.current = NULL;
    ready_insert(t);
}

static void arm_timer(const struct tcb *t)
{
    uint64_t when = cpu.deadlines ? cpu.deadlines->when : UINT64_MAX;

    if (t && (!sched_is_full(t->sc) || sched_has_peer(t)) && cpu.slice_start + t->sc->remaining < when)
        when = cpu.slice_start + t->sc->remaining;
    /* Armed too early is harmless: it fires, and is armed again. */
    if (when != UINT64_MAX && (!cpu.timer_armed || when < cpu.timer_armed)) {
        cpu.timer_armed = when;
        arch_timer_set(when);
    }
}

/* Who is next: the partner of the thread that has blocked, if nobody is more urgent and the turn is not over.
 */
static struct tcb *take_next(void)
{
    struct tcb *t = cpu.partner;

    if (!cpu.highest)
        return NULL;
    if (!t || !t->queued || t->priority + 1 != cpu.highest || cpu.turn_over)
        t = cpu.ready[cpu.highest - 1].head;
    ready_remove(t);
    cpu.slice_start = arch_now();
    cpu.slice_end = sched_slice_end(t->sc, cpu.slice_start);
    return t;
}

struct tcb *sched_choose(void)
{
    struct tcb *t = cpu.current;

    if (t && cpu.reschedule) {
        sched_account();
        if (!may_run(t)) {
            cpu.current = t = NULL;
        } else if (cpu.highest > t->priority + 1u || (cpu.turn_over && sched_has_peer(t))) {
            cpu.current = NULL;
            ready_insert_at(t, cpu.turn_over ? queue_push : queue_first);
            t = NULL;
        }
    }
    if (!t)
        cpu.current = t = take_next();
    cpu.reschedule = cpu.turn_over = false;
    cpu.partner = NULL;
    arm_timer(t);
    return t;
}
