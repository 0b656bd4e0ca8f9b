/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints, replies, faults, signals: the slow but complete paths (fastpath.c has the short ones).
 *
 * Invariants: an endpoint's queue holds only senders or only receivers; a thread in THREAD_REPLY and the
 * Reply object that holds it point to each other; a thread's registers are written only when its call
 * completes, so a wait can be undone by executing the system call again. Message words are read once. */
#include "ipc.h"
#include "invoke.h"
#include "log.h"
#include "message.h"
#include "obj/derive.h"

static void wake(struct tcb *t)
{
    t->queue = NULL;
    t->state = THREAD_READY;
    thread_ready(t);
}

static struct tcb *queue_pop(struct thread_queue *q)
{
    struct tcb *t = q->head;
    queue_remove(q, t);
    return t;
}

/* The receiver's n-th slot for a capability, NULL if there is none that is empty. */
static struct cap *receive_slot(const struct tcb *to, unsigned n)
{
    const volatile struct umbra_ipc_buffer *b = to->buffer;
    struct cap *slots, *cnode = (struct cap *)&to->cspace;
    uint32_t sub = b->recv_sub, first = b->recv_slot, limit = b->recv_limit;

    if (!first || n >= limit)
        return NULL;
    if (sub && cspace_cap(to, sub, OBJ_CNODE, RIGHT_WRITE, &cnode) != ERR_OK)
        return NULL;
    return cnode_slots(cnode, (uint64_t)first + n, 1, &slots) == ERR_OK ? slots : NULL;
}

unsigned transfer_caps(const struct tcb *from, const struct tcb *to, unsigned n)
{
    unsigned done = 0;

    if (!from->buffer || !to->buffer)
        return 0;
    for (; done < n; done++) {
        cptr_t p = ((const volatile struct umbra_ipc_buffer *)from->buffer)->caps[done];
        struct cap *src = cspace_slot(from, p);
        struct cap *dest = receive_slot(to, done);
        if (!src || src->type == OBJ_NULL || !dest || cap_derive_check(dest, src, 0) != ERR_OK)
            break;
        cap_derive(dest, src, RIGHT_ALL, 0);
    }
    return done;
}

static void transfer_fault(const struct tcb *from, struct tcb *to)
{
    to->regs.rsi = TAG(from->fault_label, 4);
    to->regs.rdx = from->fault_words[0];
    to->regs.r10 = from->fault_words[1];
    to->regs.r8 = from->fault_words[2];
    to->regs.r9 = from->fault_words[3];
}

/* The message of from to the waiting to. The receiver learns what really arrived from the tag. */
static void transfer(const struct tcb *from, struct tcb *to, bool grant)
{
    uint64_t tag = from->regs.rsi;
    unsigned words = TAG_WORDS(tag), caps = grant ? TAG_NCAPS(tag) : 0;

    to->regs.rdx = from->regs.rdx;
    to->regs.r10 = from->regs.r10;
    to->regs.r8 = from->regs.r8;
    to->regs.r9 = from->regs.r9;
    if (words > MSG_REGISTERS) {
        if (!from->buffer || !to->buffer)
            words = MSG_REGISTERS;
        else
            copy_buffer_words(to->buffer, from->buffer, words);
    }
    if (caps)
        caps = transfer_caps(from, to, caps);
    to->regs.rsi = TAG(TAG_LABEL(tag), words) | TAG_CAPS(caps);
}

/* Sender and receiver have met. The receiver runs; so does the sender unless it waits for an answer. */
static void deliver(struct tcb *from, struct tcb *to)
{
    struct reply *reply = to->reply;

    if (from->faulting)
        transfer_fault(from, to);
    else
        transfer(from, to, from->sent_rights & RIGHT_GRANT);
    to->regs.rdi = from->badge;
    thread_result(to, ERR_OK);
    to->reply = NULL;
    if (reply)
        reply->receiver = NULL;
    if (!from->calling) {
        thread_result(from, ERR_OK);
        wake(from);
    } else if (reply) {
        reply->caller = from;
        from->reply = reply;
        from->queue = NULL;
        thread_block(from, THREAD_REPLY);
    } else if (from->faulting) {
        from->queue = NULL;
        thread_block(from, THREAD_FAULTED);
    } else {
        thread_result(from, ERR_NO_REPLY);
        wake(from);
    }
    wake(to);
}

