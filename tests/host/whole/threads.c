/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads, what they wait on, their time: each queue holds who says that it is in it, each binding has both
 * ends, who can run is chosen or queued, the heap of deadlines is one, and the timer is set for it. */
#include "whole.h"
#include <string.h>

static unsigned waiting, queued; /* threads found in queues */

static void see_waiter(const struct tcb *t, const void *queue, const struct tcb *prev)
{
    MUST(lives(t, OBJ_TCB) && t->queue == queue && t->prev == prev && !t->queued);
    MUST(++waiting <= NODES_MAX);
}

static void check_endpoint(const struct endpoint *e)
{
    const struct tcb *prev = NULL;

    for (const struct tcb *t = e->queue.head; t; prev = t, t = t->next) {
        see_waiter(t, e, prev);
        MUST((t->state == THREAD_SEND || t->state == THREAD_RECV) && t->state == e->queue.head->state);
    }
    MUST(!e->queue.head || e->queue.tail == prev);
}

static void check_notification(const struct notification *n)
{
    const struct tcb *prev = NULL;

    for (const struct tcb *t = n->queue.head; t; prev = t, t = t->next) {
        see_waiter(t, n, prev);
        MUST(t->state == THREAD_NOTIFICATION);
    }
    MUST(!n->queue.head || (n->queue.tail == prev && !n->bits));
    MUST(!(n->tcb && n->vcpu));
    MUST(!n->tcb || (lives(n->tcb, OBJ_TCB) && n->tcb->bound == n));
    MUST(!n->vcpu || (lives(n->vcpu, OBJ_VCPU) && n->vcpu->bound == n));
}

static void check_reply(const struct reply *r)
{
    const struct tcb *c = r->caller, *w = r->receiver;

    MUST(!c || (lives(c, OBJ_TCB) && c->state == THREAD_REPLY && c->reply == r));
    MUST(!w || (lives(w, OBJ_TCB) && w->state == THREAD_RECV && w->reply == r));
    MUST(!(c && w));
}

static void check_waiting(const struct tcb *t)
{
    switch (t->state) {
    case THREAD_SEND:
        MUST(lives(t->queue, OBJ_ENDPOINT));
        break;
    case THREAD_RECV:
        MUST(lives(t->queue, OBJ_ENDPOINT) && !(t->bound && t->bound->bits));
        MUST(!t->reply || (lives(t->reply, OBJ_REPLY) && t->reply->receiver == t));
        break;
    case THREAD_REPLY:
        MUST(lives(t->reply, OBJ_REPLY) && t->reply->caller == t);
        break;
    case THREAD_NOTIFICATION:
        MUST(lives(t->queue, OBJ_NOTIFICATION));
        break;
    case THREAD_PARKED:
        MUST(!(t->vcpu->bound && t->vcpu->bound->bits));
        /* fall through */
    case THREAD_GUEST:
        MUST(lives(t->vcpu, OBJ_VCPU) && t->vcpu->thread == t && t->vcpu->vm && t->vcpu->vm->space);
        break;
    default:
        MUST(t->state <= THREAD_FAULTED);
    }
}

static void check_bindings(const struct tcb *t)
{
    bool has_cspace = t->cspace.type == OBJ_CNODE, has_space = t->vspace.type == OBJ_VSPACE;

    MUST(t->slot_count == (has_cspace ? 1u << t->cspace.bits : 0));
    MUST(!has_cspace || t->slots == cap_object(&t->cspace));
    MUST(has_cspace || t->cspace.type == OBJ_NULL);
    MUST(has_space || t->vspace.type == OBJ_NULL);
    MUST(t->state == THREAD_INACTIVE || t->state == THREAD_FAULTED || (has_cspace && has_space));
    if (t != init_thread()) /* whose buffer boot made */
        MUST(t->buffer == (t->ipc_buffer.type == OBJ_FRAME ? cap_object(&t->ipc_buffer) : NULL));
    MUST(t->fault.type == OBJ_NULL || t->fault.type == OBJ_ENDPOINT);
    MUST(!t->faulting || t->state == THREAD_SEND || t->state == THREAD_REPLY || t->state == THREAD_FAULTED);
    MUST(!t->sc == (t->sched.type == OBJ_NULL));
    MUST(!t->sc || (t->sc == cap_object(&t->sched) && lives(t->sc, OBJ_SCHED) && t->sc->tcb == t));
    MUST(!t->bound == (t->notification.type == OBJ_NULL));
    MUST(!t->bound || (t->bound == cap_object(&t->notification) && lives(t->bound, OBJ_NOTIFICATION) &&
                       t->bound->tcb == t));
}

static bool may_run(const struct tcb *t)
{
    return (t->state == THREAD_READY || t->state == THREAD_GUEST) && t->sc && t->sc->remaining;
}

