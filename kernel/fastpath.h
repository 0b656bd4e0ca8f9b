/* SPDX-License-Identifier: BSD-2-Clause */
/* Short paths. Each returns the registers to continue with; where it does not fit, it leaves to the complete
 * path with nothing changed (or returns NULL where that is said). */
#ifndef KERNEL_FASTPATH_H
#define KERNEL_FASTPATH_H

#include "cpu.h"

struct regs *fastpath_call(struct tcb *t);
struct regs *fastpath_reply_recv(struct tcb *t);
struct regs *fastpath_yield(struct tcb *t);
struct regs *fastpath_signal(struct tcb *t);
struct regs *fastpath_wake(struct tcb *t, struct notification *n, uint64_t bits);     /* or NULL */
struct regs *fastpath_line(struct tcb *t);                                            /* or NULL */
struct regs *fastpath_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2); /* or NULL */
struct regs *fastpath_exit(struct tcb *t, const struct cap *vcpu);

/* syscall.c: the complete path of the system call in t's registers, and of an invocation of c, no endpoint.
 */
struct regs *syscall_complete(struct tcb *t);
struct regs *syscall_invoke(struct tcb *t, struct cap *c);

#endif
