/* SPDX-License-Identifier: BSD-2-Clause */
/* Invocations of kernel objects: arguments, capability arguments, results. One method a decode/perform pair
 * in obj/.
 *
 * Arguments in the IPC buffer are shared memory: arg() reads, and every decoder calls it once an argument. */
#ifndef KERNEL_INVOKE_H
#define KERNEL_INVOKE_H

#include "cpu.h"
#include "log.h"

struct invocation {
    struct tcb *caller;
    struct cap *cap; /* the invoked capability */
    uint32_t label, words;
    uint64_t w[MSG_REGISTERS];
    const volatile uint64_t *buffer;
    /* results */
    uint32_t result_words;
    uint64_t r[MSG_WORDS_MAX]; /* not initialised */
};

static inline uint64_t arg(const struct invocation *v, unsigned i)
{
    return i < MSG_REGISTERS ? v->w[i] : v->buffer[i];
}

static inline void result(struct invocation *v, uint64_t word)
{
    v->r[v->result_words++] = word;
}

/* The slot that a cptr names in t's CSpace; NULL: none. The slot may be empty. */
struct cap *cspace_slot(const struct tcb *t, cptr_t p);
/* A capability argument: NO_CAP, WRONG_TYPE, NO_RIGHT. */
err_t cspace_cap(const struct tcb *t, cptr_t p, unsigned type, unsigned rights, struct cap **out);
static inline bool cap_is(const struct cap *c, unsigned type, unsigned rights)
{
    return c && c->type == type && (c->rights & rights) == rights;
}
/* Why c, what the CSpace has at p, is not what is needed. */
err_t cap_refusal(const struct cap *c, cptr_t p, unsigned type, unsigned rights);
/* An empty slot of the caller's root CNode for a new capability: RANGE, SLOT_OCCUPIED. */
err_t cspace_empty(const struct tcb *t, uint64_t index, struct cap **out);
/* Slots first .. first + n - 1 of a CNode, all empty: RANGE, SLOT_OCCUPIED. Slot 0 is the kernel's. */
err_t cnode_slots(const struct cap *cnode, uint64_t first, uint64_t n, struct cap **out);

err_t invoke(struct invocation *v);
void object_dump(const struct cap *c);
void errors_dump(void); /* which refusals were returned since boot; debug builds */

err_t untyped_invoke(struct invocation *v);
err_t cnode_invoke(struct invocation *v);
err_t tcb_invoke(struct invocation *v);
err_t sched_invoke(struct invocation *v);
err_t timer_invoke(struct invocation *v);
err_t frame_invoke(struct invocation *v);
err_t pagetable_invoke(struct invocation *v);
err_t guestspace_invoke(struct invocation *v);
err_t view_invoke(struct invocation *v);
err_t vm_invoke(struct invocation *v);
err_t vcpu_invoke(struct invocation *v);
err_t shadow_invoke(struct invocation *v);
err_t irq_invoke(struct invocation *v);
err_t irqcontrol_invoke(struct invocation *v);
err_t ioport_invoke(struct invocation *v);
err_t kernelcap_invoke(struct invocation *v);
err_t kernel_audit(struct invocation *v); /* obj/audit.c */
err_t kernel_graph(struct invocation *v); /* obj/graph.c */
err_t kernel_space(struct invocation *v);

/* Finalisers and losses of the object types (invoke.c calls them). */
void tcb_finalise(struct tcb *t);
void tcb_lost(struct cap *slot);
void sched_finalise(struct sched *s);
void timer_lost(struct cap *slot);
void frame_unmap(struct cap *cap);
void vspace_finalise(struct cap *cap);
err_t pagetable_finalise(struct cap *cap);
void view_unmap(struct cap *cap);
void guestspace_finalise(struct guestspace *g);
err_t range_finalise(struct cap *cap);
void vm_finalise(struct vm *vm);
void vm_lost(struct cap *slot);
void vcpu_finalise(struct vcpu *v);
void vcpu_lost(struct cap *slot);
void shadow_finalise(struct cap *cap);
void irq_finalise(struct cap *cap);
void irq_lost(struct cap *slot);

/* obj/guestspace.c */
/* The frame that the guest space has at gfn: its PTE, or 0. */
uint64_t guestspace_lookup(const struct guestspace *g, uint64_t gfn);
uint64_t *guestspace_entry(struct guestspace *g, uint64_t gfn);
void guestspace_bump(struct guestspace *g);

/* vcpu.c: a thread receives on a vCPU, or answers it; what the guest does next. */
void vcpu_recv(struct tcb *t, struct vcpu *v);
err_t vcpu_reply(struct tcb *t, struct vcpu *v, unsigned *index);
/* The result of a refused or preempted answer, which stopped at operation word index. */
void vcpu_refused(struct tcb *t, err_t e, unsigned index);
/* An exit comes to be: it is pending until answered. */
/* The groups that this exit shall have besides what all have. */
void vcpu_wanted(struct vcpu *v, enum exit_kind kind);
/* The exit that has come is the pending one, with the number that is returned; epoch: of its VM's guest
 * space. If vcpu_wants() something, vcpu_wanted() is next. */
static inline uint64_t vcpu_exit(struct vcpu *v, enum exit_kind kind, uint64_t epoch)
{
    struct umbra_exit_page *x = &v->exit;
    uint64_t seq = x->seq + 1;

    x->kind = kind;
    x->seq = v->open = seq;
    x->epoch = epoch;
    x->tsc = arch_now();
    x->valid = STATE_GPRS | STATE_RIP | STATE_RFLAGS | STATE_CR2;
    v->ops_done = 0;
    return seq;
}
static inline bool vcpu_wants(const struct vcpu *v, enum exit_kind kind)
{
    return !(v->spare >> kind & 1);
}
void vcpu_signalled(struct vcpu *v);
void vcpu_cancel(struct tcb *t);
/* The VM has lost its memory: who receives on its vCPUs is told. */
void vcpus_stop(const struct vm *vm);
/* Run the guest of the current thread once. */
void vcpu_run(struct tcb *t);
/* obj/shadow.c: one operation list: OK, or an error and the index where it stopped. */
err_t shadow_apply(struct vcpu *v, struct tcb *t, const uint64_t *ops, unsigned words, unsigned *index);

/* The vCPU leaves its VM: its roots hold no tables any more. */
void shadow_roots_drop(struct vcpu *v);
/* The guest loads CR3 with this value: if it is on the root list, in this epoch, the vCPU has that root now
 * and its VMM will be told by the exit page. */
bool shadow_serve_cr3(struct vcpu *v, uint64_t cr3);

#endif
