/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths for what happens most: Call to a waiting server, its ReplyRecv, and faults to a waiting
 * handler. Each is one list of checks that leave to the complete path (ipc.c) with nothing changed, a point
 * of no return, the commit. What they do is exactly what ipc.c would; tests/procs/test_ipc.c runs the same
 * cases through both. */
#include "fastpath.h"
#include "invoke.h"

#define unlikely(x) __builtin_expect(!!(x), 0)
#define TAG_SLOW    (0x7ff & ~7ul) /* capabilities, or more than 7 words */

/* A one-level CSpace lookup: NULL for anything longer. */
static inline struct cap *quick_slot(const struct tcb *t, uint64_t p)
{
    uint32_t index = (uint32_t)p;

    if (unlikely(index >= 1ul << t->cspace.bits) || unlikely(t->cspace.type != OBJ_CNODE) || unlikely(!index))
        return NULL;
    return (struct cap *)cap_object(&t->cspace) + index;
}

static inline bool quick_tag(uint64_t tag)
{
    return !(tag & TAG_SLOW) && (tag & 7) <= MSG_REGISTERS;
}

/* The budget of from can be charged, and to can run, without the scheduler or the timer. */
static inline bool quick_budgets(const struct tcb *from, const struct tcb *to, uint64_t now)
{
    const struct sched *f = from->sc, *s = to->sc;

    if (unlikely(!s) || unlikely(!s->remaining))
        return false;
    if (now - cpu.slice_start >= f->remaining ||
        (f->budget != f->period && now - f->period_start >= f->period))
        return false;
    return (s->budget == s->period && !sched_has_peer(to)) ||
           (cpu.timer_armed && now + s->remaining >= cpu.timer_armed);
}

static inline bool quiet(void)
{
    return !cpu.reschedule && !cpu.pending_timer && !cpu.pending_lines;
}

static inline void charge(struct tcb *from, uint64_t now)
{
    struct sched *f = from->sc;
    uint64_t used = now - cpu.slice_start;

    f->consumed += used;
    f->remaining -= used;
    cpu.slice_start = now;
}

static inline void copy_words(struct regs *to, const struct regs *from)
{
    to->rdx = from->rdx;
    to->r10 = from->r10;
    to->r8 = from->r8;
    to->r9 = from->r9;
}

static inline struct regs *switch_to(struct tcb *from, struct tcb *to)
{
    cpu.current = to;
    cpu.last = to;
    COUNT(SWITCHES);
    arch_thread_leave(from);
    arch_thread_enter(to);
    return &to->regs;
}

/* A server that can be handed a call at once: it waits with a Reply object, and nobody else should run
 * instead. */
static inline struct tcb *waiting_server(const struct tcb *t, const struct endpoint *ep, uint64_t now)
{
    struct tcb *to = ep->queue.head;

    if (!to || to->state != THREAD_RECV || unlikely(!to->reply) || unlikely(to->priority < t->priority) ||
        unlikely(!quiet()) || unlikely(cpu.last != t) || unlikely(!quick_budgets(t, to, now)))
        return NULL;
    return to;
}

/* --- commit: t has called, to has received --- */

static inline void hand_over(struct tcb *t, struct tcb *to, struct endpoint *ep, uint64_t badge, uint64_t now)
{
    struct reply *reply = to->reply;

    ep->queue.head = to->next;
    if (to->next)
        to->next->prev = NULL;
    else
        ep->queue.tail = NULL;
    to->next = NULL;
    to->queue = NULL;
    to->reply = NULL;
    to->state = THREAD_READY;
    to->regs.rdi = badge;
    to->regs.rax = ERR_OK;
    reply->receiver = NULL;
    reply->caller = t;
    t->reply = reply;
    t->badge = badge;
    t->calling = 1;
    t->state = THREAD_REPLY;
    charge(t, now);
}

struct regs *fastpath_call(struct tcb *t)
{
    struct cap *c = quick_slot(t, t->regs.rdi);
    uint64_t tag = t->regs.rsi;

