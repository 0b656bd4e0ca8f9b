/* SPDX-License-Identifier: BSD-2-Clause */
/* The short path of a VM exit: ReplyRecv on a vCPU whose answer changes general registers, RIP, RFLAGS, CR2
 * and shadow entries at most. One list of checks that leave to the complete path (obj/vcpu.c) with nothing
 * changed, a point of no return, the commit, the guest, its next exit. What it does is exactly what
 * obj/vcpu.c would: tests/procs/test_answer_paths.c sends random answers through both.
 *
 * vcpu.open stands for what need not be looked at: an exit is pending, not EXIT_BROKEN, no thread receives,
 * and the VM has guest memory. While user code ran, cpu.attention was 0 and cpu.last the thread. */
#include "fastpath.h"
#include "invoke.h"
#include "stretch.h"

#define unlikely(x)  __builtin_expect(!!(x), 0)
#define QUICK_GROUPS (STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CR2)

/* Pairs of fields that are read at once; of a vCPU they are not aligned to both. */
typedef uint64_t pair_t __attribute__((aligned(4), may_alias));
#define PAIR(object, first, second)                                                                          \
    ({                                                                                                       \
        BUILD_ASSERT(offsetof(__typeof__(*(object)), second) == offsetof(__typeof__(*(object)), first) + 4); \
        *(const volatile pair_t *)&(object)->first;                                                          \
    })

/* The guest can be entered at once, and its FPU state is there. */
static inline bool can_enter(const struct vcpu *v)
{
    return cpu.fpu_owner == v->fpu && v->root.epoch == v->vm->space->epoch && !(v->bound && v->bound->bits) &&
           (v->root.format == v->format || arch_vcpu_root_fits(v));
}

/* Answered, but the guest is not entered from here, or came back without an exit: the complete path goes on.
 */
static __attribute__((noinline)) struct regs *receive_slowly(struct tcb *t, struct vcpu *v)
{
    v->open = 0;
    v->pending = 0;
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    vcpu_recv(t, v);
    return kernel_leave();
}

static __attribute__((noinline)) struct regs *cannot_enter(struct tcb *t, struct vcpu *v, uint32_t groups)
{
    arch_vcpu_answer(v, groups);
    return receive_slowly(t, v);
}

/* The commit, and the guest's next exit. What says that one is pending stays for that. */
static inline struct regs *go_on(struct tcb *t, struct vcpu *v, uint32_t groups)
{
    COUNT(SYSCALLS);
    v->window = 0;
    v->vm->public.answered = v->seq;
    v->exit.cr3_loads = 0;
    if (unlikely(!can_enter(v)))
        return cannot_enter(t, v, groups);
    arch_thread_leave(t);
    arch_vcpu_go_on(v, groups);
}

static __attribute__((noinline)) struct regs *with_wanted(struct tcb *t, struct vcpu *v, enum exit_kind kind)
{
    vcpu_wanted(v, kind);
    stretch_end();
    return &t->regs;
}

struct regs *fastpath_exited(struct vcpu *v, enum exit_kind kind)
{
    struct tcb *t = cpu.current;

    arch_thread_resume(t);
    if (unlikely(kind == EXIT_NONE)) {
        struct regs *next = receive_slowly(t, v);
        stretch_end();
        return next;
    }
    stretch_is(STRETCH_EXIT + kind);
    bool wanted = vcpu_exit(v, kind, v->root.epoch);
    COUNT(EXITS_SENT);
    t->regs.rax = ERR_OK;
    t->regs.rdi = v->seq;
    t->regs.rsi = TAG(kind, 0);
    if (wanted)
        return with_wanted(t, v, kind);
    stretch_end();
    return &t->regs;
}

/* An answer with more than registers. */
static __attribute__((noinline)) struct regs *go_on_with(struct tcb *t, struct vcpu *v, uint32_t groups,
                                                         uint32_t words, uint64_t event)
{
    unsigned index = 0;
    err_t e = ERR_OK;

    if (words > REPLY_OPS_MAX || (event && vcpu_check_event(event) != ERR_OK))
        return syscall_complete(t);
    if (words)
        e = shadow_apply(v, t, v->reply.ops, words, &index);
    if (e != ERR_OK) {
        COUNT(SYSCALLS);
        vcpu_refused(t, e, index);
        return kernel_leave();
    }
    v->event = event;
    if (event)
        v->odd |= EVENT_TYPE(event) == EVENT_INTERRUPT ? ODD_ENTRY : ODD_EVENT;
    return go_on(t, v, groups);
}

struct regs *fastpath_exit(struct tcb *t, const struct cap *c)
{
    struct vcpu *v = cap_object(c);
    const struct umbra_reply_page *r = &v->reply;
    uint64_t seq = *(const volatile uint64_t *)&r->seq, what = PAIR(r, flags, groups);

    if (unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(!seq) || unlikely(seq != v->open) ||
        unlikely(what & ~((uint64_t)QUICK_GROUPS << 32)) ||
        unlikely(PAIR(r, want, spare) != PAIR(v, want, spare)))
        return syscall_complete(t);
    uint64_t event = *(const volatile uint64_t *)&r->event;
    uint32_t words = *(const volatile uint32_t *)&r->op_words;
    if (words || event)
        return go_on_with(t, v, what >> 32, words, event);
    /* point of no return */
    return go_on(t, v, what >> 32);
}