static void send(struct tcb *t, struct endpoint *ep)
{
    struct tcb *to = ep->queue.head;

    if (to && to->state == THREAD_RECV) {
        queue_remove(&ep->queue, to);
        deliver(t, to);
        if (!cpu.current)
            cpu.partner = to;
        else if (t == cpu.current) /* who does not wait gives up its turn all the same: what it has done for
                                      it is not its time */
            cpu.turn_over = cpu.reschedule = true;
        return;
    }
    thread_block(t, THREAD_SEND);
    t->queue = ep;
    queue_push(&ep->queue, t);
}

void ipc_send(struct tcb *t, struct cap *ep, bool call)
{
    uint64_t tag = t->regs.rsi;
    err_t e = ERR_OK;

    if (!(ep->rights & RIGHT_WRITE))
        e = ERR_NO_RIGHT;
    else if (!tag_fits(tag))
        e = ERR_RANGE;
    else if ((TAG_WORDS(tag) > MSG_REGISTERS || TAG_NCAPS(tag)) && !t->buffer)
        e = ERR_NO_IPC_BUFFER;
    else if (TAG_NCAPS(tag) && !(ep->rights & RIGHT_GRANT))
        e = ERR_NO_RIGHT;
    if (e != ERR_OK) {
        thread_result(t, REFUSED(e, "send on endpoint %lx tag %lx", ep->obj, tag));
        return;
    }
    t->badge = ep->d0;
    t->calling = call;
    t->sent_rights = ep->rights;
    send(t, cap_object(ep));
}

static bool take_bound_signal(struct tcb *t)
{
    struct notification *n = t->bound;

    if (!n || !n->bits)
        return false;
    t->regs.rdi = n->bits;
    t->regs.rsi = TAG_SIGNAL;
    n->bits = 0;
    thread_result(t, ERR_OK);
    return true;
}

static void reply_abandon(struct reply *r)
{
    struct tcb *caller = r->caller;

    if (!caller)
        return;
    r->caller = NULL;
    caller->reply = NULL;
    if (caller->faulting) {
        caller->state = THREAD_FAULTED;
    } else {
        thread_result(caller, ERR_CANCELLED);
        wake(caller);
    }
}

void ipc_recv(struct tcb *t, struct cap *ep, struct reply *reply, bool poll)
{
    struct endpoint *e = cap_object(ep);

    if (!(ep->rights & RIGHT_READ)) {
        thread_result(t, REFUSED(ERR_NO_RIGHT, "receive on endpoint %lx", ep->obj));
        return;
    }
    if (reply && reply->receiver) {
        thread_result(t, REFUSED(ERR_ALREADY_BOUND, "reply object is in use by another receiver"));
        return;
    }
    if (take_bound_signal(t))
        return;
    if (reply)
        reply_abandon(reply);
    t->reply = reply;
    if (reply)
        reply->receiver = t;
    if (e->queue.head && e->queue.head->state == THREAD_SEND) {
        deliver(queue_pop(&e->queue), t);
    } else if (poll) {
        t->reply = NULL;
        if (reply)
            reply->receiver = NULL;
        thread_result(t, ERR_WOULD_BLOCK);
    } else {
        thread_block(t, THREAD_RECV);
        t->queue = e;
        queue_push(&e->queue, t);
    }
}

static err_t answer_fault(struct tcb *t, struct tcb *caller)
{
    uint64_t tag = t->regs.rsi, rip = t->regs.rdx, rsp = t->regs.r10;

    if (TAG_WORDS(tag) >= 1 && rip >= USER_END)
        return REFUSED(ERR_RANGE, "continue fault at %lx", rip);
    if (TAG_WORDS(tag) >= 1)
        caller->regs.rip = rip;
    if (TAG_WORDS(tag) >= 2)
        caller->regs.rsp = rsp;
    caller->faulting = 0;
    return ERR_OK;
}

err_t ipc_reply(struct tcb *t, struct reply *reply)
{
    struct tcb *caller = reply->caller;
    uint64_t tag = t->regs.rsi;

    if (!caller)
        return REFUSED(ERR_NO_REPLY, "reply without a caller");
    if (!tag_fits(tag))
        return REFUSED(ERR_RANGE, "reply tag %lx", tag);
    if ((TAG_WORDS(tag) > MSG_REGISTERS || TAG_NCAPS(tag)) && !t->buffer)
        return REFUSED(ERR_NO_IPC_BUFFER, "reply tag %lx", tag);
    if (caller->faulting) {
        err_t e = answer_fault(t, caller);
        if (e != ERR_OK)
            return e;
    } else {
        transfer(t, caller, caller->sent_rights & RIGHT_GRANT);
        caller->regs.rdi = 0;
        thread_result(caller, ERR_OK);
    }
    reply->caller = NULL;
    caller->reply = NULL;
    wake(caller);
    return ERR_OK;
}

