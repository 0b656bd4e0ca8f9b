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

void queue_push(struct thread_queue *q, struct tcb *t)
{
    t->next = NULL;
    t->prev = q->tail;
    if (q->tail)
        q->tail->next = t;
    else
        q->head = t;
    q->tail = t;
}

void queue_remove(struct thread_queue *q, struct tcb *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        q->head = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        q->tail = t->prev;
    t->next = t->prev = NULL;
}

static void ready_remove(struct tcb *t)
{
    if (!t->queued)
        return;
    struct thread_queue *q = &cpu.ready[t->priority];
    queue_remove(q, t);
    if (!q->head)
        cpu.ready_bits[t->priority / 64] &= ~BIT(t->priority % 64);
    t->queued = 0;
}

static bool may_run(const struct tcb *t)
{
    return (t->state == THREAD_READY || t->state == THREAD_GUEST) && t->sc && t->sc->remaining;
}

static void queue_first(struct thread_queue *q, struct tcb *t)
{
    t->prev = NULL;
    t->next = q->head;
    if (q->head)
        q->head->prev = t;
    else
        q->tail = t;
    q->head = t;
}

static void ready_insert_at(struct tcb *t, void (*insert)(struct thread_queue *q, struct tcb *t))
{
    if (t->queued || t == cpu.current || !may_run(t))
        return;
    insert(&cpu.ready[t->priority], t);
    cpu.ready_bits[t->priority / 64] |= BIT(t->priority % 64);
    t->queued = 1;
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

static bool is_full(const struct sched *s)
{
    return s->budget == s->period;
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
        if (is_full(t->sc))
            charge_turn(t->sc, used);
        else
            charge(t->sc, used, now);
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

static int highest_ready(void)
{
    for (int w = PRIORITIES / 64 - 1; w >= 0; w--)
        if (cpu.ready_bits[w])
            return w * 64 + 63 - __builtin_clzll(cpu.ready_bits[w]);
    return -1;
}

static void arm_timer(const struct tcb *t)
{
    uint64_t when = cpu.deadlines ? cpu.deadlines->when : UINT64_MAX;

    if (t && (!is_full(t->sc) || sched_has_peer(t)) && cpu.slice_start + t->sc->remaining < when)
        when = cpu.slice_start + t->sc->remaining;
    /* Armed too early is harmless: it fires, and is armed again. */
    if (when != UINT64_MAX && (!cpu.timer_armed || when < cpu.timer_armed)) {
        cpu.timer_armed = when;
        arch_timer_set(when);
    }
}

struct tcb *sched_choose(void)
{
    struct tcb *t = cpu.current;

    if (t && cpu.reschedule) {
        sched_account();
        if (!may_run(t)) {
            cpu.current = t = NULL;
        } else if (highest_ready() > t->priority || (cpu.turn_over && sched_has_peer(t))) {
            cpu.current = NULL;
            ready_insert_at(t, cpu.turn_over ? queue_push : queue_first);
            t = NULL;
        }
    }
    cpu.reschedule = cpu.turn_over = false;
    if (!t) {
        int p = highest_ready();
        if (p >= 0) {
            t = cpu.ready[p].head;
            ready_remove(t);
            cpu.slice_start = arch_now();
        }
        cpu.current = t;
    }
    arm_timer(t);
    return t;
}
