/* SPDX-License-Identifier: BSD-2-Clause */
/* vCPUs: a guest processor as the endpoint of its own exits.
 *
 * Invariants: an exit that is pending is delivered again, unchanged, until it is answered by its number (I7);
 * only the kernel writes the exit page; of a refused reply nothing but the operations before the refused one
 * stands. */
#include "event.h"
#include "invoke.h"
#include "ipc.h"
#include "stretch.h"

static struct umbra_reply_page reply_copy; /* the kernel is not reentrant: one a processor */

/* --- exits --- */

/* t does not wait for v any more. */
static void release(struct tcb *t, struct vcpu *v)
{
    t->state = THREAD_READY;
    t->vcpu = NULL;
    v->thread = NULL;
}

static void complete(struct tcb *t, struct vcpu *v)
{
    v->ops_done = 0;
    release(t, v);
    thread_result(t, ERR_OK);
    t->regs.rdi = v->exit.seq;
    t->regs.rsi = TAG(v->exit.kind, 0);
    COUNT(EXITS_SENT);
}

static void read_groups(struct vcpu *v, uint32_t groups)
{
    arch_vcpu_read(v, groups);
    if (groups & STATE_RANDOM)
        v->exit.random = arch_random();
    v->exit.valid |= groups;
}

void vcpu_wanted(struct vcpu *v, enum exit_kind kind)
{
    if (kind == EXIT_BROKEN)
        v->open = 0; /* nothing answers it */
    read_groups(v, v->want);
}

static void deliver(struct vcpu *v, enum exit_kind kind)
{
    stretch_is(STRETCH_EXIT + kind);
    vcpu_exit(v, kind, v->vm->space->epoch);
    if (vcpu_wants(v, kind))
        vcpu_wanted(v, kind);
    v->pending = 1;
    v->parked = 0;
}

/* Exits before entry give back the event that was to be injected. */
static void exit_before_entry(struct vcpu *v, enum exit_kind kind)
{
    v->exit.info[0] = v->exit.info[1] = 0;
    v->exit.nbytes = v->exit.ilen = 0;
    v->exit.interrupted = v->event;
    v->event = 0;
    arch_vcpu_read(v, STATE_RIP | STATE_RFLAGS | STATE_CR2);
    deliver(v, kind);
}

void vcpu_recv(struct tcb *t, struct vcpu *v)
{
    if (!v->vm || !v->vm->space) {
        thread_result(t, REFUSED(ERR_NOT_BOUND, "receive on a vCPU without VM or guest memory"));
        return;
    }
    if (v->thread && v->thread != t) {
        thread_result(t, REFUSED(ERR_ALREADY_BOUND, "another thread receives on the vCPU"));
        return;
    }
    if (!v->started) {
        v->started = 1;
        exit_before_entry(v, EXIT_START);
    }
    t->vcpu = v;
    v->thread = t;
    if (v->pending) {
        v->exit.epoch = v->vm->space->epoch; /* a second receiver must not name stale tables */
        complete(t, v);
    } else if (v->parked && !(v->bound && v->bound->bits)) {
        thread_block(t, THREAD_PARKED);
    } else {
        t->state = THREAD_GUEST;
    }
}

/* A thread that receives on a vCPU which lost its VM, or ends, is told so. */
static void stop_receiver(struct vcpu *v)
{
    struct tcb *t = v->thread;

    v->open = 0; /* what the short path takes for granted may not hold any more */
    if (!t)
        return;
    release(t, v);
    thread_result(t, ERR_CANCELLED);
    thread_ready(t);
}

void vcpus_stop(const struct vm *vm)
{
    for (struct vcpu *v = vm->vcpus; v; v = v->next)
        stop_receiver(v);
}

void vcpu_run(struct tcb *t)
{
    struct vcpu *v = t->vcpu;

    if (v->bound && v->bound->bits) {
        exit_before_entry(v, EXIT_EVENT);
        v->exit.events = v->bound->bits;
        v->bound->bits = 0;
    } else if (v->root.epoch != v->vm->space->epoch || v->root.format != v->format) {
        exit_before_entry(v, EXIT_ROOT);
    } else { /* from here on as the short path does it */
        thread_load(t);
        release(t, v);
        v->pending = 1;
        v->parked = 0;
        arch_vcpu_run(v);
    }
    complete(t, v);
}

