/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads: configuration and life. How they run is in sched.c, how they talk in ipc.c. */
#include "invoke.h"
#include "ipc.h"
#include "arch/pte.h"

#define RFLAGS_USER 0xcd5ull /* CF PF AF ZF SF DF OF */
#define RFLAGS_FIX  0x202ull /* reserved one, IF */

struct configure {
    struct cap *cspace, *vspace, *buffer, *fault;
};

static err_t optional_cap(const struct invocation *v, unsigned i, unsigned type, unsigned rights,
                          struct cap **out)
{
    *out = NULL;
    return (cptr_t)arg(v, i) ? cspace_cap(v->caller, (cptr_t)arg(v, i), type, rights, out) : ERR_OK;
}

/* A thread that runs in an address space is not pulled out of it. */
static err_t must_be_stopped(const struct tcb *t)
{
    return t->state == THREAD_INACTIVE ? ERR_OK : ERR_WRONG_STATE;
}

static err_t decode_configure(const struct invocation *v, struct tcb *t, struct configure *c)
{
    if (v->words < 4)
        return ERR_SHORT_MESSAGE;
    err_t e = must_be_stopped(t);
    if (e == ERR_OK)
        e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_CNODE, RIGHT_WRITE, &c->cspace);
    if (e == ERR_OK)
        e = cspace_cap(v->caller, (cptr_t)arg(v, 1), OBJ_VSPACE, RIGHT_WRITE, &c->vspace);
    if (e == ERR_OK)
        e = optional_cap(v, 2, OBJ_FRAME, RIGHT_READ | RIGHT_WRITE, &c->buffer);
    if (e == ERR_OK)
        e = optional_cap(v, 3, OBJ_ENDPOINT, RIGHT_WRITE, &c->fault);
    if (e != ERR_OK)
        return e;
    if (c->buffer && (c->buffer->flags & CAP_DEVICE))
        return ERR_DEVICE_MEMORY;
    if (c->cspace->depth >= DERIVE_DEPTH_MAX || c->vspace->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    if ((c->buffer && c->buffer->depth >= DERIVE_DEPTH_MAX) ||
        (c->fault && c->fault->depth >= DERIVE_DEPTH_MAX))
        return ERR_TOO_DEEP;
    return ERR_OK;
}

static void replace(struct cap *slot, struct cap *with)
{
    if (slot->type != OBJ_NULL)
        cap_clear(slot);
    if (with)
        cap_derive(slot, with, RIGHT_ALL, 0);
}

static void perform_configure(struct tcb *t, const struct configure *c)
{
    replace(&t->cspace, c->cspace);
    tcb_set_slots(t);
    replace(&t->vspace, c->vspace);
    replace(&t->ipc_buffer, c->buffer);
    replace(&t->fault, c->fault);
    t->buffer = c->buffer ? cap_object(&t->ipc_buffer) : NULL;
}

static err_t set_sched(struct invocation *v, struct tcb *t)
{
    struct cap *sc;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t priority = arg(v, 1);
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_SCHED, RIGHT_WRITE, &sc);
    if (e != ERR_OK)
        return e;
    struct sched *s = cap_object(sc);
    if (priority >= PRIORITIES)
        return ERR_RANGE;
    if (priority > s->ceiling)
        return REFUSED(ERR_PRIORITY, "priority %lu above ceiling %u", priority, s->ceiling);
    if (s->tcb && s->tcb != t)
        return REFUSED(ERR_ALREADY_BOUND, "scheduling context has a thread");
    if (sc->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    if (t == cpu.current)
        sched_account();
    if (t->sc && t->sc != s)
        t->sc->tcb = NULL;
    replace(&t->sched, sc);
    t->sc = s;
    s->tcb = t;
    thread_priority(t, priority);
    thread_requeue(t);
    return ERR_OK;
}

static err_t write_regs(const struct invocation *v, struct tcb *t)
{
    if (v->words < 6)
        return ERR_SHORT_MESSAGE;
    uint64_t rip = arg(v, 0), rsp = arg(v, 1), rdi = arg(v, 2), rsi = arg(v, 3), flags = arg(v, 4),
             fs = arg(v, 5);
    err_t e = t->state == THREAD_FAULTED ? ERR_OK : must_be_stopped(t);
    if (e != ERR_OK)
        return e;
    if (rip >= USER_END || fs >= USER_END)
        return REFUSED(ERR_RANGE, "rip %lx fs %lx", rip, fs);
    t->regs.rip = rip;
    t->regs.rsp = rsp;
    t->regs.rdi = rdi;
    t->regs.rsi = rsi;
    t->regs.rflags = (flags & RFLAGS_USER) | RFLAGS_FIX;
    t->regs.vector = 0;
    t->fs_base = fs;
    return ERR_OK;
}

#define REG(r) (offsetof(struct regs, r) / 8)

static err_t read_regs(struct invocation *v, struct tcb *t)
{
    static const uint8_t order[] = { REG(rip), REG(rsp), REG(rflags), 0,        REG(rax), REG(rcx), REG(rdx),
                                     REG(rbx), REG(rbp), REG(rsi),    REG(rdi), REG(r8),  REG(r9),  REG(r10),
                                     REG(r11), REG(r12), REG(r13),    REG(r14), REG(r15) };

    if (cpu.last == t)
        arch_thread_leave(t); /* its bases are in the registers */
    for (unsigned i = 0; i < sizeof(order); i++)
        result(v, i == 3 ? t->fs_base : ((const uint64_t *)&t->regs)[order[i]]);
    return ERR_OK;
}

