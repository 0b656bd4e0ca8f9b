/* SPDX-License-Identifier: BSD-2-Clause */
/* The short path of a VM exit: ReplyRecv on a vCPU whose answer changes general registers, RIP, RFLAGS, CR2
 * and shadow entries at most. One list of checks that leave to the complete path (obj/vcpu.c) with nothing
 * changed, a point of no return, the commit, the guest, its next exit. What it does is exactly what
 * obj/vcpu.c and obj/shadow.c would: tests/procs/test_answer_paths.c sends random answers through both.
 *
 * vcpu.open stands for what need not be looked at: an exit is pending, not EXIT_BROKEN, no thread receives,
 * and the VM has guest memory. While user code ran, cpu.attention was 0 and cpu.last the thread. */
#include "fastexit.h"
#include "lookup.h"
#include "obj/event.h"
#include "quick.h"
#include "shadow.h"
#include "softtlb.h"

#define QUICK_GROUPS (STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CR2)
BUILD_ASSERT(!(QUICK_GROUPS & (QUICK_GROUPS + 1))); /* so they are compared */

/* Pairs of fields that are read at once; of a vCPU they are not aligned to both. */
typedef uint64_t pair_t __attribute__((aligned(4), may_alias));
#define PAIR(object, first, second)                                                                          \
    ({                                                                                                       \
        BUILD_ASSERT(offsetof(__typeof__(*(object)), second) == offsetof(__typeof__(*(object)), first) + 4); \
        *(const volatile pair_t *)&(object)->first;                                                          \
    })

/* The guest can be entered at once, and its FPU state is there. */
static inline bool can_enter(const struct vcpu *v, const struct vm *vm)
{
    return cpu.fpu_owner == v->fpu && v->root.epoch == vm->space->epoch && !(v->bound && v->bound->bits) &&
           v->root.format == v->format;
}

__attribute__((noinline)) struct regs *fastpath_receive(struct tcb *t, struct vcpu *v)
{
    v->open = 0;
    v->pending = 0;
    t->regs.rax = (uint64_t)SYS_RECV; /* what is executed again if the wait is undone */
    vcpu_recv(t, v);
    struct regs *next = kernel_leave();
    stretch_end();
    return next;
}

static __attribute__((noinline)) struct regs *cannot_enter(struct tcb *t, struct vcpu *v, uint32_t groups)
{
    v->window = 0;
    arch_vcpu_answer(v, groups);
    return fastpath_receive(t, v);
}

/* The commit, and the guest's next exit. What says that one is pending stays for that. */
static inline struct regs *go_on(struct tcb *t, struct vcpu *v, uint64_t seq, uint32_t groups)
{
    struct vm *vm = v->vm;

    COUNT(SYSCALLS);
    vm->public.answered = seq;
    v->exit.cr3_loads = 0;
    if (unlikely(!can_enter(v, vm)))
        return cannot_enter(t, v, groups);
    return arch_vcpu_go_on(v, groups);
}

__attribute__((noinline)) struct regs *fastpath_wanted(struct tcb *t, struct vcpu *v, enum exit_kind kind)
{
    vcpu_wanted(v, kind);
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
    return go_on(t, v, v->open, groups);
}

static inline void entry_goes(struct vm *vm, uint64_t *entry)
{
    softtlb_change(entry, 0);
    *entry = 0;
    vm->downgrades++;
}

/* The operations are one, on one entry of a table at level 1: a leaf, or an entry that goes. What
 * shadow_apply() checks is checked, then all of it is done; false: nothing is. */
static inline bool apply_entry(struct vcpu *v, const struct tcb *t, uint32_t words)
{
    const volatile uint64_t *ops = v->reply.ops;
    struct vm *vm = v->vm;
    uint64_t w0 = ops[0], index = w0 >> 16 & 0xffff, *guest = NULL, new = 0, pte = 0;
    struct cap *c;

    if (!quick_slot(t, w0 >> 32, &c) || c->type != OBJ_SHADOW || !(c->rights & RIGHT_WRITE) || v->ops_done)
        return false;
    struct frame_meta *m = &frame_meta[c->obj >> PAGE_SHIFT];
    uint64_t *entry = (uint64_t *)cap_object(c) + index;
    if (!shadow_is_of(m->owner, vm) || meta_level(m->owner) != 1 || m->stamp != vm->space->epoch ||
        index >= TABLE_ENTRIES)
        return false;
    if (words == 1 && (w0 & 0xff) == OP_DROP) {
        if (*entry & PTE_P)
            entry_goes(vm, entry);
        return true;
    }
    uint64_t w1 = ops[1], gfn = w1 & 0xffffffffffff;
    if (words != 2 || (w0 & (0xff | SH_LARGE << 8 | SH_READ << 8)) != (OP_FILL_RUN | SH_READ << 8) ||
        w1 >> 48 != 1 || !(guest = guest_leaf(vm->space, gfn)))
        return false;
    pte = *guest;
    new = leaf_of(pte, gfn, entry_flags(w0 >> 8));
    /* point of no return */
    log_writable(guest, pte, new);
    if ((*entry & PTE_P) && leaf_takes(*entry, new))
        entry_goes(vm, entry);
    softtlb_change(entry, new);
    *entry = new;
    m->owner |= META_SHADOW_BLOCK(index);
    return true;
}

static __attribute__((noinline)) struct regs *go_on_with_entry(struct tcb *t, struct vcpu *v, uint32_t groups,
                                                               uint32_t words)
{
    if (!apply_entry(v, t, words))
        return go_on_with(t, v, groups, words, 0);
    return go_on(t, v, v->open, groups);
}

struct regs *fastpath_exit(struct tcb *t, const struct cap *c)
{
    struct vcpu *v = cap_object(c);
    const struct umbra_reply_page *r = &v->reply;
    uint64_t seq = *(const volatile uint64_t *)&r->seq, what = PAIR(r, flags, groups);
    what = what >> 32 | what << 32; /* groups alone, if there are no flags */

    if (unlikely(!(c->rights & RIGHT_WRITE)) || unlikely(!seq) || unlikely(seq != v->open) ||
        unlikely(what > QUICK_GROUPS) || unlikely(PAIR(r, want, spare) != PAIR(v, want, spare)))
        return syscall_complete(t);
    uint64_t event = *(const volatile uint64_t *)&r->event;
    uint32_t words = *(const volatile uint32_t *)&r->op_words;
    if (unlikely(words | event)) {
        if (words - 1 < 2 && !event)
            return go_on_with_entry(t, v, (uint32_t)what, words);
        return go_on_with(t, v, (uint32_t)what, words, event);
    }
    /* point of no return */
    return go_on(t, v, seq, (uint32_t)what);
}