static void check_ready(void)
{
    unsigned highest = 0;

    queued = 0;
    for (unsigned p = 0; p < PRIORITIES; p++) {
        const struct thread_queue *q = &cpu.ready[p];
        const struct tcb *prev = NULL;
        MUST(!q->head == !(cpu.ready_bits[p / 64] >> p % 64 & 1));
        for (const struct tcb *t = q->head; t; prev = t, t = t->next, queued++) {
            MUST(queued < NODES_MAX && lives(t, OBJ_TCB) && t->queued && t->priority == p && t->prev == prev);
            MUST(may_run(t) && t != cpu.current);
        }
        MUST(!q->head || q->tail == prev);
        highest = q->head ? p + 1 : highest;
    }
    MUST(cpu.highest == highest);
}

void check_threads(void)
{
    unsigned waits = 0, ready = 0;

    waiting = 0;
    check_ready();
    for
        EACH_OBJECT(o, OBJ_ENDPOINT)
    check_endpoint(phys((hpa_t){ o->at }));
    for
        EACH_OBJECT(o, OBJ_NOTIFICATION)
    check_notification(phys((hpa_t){ o->at }));
    for
        EACH_OBJECT(o, OBJ_REPLY)
    check_reply(phys((hpa_t){ o->at }));
    for
        EACH_OBJECT(o, OBJ_TCB)
        {
            const struct tcb *t = phys((hpa_t){ o->at });
            check_waiting(t);
            check_bindings(t);
            waits += t->state == THREAD_SEND || t->state == THREAD_RECV || t->state == THREAD_NOTIFICATION;
            MUST(!!t->queued == (may_run(t) && t != cpu.current));
            ready += t->queued;
        }
    MUST_SAY(waits == waiting && ready == queued, "%u wait, %u in queues; %u ready, %u queued", waits,
             waiting, ready, queued);
    MUST(!cpu.current || lives(cpu.current, OBJ_TCB));
    MUST(!cpu.last || lives(cpu.last, OBJ_TCB));
    MUST(!cpu.last || fake.loaded == cpu.last->vspace.obj);
}

/* --- time --- */

static unsigned nodes; /* of the heap */

static uint32_t see_deadline(const struct deadline *d, const struct deadline *up)
{
    if (!d)
        return 0;
    MUST(++nodes <= NODES_MAX && d->queued && d->up == up && (!up || up->when <= d->when));
    if (d->kind == DEADLINE_TIMER)
        MUST(lives(d, OBJ_TIMER) && ((const struct timer *)d)->notification.type == OBJ_NOTIFICATION);
    else
        MUST(lives(d, OBJ_SCHED) && d->kind == DEADLINE_REFILL);
    uint32_t left = see_deadline(d->left, d), right = see_deadline(d->right, d);
    MUST(left >= right && d->rank == right + 1);
    return d->rank;
}

static void check_sched(const struct sched *s)
{
    MUST(!s->tcb || (lives(s->tcb, OBJ_TCB) && s->tcb->sc == s));
    MUST(s->remaining <= s->budget && s->budget <= s->period);
    if (s->period && !s->remaining)
        MUST(s->refill.queued); /* or it would never run again */
    if (s->tcb)
        MUST(s->tcb->priority <= s->ceiling || !s->period);
}

static void check_lines(void)
{
    bool taken[IRQ_LINES] = { false };

    for (unsigned i = 0; i < census.nodes; i++)
        if (census.node[i]->type == OBJ_IRQ && (census.node[i]->flags & CAP_ORIGINAL))
            taken[census.node[i]->obj] = true;
    for (unsigned i = 0; i < IRQ_LINES; i++) {
        MUST(taken[i] == cpu.irq_taken[i]);
        MUST(cpu.irq[i].type == OBJ_NULL || taken[i]);
        MUST(!(fake.unmasked >> i & 1) || cpu.irq[i].type == OBJ_NOTIFICATION);
    }
}

static void check_owner_of_fpu(void)
{
    const unsigned char *f = cpu.fpu_owner;

    MUST(!f || lives(f - offsetof(struct tcb, fpu), OBJ_TCB) ||
         lives(f - offsetof(struct vcpu, fpu), OBJ_VCPU));
}

void check_time(void)
{
    unsigned armed = 0;

    nodes = 0;
    see_deadline(cpu.deadlines, NULL);
    for
        EACH_OBJECT(o, OBJ_SCHED)
        {
            const struct sched *s = phys((hpa_t){ o->at });
            check_sched(s);
            armed += s->refill.queued;
        }
    for
        EACH_OBJECT(o, OBJ_TIMER)
    armed += ((const struct timer *)phys((hpa_t){ o->at }))->deadline.queued;
    MUST_SAY(armed == nodes, "%u are armed, %u in the heap", armed, nodes);
    check_lines();
    check_owner_of_fpu();
    const struct tcb *t = cpu.current;
    if (!t)
        return;
    /* who goes on is loaded, has budget, and nothing is put off */
    MUST(t->state == THREAD_READY && cpu.last == t && !cpu.attention);
    MUST(may_run(t) || timer_set_by(fake.now)); /* or is interrupted at once */
    MUST(!cpu.deadlines || cpu.deadlines->when == UINT64_MAX || timer_set_by(cpu.deadlines->when));
    if (t->sc->budget != t->sc->period)
        MUST(timer_set_by(cpu.slice_start + t->sc->remaining));
}