static err_t resume(struct tcb *t)
{
    if (t->state != THREAD_INACTIVE && t->state != THREAD_FAULTED)
        return ERR_WRONG_STATE;
    if (t->cspace.type == OBJ_NULL || t->vspace.type == OBJ_NULL)
        return ERR_NOT_BOUND;
    t->faulting = 0;
    t->state = THREAD_READY;
    thread_ready(t);
    cpu.reschedule = true;
    return ERR_OK;
}

static err_t bind_notification(const struct invocation *v, struct tcb *t)
{
    struct cap *c;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = optional_cap(v, 0, OBJ_NOTIFICATION, RIGHT_READ, &c);
    if (e != ERR_OK)
        return e;
    struct notification *n = c ? cap_object(c) : NULL;
    if (n && ((n->tcb && n->tcb != t) || n->vcpu || n->queue.head))
        return ERR_ALREADY_BOUND;
    if (c && c->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    if (t->bound)
        t->bound->tcb = NULL;
    replace(&t->notification, c);
    t->bound = n;
    if (n) {
        n->tcb = t;
        if (n->bits && t->state == THREAD_RECV)
            notification_signal(n, 0);
    }
    return ERR_OK;
}

static err_t set_address(const struct invocation *v, uint64_t *where)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    uint64_t address = arg(v, 0);
    if (address >= USER_END)
        return ERR_RANGE;
    *where = address;
    return ERR_OK;
}

static err_t set_tls(const struct invocation *v, struct tcb *t)
{
    err_t e = set_address(v, &t->fs_base);

    if (e == ERR_OK && cpu.last == t) {
        uint64_t base = t->fs_base; /* in the register an old value may stand */
        arch_thread_leave(t);
        t->fs_base = base;
        cpu.last = NULL;
        cpu.reschedule = true;
    }
    return e;
}

static err_t set_fixup(const struct invocation *v, struct tcb *t)
{
    if (v->words < 3)
        return ERR_SHORT_MESSAGE;
    uint64_t start = arg(v, 0), bytes = arg(v, 1), landing = arg(v, 2);
    if (landing >= USER_END)
        return ERR_RANGE;
    t->fixup_start = start;
    t->fixup_bytes = bytes;
    t->landing = landing;
    return ERR_OK;
}

err_t tcb_invoke(struct invocation *v)
{
    struct tcb *t = cap_object(v->cap);
    struct configure c;
    err_t e;

    switch (v->label) {
    case TCB_CONFIGURE:
        e = decode_configure(v, t, &c);
        if (e == ERR_OK)
            perform_configure(t, &c);
        return e;
    case TCB_SET_SCHED:
        return set_sched(v, t);
    case TCB_WRITE_REGS:
        return write_regs(v, t);
    case TCB_READ_REGS:
        return read_regs(v, t);
    case TCB_RESUME:
        return resume(t);
    case TCB_SUSPEND:
        thread_stop(t);
        return ERR_OK;
    case TCB_BIND_NOTIFICATION:
        return bind_notification(v, t);
    case TCB_SET_HANDLER:
        return set_address(v, &t->handler);
    case TCB_SET_TLS:
        return set_tls(v, t);
    case TCB_SET_FIXUP:
        return set_fixup(v, t);
    default:
        return ERR_BAD_METHOD;
    }
}

void tcb_finalise(struct tcb *t)
{
    thread_stop(t);
    cap_work_inherit(&t->dying);
    if (t->sc)
        t->sc->tcb = NULL;
    if (t->bound)
        t->bound->tcb = NULL;
    struct cap *slots[] = { &t->cspace, &t->vspace, &t->ipc_buffer, &t->fault, &t->sched, &t->notification };
    for (unsigned i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
        if (slots[i]->type != OBJ_NULL)
            cap_clear(slots[i]);
    arch_fpu_drop(t->fpu);
    if (cpu.last == t) {
        cpu.last = NULL;
        arch_kernel_space();
    }
}

/* One of its capabilities was revoked. Without CSpace or VSpace it cannot run. */
void tcb_lost(struct cap *slot)
{
    struct tcb *t = (struct tcb *)((uintptr_t)slot & ~((1ul << BITS_TCB) - 1));

    if (slot == &t->cspace || slot == &t->vspace) {
        thread_stop(t);
        t->slot_count = slot == &t->cspace ? 0 : t->slot_count;
        if (slot == &t->vspace && cpu.last == t) {
            arch_thread_leave(t);
            cpu.last = NULL;
            arch_kernel_space();
        }
    } else if (slot == &t->ipc_buffer) {
        t->buffer = NULL;
    } else if (slot == &t->sched) {
        if (t == cpu.current)
            sched_account();
        t->sc->tcb = NULL;
        t->sc = NULL;
        thread_requeue(t);
    } else if (slot == &t->notification) {
        t->bound->tcb = NULL;
        t->bound = NULL;
    }
}