void vcpu_signalled(struct vcpu *v)
{
    struct tcb *t = v->thread;

    if (t && t->state == THREAD_PARKED) {
        t->state = THREAD_GUEST;
        thread_ready(t);
    }
}

void vcpu_cancel(struct tcb *t)
{
    if (t->vcpu)
        t->vcpu->thread = NULL;
    t->vcpu = NULL;
}

/* --- answers --- */

/* Read each word of the reply that counts, once. */
static void copy_reply(const struct umbra_reply_page *shared, struct umbra_reply_page *r)
{
    const volatile struct umbra_reply_page *s = shared;

    r->groups = s->groups;
    r->flags = s->flags;
    r->want = s->want;
    r->spare = s->spare;
    r->op_words = s->op_words;
    r->event = s->event;
    r->gpr_mask = r->groups & STATE_GPRS ? s->gpr_mask : 0;
    for (unsigned m = r->gpr_mask; m; m &= m - 1) {
        unsigned i = __builtin_ctz(m);
        r->gpr[i] = s->gpr[i];
    }
    r->rip = s->rip;
    r->shadow = s->shadow;
    r->rflags = s->rflags;
    r->cr2 = s->cr2;
    if (r->groups & STATE_CONTROL) {
        r->cr0 = s->cr0;
        r->cr4 = s->cr4;
        r->efer = s->efer;
        r->cr3 = s->cr3;
    }
    if (r->groups & STATE_SEGMENTS)
        for (unsigned i = 0; i < SEGS; i++) {
            r->seg[i].selector = s->seg[i].selector;
            r->seg[i].attributes = s->seg[i].attributes;
            r->seg[i].limit = s->seg[i].limit;
            r->seg[i].base = s->seg[i].base;
        }
    if (r->groups & STATE_MSRS) {
        const volatile uint64_t *from = &s->msrs.star;
        uint64_t *to = &r->msrs.star;
        for (unsigned i = 0; i < sizeof(r->msrs) / 8; i++)
            to[i] = from[i];
    }
    if (r->groups & STATE_DEBUG) {
        for (unsigned i = 0; i < 4; i++)
            r->dr[i] = s->dr[i];
        r->dr6 = s->dr6;
        r->dr7 = s->dr7;
    }
    r->tsc_offset = s->tsc_offset;
}

void vcpu_refused(struct tcb *t, err_t e, unsigned index)
{
    if (e == PREEMPTED) {
        t->regs.rip -= SYSCALL_BYTES;
        return;
    }
    thread_result(t, REFUSED(e, "reply to exit, operation word %u", index));
    t->regs.rsi = TAG(0, 1);
    t->regs.rdx = index;
}

err_t vcpu_reply(struct tcb *t, struct vcpu *v, unsigned *index)
{
    struct umbra_reply_page *r = &reply_copy;

    if (!v->vm || !v->vm->space)
        return ERR_NOT_BOUND;
    if (!v->pending || *(volatile uint64_t *)&v->reply.seq != v->exit.seq)
        return REFUSED(ERR_WRONG_SEQUENCE, "answers exit %lu, pending %lu", v->reply.seq, v->exit.seq);
    if (v->exit.kind == EXIT_BROKEN)
        return REFUSED(ERR_WRONG_STATE, "this guest has ended");
    copy_reply(&v->reply, r);
    if (r->op_words > REPLY_OPS_MAX || (r->groups & ~STATE_ALL) || (r->want & ~STATE_ALL))
        return ERR_RANGE;
    err_t e = vcpu_check_event(r->event);
    if (e == ERR_OK)
        e = arch_vcpu_check(v, r);
    if (e != ERR_OK)
        return e;
    if (r->op_words)
        e = shadow_apply(v, t, v->reply.ops, r->op_words, index);
    if (e != ERR_OK)
        return e;
    if (r->groups)
        arch_vcpu_write(v, r);
    v->want = r->want;
    v->spare = r->spare & ~(1u << EXIT_BROKEN);
    v->event = r->event;
    v->exit.cr3_loads = 0;
    v->window = !!(r->flags & REPLY_WINDOW);
    v->parked = !!(r->flags & REPLY_PARK);
    if (v->event || v->window)
        v->odd |= ODD_ENTRY;
    v->pending = 0;
    v->open = 0;
    v->vm->public.answered = v->exit.seq;
    return ERR_OK;
}

