/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths for what happens most: Call to a waiting server, its ReplyRecv, faults to a waiting handler,
 * Yield to another. Each is one list of checks that leave to the complete path (syscall.c, ipc.c) with
 * nothing changed, a point of no return, the commit. What they do is exactly what the complete path would:
 * tests/host/kernel/test_fastpath.c runs random histories through both and compares all that is left, who
 * runs included. */
#include "fastpath.h"
#include "invoke.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* A one-level CSpace lookup for the thread that runs. Slot 0 never holds what is used. */
static inline bool quick_slot(const struct tcb *t, uint32_t p, struct cap **c)
{
    *c = t->slots + p;
    return p < t->slot_count;
}

/* No capabilities, and the words beyond those in registers have buffers at both ends. */
static inline bool quick_tag(uint32_t low, const struct tcb *from, const struct tcb *to)
{
    return low <= MSG_REGISTERS || (low <= MSG_WORDS_MAX && from->buffer && to->buffer);
}

/* As quick_turn where to has peers or a budget that ends: the timer must be armed early enough. */
static __attribute__((noinline)) uint64_t timed_turn(const struct tcb *to, uint64_t now)
{
    const struct sched *s = to->sc;

    return to->priority + 1 >= cpu.highest && cpu.timer_armed - 1 < now + s->remaining ? sched_slice_end(s, now)
                                                                                      : 0;
}

/* If the budget of the current thread can be charged, and to would be chosen and can run, without the scheduler and
 * the timer: when its time ends; else 0. */
static inline uint64_t quick_turn(const struct tcb *to, uint64_t now)
{
    const struct sched *s = to->sc;

    if (unlikely(!s) || unlikely(!s->remaining) || unlikely(now >= cpu.slice_end))
        return 0;
    if (unlikely(to->priority < cpu.highest) || unlikely(!sched_is_full(s)))
        return timed_turn(to, now);
    return now + s->remaining;
}

static inline void copy_words(struct tcb *to, const struct tcb *from, uint32_t words)
{
    to->regs.rdx = from->regs.rdx;
    to->regs.r10 = from->regs.r10;
    to->regs.r8 = from->regs.r8;
    to->regs.r9 = from->regs.r9;
    if (words <= MSG_REGISTERS)
        return;
    const volatile uint64_t *there = from->buffer->words; /* shared memory: each word is read once */
    for (uint32_t i = MSG_REGISTERS; i < words; i++)
        to->buffer->words[i] = there[i];
}

/* --- commit --- */

/* The processor goes from one thread to another. */
static inline struct regs *hand_over(struct tcb *from, struct tcb *to, uint64_t now, uint64_t end)
{
    struct sched *f = from->sc;
    uint64_t used = now - cpu.slice_start;

    f->consumed += used;
    f->remaining -= used;
    cpu.slice_start = now;
    cpu.slice_end = end;
    cpu.current = cpu.last = to;
    COUNT(SWITCHES);
    arch_thread_leave(from);
    arch_thread_enter(to);
    return &to->regs;
}

/* t has called, to has received. */
static inline void give_call(struct tcb *t, struct tcb *to, struct endpoint *ep, uint64_t badge)
{
    struct reply *reply = to->reply;

    queue_drop_head(&ep->queue, to);
    to->state = THREAD_READY;
    to->regs.rdi = badge;
    to->regs.rax = ERR_OK;
    reply->receiver = NULL;
    reply->caller = t;
    t->reply = reply;
    t->state = THREAD_REPLY;
}

/* A server waits that can answer. */
static inline bool is_server(const struct tcb *to)
{
    return to && to->state == THREAD_RECV && to->reply;
}

struct regs *fastpath_call(struct tcb *t)
{
    uint64_t tag = t->regs.rsi, now, end;
    struct cap *c;

    if (unlikely(!quick_slot(t, (uint32_t)t->regs.rdi, &c)) || unlikely(c->type == OBJ_NULL))
        return syscall_complete(t);
    if (c->type != OBJ_ENDPOINT)
        return syscall_invoke(t, c);
    struct endpoint *ep = cap_object(c);
    struct tcb *to = ep->queue.head;
    if (unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(!is_server(to)) ||
        unlikely(!quick_tag((uint32_t)tag, t, to)) || unlikely(!(end = quick_turn(to, now = arch_now()))))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    t->faulting = 0;
    t->may_grant = c->rights & RIGHT_GRANT;
    give_call(t, to, ep, c->d0);
    to->regs.rsi = tag;
    copy_words(to, t, (uint32_t)tag);
    return hand_over(t, to, now, end);
}

