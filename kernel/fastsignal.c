/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths of signals and turns, as fastpath.c: Signal without a waiter, or to one that is more urgent, by
 * a thread or a device; Yield to another. */
#include "lookup.h"
#include "quick.h"

/* Who waits for n and would be woken. */
static inline struct tcb *waiter_of(const struct notification *n)
{
    return n->tcb && n->tcb->state == THREAD_RECV ? n->tcb : n->queue.head;
}

/* to no longer waits: at n, or with n bound at an endpoint. */
static inline void end_wait(struct notification *n, struct tcb *to)
{
    struct thread_queue *q = to->state == THREAD_RECV ? &((struct endpoint *)to->queue)->queue : &n->queue;

    if (to->state == THREAD_RECV && to->reply)
        to->reply->receiver = NULL;
    queue_remove(q, to);
}

/* The current thread stays ready, the first of its priority: none is ready above it. */
static inline void step_back(struct tcb *t)
{
    queue_first(&cpu.ready[t->priority], t);
    cpu.ready_bits[t->priority / 64] |= BIT(t->priority % 64);
    cpu.highest = t->priority + 1;
    t->queued = 1;
}

struct regs *fastpath_wake(struct tcb *t, struct notification *n, uint64_t bits)
{
    struct tcb *to = waiter_of(n);

    if (!to || to->priority <= t->priority || unlikely(!take_turn_far(t, to)))
        return NULL;
    /* point of no return */
    end_wait(n, to);
    to->state = THREAD_READY;
    to->regs.rdi = n->bits | bits;
    to->regs.rsi = TAG_SIGNAL;
    to->regs.rax = ERR_OK;
    n->bits = 0;
    step_back(t);
    return switch_far(t, to);
}

struct regs *fastpath_signal(struct tcb *t)
{
    struct cap *c;

    if (unlikely(!quick_slot(t, (uint32_t)t->regs.rdi, &c)) || unlikely(c->type != OBJ_NOTIFICATION) ||
        unlikely(!(c->rights & RIGHT_WRITE)))
        return syscall_complete(t);
    struct notification *n = cap_object(c);
    uint64_t bits = c->d0 ? c->d0 : 1;
    struct regs *next = &t->regs;
    if (waiter_of(n))
        next = fastpath_wake(t, n, bits);
    else if (unlikely(n->vcpu != NULL))
        next = NULL;
    else
        n->bits |= bits;
    if (!next)
        return syscall_complete(t);
    COUNT(SYSCALLS);
    t->regs.rax = ERR_OK;
    return next;
}

/* A device's line, the only thing that wants attention. */
struct regs *fastpath_line(struct tcb *t)
{
    unsigned line = __builtin_ctz(cpu.pending_lines | BIT(IRQ_LINES));
    struct cap *c = &cpu.irq[line % IRQ_LINES];
    struct regs *next;

    if (unlikely(cpu.attention != BIT(line)) || c->type != OBJ_NOTIFICATION)
        return NULL;
    next = fastpath_wake(t, cap_object(c), c->d0 ? c->d0 : 1);
    if (!next)
        return NULL;
    COUNT(INTERRUPTS);
    cpu.pending_lines = 0;
    return next;
}

/* To another of the same priority. */
struct regs *fastpath_yield(struct tcb *t)
{
    struct thread_queue *q = &cpu.ready[t->priority];
    struct tcb *to = q->head;

    if (!to || unlikely(to->state != THREAD_READY) || unlikely(!take_turn_far(t, to)))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    t->regs.rax = ERR_OK;
    queue_drop_head(q, to);
    queue_push(q, t);
    to->queued = 0;
    t->queued = 1;
    return switch_far(t, to);
}
