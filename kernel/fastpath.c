/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths for what happens most: Call to a waiting server, its ReplyRecv, faults to a waiting handler,
 * Yield to another. Each is one list of checks that leave to the complete path (syscall.c, ipc.c) with
 * nothing changed, a point of no return, the commit. What they do is exactly what the complete path would:
 * tests/host/kernel/test_fastpath.c runs random histories through both and compares all that is left, who
 * runs included. */
#include "ipc.h"
#include "lookup.h"
#include "message.h"
#include "quick.h"

/* A message of few words; or of many, and capabilities, with buffers at both ends. */
static inline bool quick_tag(uint64_t tag, bool many, const struct tcb *from, const struct tcb *to)
{
    uint32_t low = (uint32_t)tag;

    if (!many)
        return low <= MSG_REGISTERS;
    return low < TAG_CAPS(MSG_CAPS_MAX + 1) && TAG_WORDS(tag) <= MSG_WORDS_MAX && from->buffer && to->buffer;
}

static inline void copy_words(struct tcb *to, const struct tcb *from, uint64_t tag)
{
    to->regs.rsi = tag;
    to->regs.rdx = from->regs.rdx;
    to->regs.r10 = from->regs.r10;
    to->regs.r8 = from->regs.r8;
    to->regs.r9 = from->regs.r9;
}

/* What more there is of a message, when its registers have been copied. */
static inline void copy_buffer(struct tcb *to, const struct tcb *from, uint64_t tag, bool grant)
{
    unsigned words = TAG_WORDS(tag), caps = grant ? TAG_NCAPS(tag) : 0;

    copy_buffer_words(to->buffer, from->buffer, words);
    if (caps)
        caps = transfer_caps(from, to, caps);
    to->regs.rsi = TAG(TAG_LABEL(tag), words) | TAG_CAPS(caps);
}

__attribute__((noinline)) bool take_turn_far(const struct tcb *from, struct tcb *to)
{
    return take_turn(from, to);
}

__attribute__((noinline)) struct regs *switch_far(struct tcb *from, struct tcb *to)
{
    return switch_to(from, to);
}

/* --- commit --- */

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

static always_inline struct regs *call_server(struct tcb *t, const struct cap *c, bool many)
{
    struct endpoint *ep = cap_object(c);
    struct tcb *to = ep->queue.head;
    uint64_t tag = t->regs.rsi;

    if (unlikely(!(c->rights & RIGHT_WRITE)) || (many && TAG_NCAPS(tag) && !(c->rights & RIGHT_GRANT)) ||
        unlikely(!is_server(to)) || unlikely(!quick_tag(tag, many, t, to)) ||
        unlikely(!(many ? take_turn_far(t, to) : take_turn(t, to))))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    t->sent_rights = c->rights;
    give_call(t, to, ep, c->d0);
    copy_words(to, t, tag);
    if (!many)
        return switch_to(t, to);
    copy_buffer(to, t, tag, true);
    return switch_far(t, to);
}

static __attribute__((noinline)) struct regs *call_server_many(struct tcb *t, const struct cap *c)
{
    return call_server(t, c, true);
}

struct regs *fastpath_call(struct tcb *t)
{
    struct cap *c;

    if (unlikely(!quick_slot(t, (uint32_t)t->regs.rdi, &c)))
        return syscall_complete(t);
    if (c->type != OBJ_ENDPOINT)
        return c->type == OBJ_NULL ? syscall_complete(t) : syscall_invoke(t, c);
    if ((uint32_t)t->regs.rsi > MSG_REGISTERS)
        return call_server_many(t, c);
    return call_server(t, c, false);
}

struct regs *fastpath_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2)
{
    const struct cap *c = &t->fault;

