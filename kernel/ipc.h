/* SPDX-License-Identifier: BSD-2-Clause */
/* Synchronous messages, signals, faults: what moves between threads. The functions act on the current thread
 * where they take none; a thread that must wait leaves cpu.current. */
#ifndef KERNEL_IPC_H
#define KERNEL_IPC_H

#include "cpu.h"

#define SYSCALL_BYTES 2 /* the instruction: to execute it again */

#if UMBRA_DEBUG
/* Debug builds remember which refusals were seen (KERNEL_ERRORS); type OBJ_NULL: a system call, by its
 * number. */
void error_record(unsigned type, unsigned method, err_t e);
enum {
    RECORD_OP = OBJ_TYPES,
    RECORD_CHANGE,
    RECORDS
}; /* pseudo-types: by operation of a reply, of a CHANGE */
#else
enum { RECORD_OP, RECORD_CHANGE };
static inline void error_record(unsigned type, unsigned method, err_t e)
{
    (void)type, (void)method, (void)e;
}
#endif

/* Finish a system call of t with an error (or ERR_OK) and nothing else. RAX still holds the call's number. */
static inline void thread_result(struct tcb *t, err_t e)
{
    if (e != ERR_OK)
        error_record(OBJ_NULL, 0 - (unsigned)t->regs.rax, e);
    t->regs.rax = e;
}

void ipc_send(struct tcb *t, struct cap *ep, bool call);
void ipc_recv(struct tcb *t, struct cap *ep, struct reply *reply, bool poll);
void notification_recv(struct tcb *t, struct cap *cap, bool poll);
/* Answer the caller held by reply with t's message. */
err_t ipc_reply(struct tcb *t, struct reply *reply);
/* The thread leaves whatever it waits for; its system call is executed again when it continues. */
void ipc_cancel(struct tcb *t);
/* A fault of the current thread: a Call to its fault endpoint, made by the kernel. */
void ipc_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2);

/* The first n capabilities that from's buffer names, to the slots that to has for them: how many arrived. */
unsigned transfer_caps(const struct tcb *from, const struct tcb *to, unsigned n);
void notification_signal(struct notification *n, uint64_t bits);
void timer_fired(struct timer *timer);

/* Finalisers: PREEMPTED while there are more waiters than one step may handle. */
err_t endpoint_finalise(struct endpoint *ep);
err_t notification_finalise(struct notification *n);
void reply_finalise(struct reply *r);

#endif
