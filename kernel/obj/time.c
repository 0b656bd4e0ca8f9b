/* SPDX-License-Identifier: BSD-2-Clause */
/* Scheduling contexts and timers: time as a resource, time as an event. */
#include "invoke.h"
#include "ipc.h"

#define BUDGET_MIN 1000u /* ticks: less would not pay for the switch */

/* Others wait for the end of its turn: what is left of that does not grow. */
static bool is_turn(const struct sched *s)
{
    return s->tcb && s->budget == s->period;
}

static err_t configure(const struct invocation *v, struct sched *s)
{
    struct cap *control;

    if (v->words < 4)
        return ERR_SHORT_MESSAGE;
    uint64_t budget = arg(v, 1), period = arg(v, 2), ceiling = arg(v, 3);
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_SCHEDCONTROL, RIGHT_WRITE, &control);
    if (e != ERR_OK)
        return e;
    if (budget < BUDGET_MIN || budget > period || period > BIT(48) || ceiling >= PRIORITIES)
        return REFUSED(ERR_RANGE, "budget %lu of %lu, ceiling %lu", budget, period, ceiling);
    if (s->tcb && s->tcb->priority > ceiling)
        return ERR_PRIORITY;
    if (s->tcb && s->tcb == cpu.current)
        sched_account();
    deadline_remove(&s->refill);
    s->remaining = is_turn(s) && budget == period && s->remaining < budget ? s->remaining : budget;
    s->budget = budget;
    s->period = period;
    s->period_start = arch_now();
    s->overrun = 0;
    s->ceiling = ceiling;
    if (s->tcb)
        thread_requeue(s->tcb);
    cpu.reschedule = true;
    return ERR_OK;
}

err_t sched_invoke(struct invocation *v)
{
    struct sched *s = cap_object(v->cap);

    switch (v->label) {
    case SCHED_CONFIGURE:
        return configure(v, s);
    case SCHED_CONSUMED:
        if (s->tcb && s->tcb == cpu.current)
            sched_account();
        result(v, s->consumed);
        s->consumed = 0;
        return ERR_OK;
    default:
        return ERR_BAD_METHOD;
    }
}

void sched_finalise(struct sched *s)
{
    deadline_remove(&s->refill);
}

/* --- timers --- */

static err_t bind(const struct invocation *v, struct timer *t)
{
    struct cap *c;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_NOTIFICATION, RIGHT_WRITE, &c);
    if (e != ERR_OK)
        return e;
    if (t->notification.type != OBJ_NULL)
        return ERR_ALREADY_BOUND;
    if (c->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    cap_derive(&t->notification, c, RIGHT_ALL, 0);
    return ERR_OK;
}

err_t timer_invoke(struct invocation *v)
{
    struct timer *t = cap_object(v->cap);

    switch (v->label) {
    case TIMER_SET:
        if (v->words < 1)
            return ERR_SHORT_MESSAGE;
        if (t->notification.type == OBJ_NULL)
            return ERR_NOT_BOUND;
        t->deadline.kind = DEADLINE_TIMER;
        deadline_insert(&t->deadline, arg(v, 0));
        cpu.reschedule |= cpu.deadlines == &t->deadline; /* the processor's timer has to be set */
        return ERR_OK;
    case TIMER_CANCEL:
        deadline_remove(&t->deadline);
        return ERR_OK;
    case TIMER_BIND:
        return bind(v, t);
    default:
        return ERR_BAD_METHOD;
    }
}

void timer_fired(struct timer *t)
{
    struct cap *c = &t->notification;

    if (c->type == OBJ_NOTIFICATION)
        notification_signal(cap_object(c), c->d0 ? c->d0 : 1);
}

void timer_lost(struct cap *slot)
{
    struct timer *t = (struct timer *)((uintptr_t)slot & ~((1ul << BITS_TIMER) - 1));

    deadline_remove(&t->deadline);
}
