/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a guest's run: inline for the one place where an exit arrives (arch/x86_64/svm.c). The rest is
 * in fastexit.c. */
#ifndef KERNEL_FASTEXIT_H
#define KERNEL_FASTEXIT_H

#include "fastpath.h"
#include "invoke.h"
#include "stretch.h"

/* The guest came out without an exit, or has been answered and is not entered from the short path: the
 * complete path goes on. */
struct regs *fastpath_receive(struct tcb *t, struct vcpu *v);
/* The exit shall have more than all have. */
struct regs *fastpath_wanted(struct tcb *t, struct vcpu *v, enum exit_kind kind);

/* What arch_vcpu_go_on() and arch_vcpu_run() end in. */
static inline struct regs *fastpath_exited(struct vcpu *v, enum exit_kind kind)
{
    struct tcb *t = cpu.current;

    if (__builtin_expect(kind == EXIT_NONE, false))
        return fastpath_receive(t, v);
    stretch_is(STRETCH_EXIT + kind);
    t->regs.rdi = vcpu_exit(v, kind, v->root.epoch);
    t->regs.rsi = TAG(kind, 0);
    t->regs.rax = ERR_OK;
    COUNT(EXITS_SENT);
    if (vcpu_wants(v, kind))
        return fastpath_wanted(t, v, kind);
    stretch_end();
    return &t->regs;
}

#endif