    if (unlikely(!c) || c->type != OBJ_ENDPOINT || unlikely(!(c->rights & RIGHT_WRITE)) ||
        unlikely(!quick_tag(tag)))
        return NULL;
    struct endpoint *ep = cap_object(c);
    uint64_t now = arch_now();
    struct tcb *to = waiting_server(t, ep, now);
    if (!to)
        return NULL;
    /* point of no return */
    COUNT(SYSCALLS);
    t->faulting = 0;
    t->may_grant = !!(c->rights & RIGHT_GRANT);
    hand_over(t, to, ep, c->d0, now);
    copy_words(&to->regs, &t->regs);
    to->regs.rsi = TAG(TAG_LABEL(tag), TAG_WORDS(tag));
    return switch_to(t, to);
}

struct regs *fastpath_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2)
{
    const struct cap *c = &t->fault;

    if (c->type != OBJ_ENDPOINT || unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(t->regs.rip > USER_END))
        return NULL;
    struct endpoint *ep = cap_object(c);
    uint64_t now = arch_now();
    struct tcb *to = waiting_server(t, ep, now);
    if (!to)
        return NULL;
    /* point of no return */
    t->faulting = 1;
    t->may_grant = 0;
    t->fault_label = label;
    t->fault_words[0] = to->regs.rdx = t->regs.rip;
    t->fault_words[1] = to->regs.r10 = w1;
    t->fault_words[2] = to->regs.r8 = w2;
    t->fault_words[3] = to->regs.r9 = t->regs.rsp;
    hand_over(t, to, ep, c->d0, now);
    to->regs.rsi = TAG(label, 4);
    return switch_to(t, to);
}

static inline bool somebody_is_more_urgent(unsigned priority)
{
    for (unsigned w = PRIORITIES / 64 - 1; w > priority / 64; w--)
        if (cpu.ready_bits[w])
            return true;
    return cpu.ready_bits[priority / 64] >> priority % 64 >> 1;
}

/* A fault is answered by executing again, or from another RIP; more is for the complete path. */
static inline bool quick_fault_answer(const struct regs *r)
{
    return TAG_WORDS(r->rsi) == 0 || (TAG_WORDS(r->rsi) == 1 && r->rdx < USER_END);
}

static __attribute__((noinline)) struct regs *answer_call(struct tcb *t, const struct cap *c)
{
    const struct cap *rc = quick_slot(t, t->regs.rdi >> 32);
    uint64_t tag = t->regs.rsi;

    if (c->type != OBJ_ENDPOINT || unlikely(!(c->rights & RIGHT_READ)) || unlikely(!rc) ||
        unlikely(rc->type != OBJ_REPLY) || unlikely(!(rc->rights & RIGHT_WRITE)) || unlikely(!quick_tag(tag)))
        return NULL;
    struct endpoint *ep = cap_object(c);
    struct reply *reply = cap_object(rc);
    struct tcb *to = reply->caller;
    uint64_t now = arch_now();
    if (unlikely(!to) || unlikely(reply->receiver != NULL) || unlikely(!quiet()) || unlikely(cpu.last != t) ||
        unlikely(t->bound && t->bound->bits) || (ep->queue.head && ep->queue.head->state == THREAD_SEND) ||
        unlikely(to->faulting && !quick_fault_answer(&t->regs)) ||
        unlikely(somebody_is_more_urgent(to->priority)) || unlikely(!quick_budgets(t, to, now)))
        return NULL;
    /* point of no return */
    COUNT(SYSCALLS);
    if (to->faulting) {
        to->regs.rip = TAG_WORDS(tag) ? t->regs.rdx : to->regs.rip;
    } else {
        copy_words(&to->regs, &t->regs);
        to->regs.rsi = TAG(TAG_LABEL(tag), TAG_WORDS(tag));
        to->regs.rdi = 0;
        to->regs.rax = ERR_OK;
    }
    to->reply = NULL;
    to->state = THREAD_READY;
    reply->caller = NULL;
    reply->receiver = t;
    t->reply = reply;
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    t->state = THREAD_RECV;
    t->queue = ep;
    queue_push(&ep->queue, t);
    charge(t, now);
    return switch_to(t, to);
}

struct regs *fastpath_reply_recv(struct tcb *t)
{
    const struct cap *c = quick_slot(t, t->regs.rdi);

    if (unlikely(!c))
        return NULL;
    return c->type == OBJ_VCPU ? fastpath_exit(t, c) : answer_call(t, c);
}
