/* SPDX-License-Identifier: BSD-2-Clause */
/* From a type to its file: invocation, end of life, loss of a slot, dump. Debug builds record every refusal.
 */
#include "invoke.h"
#include "ipc.h"

typedef err_t (*invoke_fn)(struct invocation *v);

static const invoke_fn handlers[OBJ_TYPES] = {
    [OBJ_UNTYPED] = untyped_invoke,
    [OBJ_CNODE] = cnode_invoke,
    [OBJ_TCB] = tcb_invoke,
    [OBJ_SCHED] = sched_invoke,
    [OBJ_TIMER] = timer_invoke,
    [OBJ_FRAME] = frame_invoke,
    [OBJ_PAGETABLE] = pagetable_invoke,
    [OBJ_GUESTSPACE] = guestspace_invoke,
    [OBJ_VM] = vm_invoke,
    [OBJ_VCPU] = vcpu_invoke,
    [OBJ_SHADOW] = shadow_invoke,
    [OBJ_VIEW] = view_invoke,
    [OBJ_IRQ] = irq_invoke,
    [OBJ_IRQCONTROL] = irqcontrol_invoke,
    [OBJ_IOPORT] = ioport_invoke,
    [OBJ_KERNEL] = kernelcap_invoke,
};

#if UMBRA_DEBUG
#define METHODS_RECORDED 16
static uint8_t recorded[RECORDS][METHODS_RECORDED][(ERR_COUNT + 7) / 8];

void error_record(unsigned type, unsigned method, err_t e)
{
    if (method >= METHODS_RECORDED || e == ERR_BAD_METHOD || e == ERR_BAD_SYSCALL)
        method = 0;
    if (e < ERR_COUNT)
        recorded[type][method][e / 8] |= 1u << e % 8;
}

void errors_dump(void)
{
    static const char *const names[] = UMBRA_ERROR_NAMES;
    static const char *const extra[RECORDS] = {
        [OBJ_NULL] = "syscall", [RECORD_OP] = "op", [RECORD_CHANGE] = "change"
    };

    for (unsigned t = 0; t < RECORDS; t++)
        for (unsigned m = 0; m < METHODS_RECORDED; m++)
            for (unsigned e = 1; e < ERR_COUNT; e++)
                if (recorded[t][m][e / 8] & 1u << e % 8)
                    log_printf("error-seen %s %u %s\n", extra[t] ? extra[t] : object_name(t), m, names[e]);
}
#else
void errors_dump(void) {}
#endif

err_t invoke(struct invocation *v)
{
    unsigned type = v->cap->type;
    err_t e;

    if (!handlers[type])
        e = ERR_BAD_METHOD;
    else if (!(v->cap->rights & RIGHT_WRITE) && type != OBJ_FRAME && type != OBJ_VIEW)
        e = ERR_NO_RIGHT;
    else
        e = handlers[type](v);
    if (e != ERR_OK && e != PREEMPTED) {
        error_record(type, v->label, e);
        return REFUSED(e, "%s method %u", object_name(type), v->label);
    }
    return e;
}

