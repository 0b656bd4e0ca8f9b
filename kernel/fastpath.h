/* SPDX-License-Identifier: BSD-2-Clause */
/* Each returns the registers to continue with, or NULL with nothing changed: then the complete path is taken.
 */
#ifndef KERNEL_FASTPATH_H
#define KERNEL_FASTPATH_H

#include "cpu.h"

struct regs *fastpath_call(struct tcb *t);
struct regs *fastpath_reply_recv(struct tcb *t);
struct regs *fastpath_exit(struct tcb *t, const struct cap *vcpu);
struct regs *fastpath_fault(struct tcb *t, uint32_t label, uint64_t w1, uint64_t w2);

#endif