/* --- the capability --- */

static err_t bind(struct invocation *v, struct vcpu *vc)
{
    struct cap *vm;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_VM, RIGHT_WRITE, &vm);
    if (e != ERR_OK)
        return e;
    if (vc->vm)
        return ERR_ALREADY_BOUND;
    if (vm->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    struct vm *m = cap_object(vm);
    unsigned n = 0;
    for (const struct vcpu *o = m->vcpus; o; o = o->next)
        n++;
    if (n >= VCPUS_MAX)
        return ERR_RANGE;
    cap_derive(&vc->vm_slot, vm, RIGHT_ALL, 0);
    if (!n)
        m->public.answered = 0; /* exits are counted anew */
    vc->vm = m;
    arch_vcpu_paging(vc, m->nested);
    vc->next = m->vcpus;
    m->vcpus = vc;
    return ERR_OK;
}

static void leave_vm(struct vcpu *v)
{
    stop_receiver(v);
    if (!v->vm)
        return;
    shadow_roots_drop(v);
    struct vcpu **at = &v->vm->vcpus;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    v->vm = NULL;
}

static err_t bind_notification(struct invocation *v, struct vcpu *vc)
{
    struct cap *c = NULL;
    err_t e = ERR_OK;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    cptr_t p = (cptr_t)arg(v, 0);
    if (p)
        e = cspace_cap(v->caller, p, OBJ_NOTIFICATION, RIGHT_READ, &c);
    if (e != ERR_OK)
        return e;
    struct notification *n = c ? cap_object(c) : NULL;
    if (n && (n->tcb || (n->vcpu && n->vcpu != vc) || n->queue.head))
        return ERR_ALREADY_BOUND;
    if (c && c->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    if (vc->bound) {
        vc->bound->vcpu = NULL;
        cap_clear(&vc->notification);
    }
    vc->bound = n;
    if (n) {
        cap_derive(&vc->notification, c, RIGHT_ALL, 0);
        n->vcpu = vc;
        if (n->bits)
            vcpu_signalled(vc);
    }
    return ERR_OK;
}

static err_t view(struct invocation *v, struct vcpu *vc)
{
    struct cap *slot;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t which = arg(v, 1);
    if (which > 1)
        return ERR_RANGE;
    err_t e = cspace_empty(v->caller, arg(v, 0), &slot);
    if (e != ERR_OK)
        return e;
    if (v->cap->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    *slot = (struct cap){ .type = OBJ_VIEW,
                          .rights = which ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ,
                          .kind = which ? VIEW_REPLY : VIEW_EXIT,
                          .obj = which ? phys_to_hpa(&vc->reply).v : phys_to_hpa(&vc->exit).v };
    cap_insert(slot, v->cap);
    return ERR_OK;
}

static err_t sync(struct invocation *v, struct vcpu *vc)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    uint64_t groups = arg(v, 0);
    if (groups & ~(uint64_t)STATE_ALL)
        return ERR_RANGE;
    if (!vc->pending)
        return ERR_WRONG_STATE;
    read_groups(vc, groups);
    return ERR_OK;
}

err_t vcpu_invoke(struct invocation *v)
{
    struct vcpu *vc = cap_object(v->cap);

    switch (v->label) {
    case VCPU_BIND:
        return bind(v, vc);
    case VCPU_BIND_NOTIFICATION:
        return bind_notification(v, vc);
    case VCPU_VIEW:
        return view(v, vc);
    case VCPU_SYNC:
        return sync(v, vc);
    default:
        return ERR_BAD_METHOD;
    }
}

void vcpu_finalise(struct vcpu *v)
{
    leave_vm(v);
    if (v->bound)
        v->bound->vcpu = NULL;
    if (v->notification.type != OBJ_NULL)
        cap_clear(&v->notification);
    if (v->vm_slot.type != OBJ_NULL)
        cap_clear(&v->vm_slot);
    arch_fpu_drop(v->fpu);
}

void vcpu_lost(struct cap *slot)
{
    struct vcpu *v = (struct vcpu *)((uintptr_t)slot & ~((1ul << BITS_VCPU) - 1));

    if (slot == &v->vm_slot) {
        leave_vm(v);
    } else {
        v->bound->vcpu = NULL;
        v->bound = NULL;
    }
}