/* What every capability loses; then, if it is the original, the object. */
err_t object_finalise(struct cap *c)
{
    if (c->type == OBJ_FRAME)
        frame_unmap(c);
    if (c->type == OBJ_VIEW)
        view_unmap(c);
    if (!(c->flags & CAP_ORIGINAL))
        return ERR_OK;
    switch (c->type) {
    case OBJ_TCB:
        tcb_finalise(cap_object(c));
        break;
    case OBJ_SCHED:
        sched_finalise(cap_object(c));
        break;
    case OBJ_ENDPOINT:
        return endpoint_finalise(cap_object(c));
    case OBJ_NOTIFICATION:
        return notification_finalise(cap_object(c));
    case OBJ_REPLY:
        reply_finalise(cap_object(c));
        break;
    case OBJ_TIMER: {
        struct timer *t = cap_object(c);
        deadline_remove(&t->deadline);
        if (t->notification.type != OBJ_NULL)
            cap_clear(&t->notification);
        break;
    }
    case OBJ_RANGE:
        return range_finalise(c);
    case OBJ_VSPACE:
        vspace_finalise(c);
        break;
    case OBJ_PAGETABLE:
        return pagetable_finalise(c);
    case OBJ_GUESTSPACE:
        guestspace_finalise(cap_object(c));
        break;
    case OBJ_VM:
        vm_finalise(cap_object(c));
        break;
    case OBJ_VCPU:
        vcpu_finalise(cap_object(c));
        break;
    case OBJ_SHADOW:
        shadow_finalise(c);
        break;
    case OBJ_IRQ:
        irq_finalise(c);
        break;
    default:
        break;
    }
    return ERR_OK;
}

void holder_lost(struct cap *slot)
{
    switch (slot->holder) {
    case OBJ_TCB:
        tcb_lost(slot);
        break;
    case OBJ_TIMER:
        timer_lost(slot);
        break;
    case OBJ_VM:
        vm_lost(slot);
        break;
    case OBJ_VCPU:
        vcpu_lost(slot);
        break;
    case OBJ_IRQ:
        irq_lost(slot);
        break;
    default:
        break;
    }
}

static void tcb_dump(const struct tcb *t)
{
    static const char *const states[] = { "inactive", "ready",        "guest",  "send",   "recv",
                                          "reply",    "notification", "parked", "faulted" };
    log_printf("  thread %s priority %u rip=%lx rsp=%lx rax=%lx fault=%x (%lx %lx)\n",
               t->state < THREAD_FAULTED + 1 ? states[t->state] : "?", t->priority, t->regs.rip, t->regs.rsp,
               t->regs.rax, t->fault_label, t->fault_words[1], t->fault_words[2]);
}

void object_dump(const struct cap *c)
{
    cap_dump(c);
    switch (c->type) {
    case OBJ_TCB:
        tcb_dump(cap_object(c));
        break;
    case OBJ_SCHED: {
        const struct sched *s = cap_object(c);
        log_printf("  budget %lu of %lu, %lu left, ceiling %u\n", s->budget, s->period, s->remaining,
                   s->ceiling);
        break;
    }
    case OBJ_ENDPOINT: {
        const struct endpoint *e = cap_object(c);
        log_printf("  first waiter %p\n", (void *)e->queue.head);
        break;
    }
    case OBJ_NOTIFICATION:
        log_printf("  bits %lx\n", ((const struct notification *)cap_object(c))->bits);
        break;
    case OBJ_TIMER: {
        const struct timer *t = cap_object(c);
        log_printf("  %s %lu\n", t->deadline.queued ? "armed" : "idle", t->deadline.when);
        break;
    }
    case OBJ_GUESTSPACE:
        log_printf("  epoch %lu\n", ((const struct guestspace *)cap_object(c))->epoch);
        break;
    case OBJ_VM: {
        const struct vm *vm = cap_object(c);
        log_printf("  epoch %lu downgrades %lu answered %lu\n", vm->space ? vm->space->epoch : 0,
                   vm->downgrades, vm->public.answered);
        break;
    }
    case OBJ_VCPU: {
        const struct vcpu *v = cap_object(c);
        log_printf("  exit %lu kind %u %s rip=%lx root epoch %lu\n", v->exit.seq, v->exit.kind,
                   v->pending ? "pending" : "answered", v->exit.rip, v->root.epoch);
        arch_vcpu_dump(v);
        break;
    }
    case OBJ_SHADOW: {
        const struct frame_meta *m = meta_of((hpa_t){ c->obj });
        log_printf("  owner %lx epoch %lu links %lu\n", m->owner, m->stamp, META_SHADOW_LINKS(m->owner));
        break;
    }
    default:
        break;
    }
}
