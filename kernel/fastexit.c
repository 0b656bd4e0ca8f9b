/* SPDX-License-Identifier: BSD-2-Clause */
/* The short path of a VM exit: ReplyRecv on a vCPU whose answer changes general registers, RIP, RFLAGS, CR2
 * and shadow entries at most. One list of checks that leave to the complete path (obj/vcpu.c) with nothing
 * changed, a point of no return, the commit, the guest, its next exit. What it does is exactly what
 * obj/vcpu.c would: the tests of tests/procs/test_vm.c go through both (answers with an interrupt window take
 * the complete path). */
#include "fastpath.h"
#include "invoke.h"

#define unlikely(x)  __builtin_expect(!!(x), 0)
#define QUICK_GROUPS (STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CR2)

/* The guest can be entered at once, and nobody else should run instead. */
static inline bool can_enter(const struct tcb *t, const struct vcpu *v)
{
    return !cpu.reschedule && !cpu.pending_timer && !cpu.pending_lines && cpu.last == t &&
           cpu.fpu_owner == v->fpu && !(v->bound && v->bound->bits) && !v->parked &&
           v->root.epoch == v->vm->space->epoch && arch_vcpu_root_fits(v);
}

/* Answered, but the guest is not entered from here, or came back without an exit: the complete path goes on.
 */
static struct regs *receive_slowly(struct tcb *t, struct vcpu *v)
{
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    vcpu_recv(t, v);
    return kernel_leave();
}

struct regs *fastpath_exit(struct tcb *t, const struct cap *c)
{
    struct vcpu *v = cap_object(c);
    const volatile struct umbra_reply_page *r = &v->reply;
    uint32_t groups = r->groups, words = r->op_words;
    uint64_t event = r->event;
    unsigned index = 0;
    err_t e;

    if (unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(!v->vm) || unlikely(!v->vm->space) ||
        unlikely(!v->pending) || unlikely(v->thread != NULL) || unlikely(r->seq != v->seq) ||
        unlikely(v->exit.kind == EXIT_BROKEN) || unlikely(groups & ~(uint32_t)QUICK_GROUPS) ||
        unlikely(r->flags) || unlikely(r->want != v->want) || unlikely(words > REPLY_OPS_MAX) ||
        (event && vcpu_check_event(event) != ERR_OK))
        return NULL;
    if (words && (e = shadow_apply(v, t, v->reply.ops, words, &index)) != ERR_OK) {
        COUNT(SYSCALLS);
        vcpu_refused(t, e, index);
        return kernel_leave();
    }
    /* point of no return */
    COUNT(SYSCALLS);
    arch_vcpu_answer(v, groups);
    v->event = event;
    v->window = v->parked = v->pending = 0;
    v->vm->public.answered = v->seq;
    v->exit.cr3_loads = 0;
    if (unlikely(!can_enter(t, v)))
        return receive_slowly(t, v);
    arch_thread_leave(t);
    enum exit_kind kind = arch_vcpu_run(v);
    arch_thread_resume(t);
    if (unlikely(kind == EXIT_NONE))
        return receive_slowly(t, v);
    vcpu_exit(v, kind);
    v->ops_done = 0;
    COUNT(EXITS_SENT);
    t->regs.rax = ERR_OK;
    t->regs.rdi = v->seq;
    t->regs.rsi = TAG(kind, 0);
    return &t->regs;
}