    if (c->type != OBJ_ENDPOINT || unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(t->regs.rip > USER_END))
        return NULL;
    struct endpoint *ep = cap_object(c);
    struct tcb *to = ep->queue.head;
    if (unlikely(!is_server(to)) || unlikely(!take_turn_far(t, to)))
        return NULL;
    /* point of no return */
    t->faulting = 1;
    t->sent_rights = 0;
    t->fault_label = label;
    t->fault_words[0] = to->regs.rdx = t->regs.rip;
    t->fault_words[1] = to->regs.r10 = w1;
    t->fault_words[2] = to->regs.r8 = w2;
    t->fault_words[3] = to->regs.r9 = t->regs.rsp;
    give_call(t, to, ep, c->d0);
    to->regs.rsi = TAG(label, 4);
    return switch_far(t, to);
}

/* The caller of reply is answered: t waits at ep with reply again. */
static inline void receive_again(struct tcb *t, struct tcb *caller, struct reply *reply, struct endpoint *ep)
{
    caller->state = THREAD_READY;
    reply->caller = NULL;
    reply->receiver = t;
    t->reply = reply;
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    t->state = THREAD_RECV;
    t->queue = ep;
    queue_push(&ep->queue, t);
}

/* A fault is answered by executing again, or from another RIP; more is for the complete path. */
static __attribute__((noinline)) struct regs *answer_fault(struct tcb *t, struct reply *reply,
                                                           struct endpoint *ep)
{
    struct tcb *to = reply->caller;
    uint32_t low = (uint32_t)t->regs.rsi;
    uint64_t rip = low ? t->regs.rdx : to->regs.rip;

    if (unlikely(low > 1) || unlikely(low && rip >= USER_END) || unlikely(!take_turn_far(t, to)))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    to->regs.rip = rip;
    to->faulting = 0;
    receive_again(t, to, reply, ep);
    return switch_far(t, to);
}

/* Nothing to receive at once. */
static inline bool would_wait(const struct tcb *t, const struct endpoint *ep)
{
    return !(ep->queue.head && ep->queue.head->state == THREAD_SEND) && !(t->bound && t->bound->bits);
}

static always_inline struct regs *answer_call(struct tcb *t, const struct cap *c, const struct cap *rc,
                                              bool many)
{
    struct endpoint *ep = cap_object(c);
    struct reply *reply = cap_object(rc);
    struct tcb *to = reply->caller;
    uint64_t tag = t->regs.rsi;

    if (unlikely(!to) || unlikely(!would_wait(t, ep)))
        return syscall_complete(t);
    if (to->faulting)
        return answer_fault(t, reply, ep);
    if (unlikely(!quick_tag(tag, many, t, to)) || unlikely(!(many ? take_turn_far(t, to) : take_turn(t, to))))
        return syscall_complete(t);
    /* point of no return */
    COUNT(SYSCALLS);
    to->regs.rdi = 0;
    to->regs.rax = ERR_OK;
    copy_words(to, t, tag);
    receive_again(t, to, reply, ep);
    if (!many)
        return switch_to(t, to);
    copy_buffer(to, t, tag, to->sent_rights & RIGHT_GRANT);
    return switch_far(t, to);
}

static __attribute__((noinline)) struct regs *answer_call_many(struct tcb *t, const struct cap *c,
                                                               const struct cap *rc)
{
    return answer_call(t, c, rc, true);
}

struct regs *fastpath_reply_recv(struct tcb *t)
{
    struct cap *c, *rc;

    if (unlikely(!quick_slot(t, (uint32_t)t->regs.rdi, &c)))
        return syscall_complete(t);
    if (c->type == OBJ_VCPU)
        return fastpath_exit(t, c);
    if (unlikely(!quick_slot(t, t->regs.rdi >> 32, &rc)) || unlikely(c->type != OBJ_ENDPOINT) ||
        unlikely(!(c->rights & RIGHT_READ)) || unlikely(rc->type != OBJ_REPLY) ||
        unlikely(!(rc->rights & RIGHT_WRITE)))
        return syscall_complete(t);
    if ((uint32_t)t->regs.rsi > MSG_REGISTERS)
        return answer_call_many(t, c, rc);
    return answer_call(t, c, rc, false);
}