void ipc_cancel(struct tcb *t)
{
    bool again = !t->faulting;

    switch (t->state) {
    case THREAD_SEND:
        queue_remove(&((struct endpoint *)t->queue)->queue, t);
        break;
    case THREAD_RECV:
        again = true;
        queue_remove(&((struct endpoint *)t->queue)->queue, t);
        if (t->reply)
            t->reply->receiver = NULL;
        break;
    case THREAD_REPLY:
        t->reply->caller = NULL;
        break;
    case THREAD_NOTIFICATION:
        again = true;
        queue_remove(&((struct notification *)t->queue)->queue, t);
        break;
    case THREAD_GUEST:
    case THREAD_PARKED:
        again = true;
        vcpu_cancel(t);
        break;
    default:
        again = false;
    }
    t->queue = NULL;
    t->reply = NULL;
    if (again)
        t->regs.rip -= SYSCALL_BYTES;
    t->faulting = 0;
}

void ipc_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2)
{
    struct cap *ep = &t->fault;

    t->fault_label = label;
    t->fault_words[0] = t->regs.rip;
    t->fault_words[1] = w1;
    t->fault_words[2] = w2;
    t->fault_words[3] = t->regs.rsp;
    t->faulting = 1;
    /* User code may jump anywhere, but IRETQ to an address that is not canonical would fault in the kernel.
     * Nothing can be executed there, so going on at the end of the address space faults as well. */
    if (t->regs.rip > USER_END)
        t->regs.rip = USER_END;
    if (ep->type != OBJ_ENDPOINT || !(ep->rights & RIGHT_WRITE)) {
        log_printf("thread %p: fault %x at %lx (%lx, %lx) and nobody handles it\n", (void *)t, label,
                   t->regs.rip, w1, w2);
        thread_block(t, THREAD_FAULTED);
        return;
    }
    t->badge = ep->d0;
    t->calling = 1;
    t->sent_rights = 0;
    send(t, cap_object(ep));
}

/* --- signals --- */

static void deliver_signal(struct tcb *t, uint64_t bits)
{
    t->regs.rdi = bits;
    t->regs.rsi = TAG_SIGNAL;
    thread_result(t, ERR_OK);
    t->reply = NULL;
    wake(t);
}

void notification_signal(struct notification *n, uint64_t bits)
{
    struct tcb *t = n->tcb;

    if (t && t->state == THREAD_RECV) {
        queue_remove(&((struct endpoint *)t->queue)->queue, t);
        if (t->reply)
            t->reply->receiver = NULL;
        deliver_signal(t, n->bits | bits);
        n->bits = 0;
    } else if (n->queue.head) {
        deliver_signal(queue_pop(&n->queue), n->bits | bits);
        n->bits = 0;
    } else {
        n->bits |= bits;
        if (n->vcpu)
            vcpu_signalled(n->vcpu);
    }
}

void notification_recv(struct tcb *t, struct cap *cap, bool poll)
{
    struct notification *n = cap_object(cap);

    if (!(cap->rights & RIGHT_READ)) {
        thread_result(t, REFUSED(ERR_NO_RIGHT, "wait on notification %lx", cap->obj));
    } else if (n->bits) {
        t->regs.rdi = n->bits;
        t->regs.rsi = TAG_SIGNAL;
        n->bits = 0;
        thread_result(t, ERR_OK);
    } else if (poll) {
        thread_result(t, ERR_WOULD_BLOCK);
    } else {
        thread_block(t, THREAD_NOTIFICATION);
        t->queue = n;
        queue_push(&n->queue, t);
    }
}

/* --- the end of objects that threads wait on --- */

static err_t cancel_one(struct thread_queue *q)
{
    if (!q->head)
        return ERR_OK;
    struct tcb *t = queue_pop(q);
    if (t->state == THREAD_RECV && t->reply)
        t->reply->receiver = NULL;
    t->reply = NULL;
    t->queue = NULL;
    if (t->state == THREAD_SEND && t->faulting) {
        t->state = THREAD_FAULTED;
    } else {
        thread_result(t, ERR_CANCELLED);
        wake(t);
    }
    return cpu_preempt_due() ? PREEMPTED : ERR_OK;
}

err_t endpoint_finalise(struct endpoint *ep)
{
    while (ep->queue.head) {
        err_t e = cancel_one(&ep->queue);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

err_t notification_finalise(struct notification *n)
{
    while (n->queue.head) {
        err_t e = cancel_one(&n->queue);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

void reply_finalise(struct reply *r)
{
    reply_abandon(r);
    if (r->receiver) {
        r->receiver->reply = NULL;
        r->receiver = NULL;
    }
}