struct regs *fastpath_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2)
{
    const struct cap *c = &t->fault;
    uint64_t now, end;

    if (c->type != OBJ_ENDPOINT || unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(t->regs.rip > USER_END))
        return NULL;
    struct endpoint *ep = cap_object(c);
    struct tcb *to = ep->queue.head;
    if (unlikely(!is_server(to)) || unlikely(!(end = quick_turn(to, now = arch_now()))))
        return NULL;
    /* point of no return */
    t->faulting = 1;
    t->may_grant = 0;
    t->fault_label = label;
    t->fault_words[0] = to->regs.rdx = t->regs.rip;
    t->fault_words[1] = to->regs.r10 = w1;
    t->fault_words[2] = to->regs.r8 = w2;
    t->fault_words[3] = to->regs.r9 = t->regs.rsp;
    give_call(t, to, ep, c->d0);
    to->regs.rsi = TAG(label, 4);
    return hand_over(t, to, now, end);
}

/* A fault is answered by executing again, or from another RIP; more is for the complete path. */
static inline bool quick_answer(const struct tcb *t, const struct tcb *to)
{
    uint32_t low = (uint32_t)t->regs.rsi;

    if (!to->faulting)
        return quick_tag(low, t, to);
    return low == 0 || (low == 1 && t->regs.rdx < USER_END);
}

static inline void give_answer(const struct tcb *t, struct tcb *to)
{
    uint64_t tag = t->regs.rsi;

    to->state = THREAD_READY;
    if (to->faulting) {
        to->regs.rip = (uint32_t)tag ? t->regs.rdx : to->regs.rip;
        return;
    }
    to->regs.rsi = tag;
    to->regs.rdi = 0;
    to->regs.rax = ERR_OK;
    copy_words(to, t, (uint32_t)tag);
}

/* Nothing to receive at once. */
static inline bool would_wait(const struct tcb *t, const struct endpoint *ep)
{
    return !(ep->queue.head && ep->queue.head->state == THREAD_SEND) && !(t->bound && t->bound->bits);
}

static inline struct regs *answer_call(struct tcb *t, const struct cap *c, const struct cap *rc)
{
    struct endpoint *ep = cap_object(c);
    struct reply *reply = cap_object(rc);
    struct tcb *to = reply->caller;
    uint64_t now, end;

    if (unlikely(!to) || unlikely(!would_wait(t, ep)) || unlikely(!quick_answer(t, to)) ||
        unlikely(!(end = quick_turn(to, now = arch_now()))))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    give_answer(t, to);
    reply->caller = NULL;
    reply->receiver = t;
    t->reply = reply;
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    t->state = THREAD_RECV;
    t->queue = ep;
    queue_push(&ep->queue, t);
    return hand_over(t, to, now, end);
}

static struct regs *answer_exit(struct tcb *t, const struct cap *c)
{
    struct regs *next = fastpath_exit(t, c);

    return next ? next : syscall_complete(t);
}

struct regs *fastpath_reply_recv(struct tcb *t)
{
    struct cap *c, *rc;

    if (unlikely(!quick_slot(t, (uint32_t)t->regs.rdi, &c)))
        return syscall_complete(t);
    if (c->type == OBJ_VCPU)
        return answer_exit(t, c);
    if (unlikely(!quick_slot(t, t->regs.rdi >> 32, &rc)) || unlikely(c->type != OBJ_ENDPOINT) ||
        unlikely(!(c->rights & RIGHT_READ)) || unlikely(rc->type != OBJ_REPLY) ||
        unlikely(!(rc->rights & RIGHT_WRITE)))
        return syscall_complete(t);
    return answer_call(t, c, rc);
}

/* To another of the same priority. */
struct regs *fastpath_yield(struct tcb *t)
{
    struct thread_queue *q = &cpu.ready[t->priority];
    struct tcb *to = q->head;
    uint64_t now, end;

    if (!to || unlikely(to->state != THREAD_READY) || unlikely(!(end = quick_turn(to, now = arch_now()))))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    t->regs.rax = ERR_OK;
    queue_drop_head(q, to);
    queue_push(q, t);
    to->queued = 0;
    t->queued = 1;
    return hand_over(t, to, now, end);
}
