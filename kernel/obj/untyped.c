/* SPDX-License-Identifier: BSD-2-Clause */
/* Untyped memory and Retype: the only way in which kernel objects come to be.
 *
 * Invariants: objects made from an untyped lie in [0, d0) of it and never overlap; d0 falls back to 0 only
 * when it has no children. [0, d1) was zeroed since the last such fall (or d0 passed it); every object starts
 * zeroed. Zeroing may be interrupted: d1 is the progress, and the call is executed again. */
#include "invoke.h"
#include "retype_fit.h"

#define ZERO_CHUNK 4096ul

struct retype {
    struct cap *untyped, *slots;
    uint64_t start, stride, count; /* offsets in bytes */
    uint8_t type, bits, cap_bits;
    bool nested; /* a VM's paging */
};

/* Fixed sizes; 0: the caller chooses, 255: cannot be made by Retype. */
static const uint8_t object_bits[OBJ_TYPES] = {
    [OBJ_NULL] = 255,
    [OBJ_TCB] = BITS_TCB,
    [OBJ_SCHED] = BITS_SCHED,
    [OBJ_ENDPOINT] = BITS_ENDPOINT,
    [OBJ_REPLY] = BITS_REPLY,
    [OBJ_NOTIFICATION] = BITS_NOTIFICATION,
    [OBJ_TIMER] = BITS_TIMER,
    [OBJ_VSPACE] = BITS_VSPACE,
    [OBJ_PAGETABLE] = BITS_PAGETABLE,
    [OBJ_GUESTSPACE] = BITS_GUESTSPACE,
    [OBJ_VM] = BITS_VM,
    [OBJ_VCPU] = BITS_VCPU,
    [OBJ_SHADOW] = BITS_SHADOW,
    [OBJ_VIEW] = 255,
    [OBJ_IRQ] = 255,
    [OBJ_IRQCONTROL] = 255,
    [OBJ_IOPORT] = 255,
    [OBJ_SCHEDCONTROL] = 255,
    [OBJ_KERNEL] = 255,
};

/* The size in bits of one object: RANGE where the argument does not fit the type. */
static err_t size_of(unsigned type, uint64_t asked, uint8_t *bits)
{
    uint64_t low = 0, high = 0;

    if (type >= OBJ_TYPES || object_bits[type] == 255)
        return ERR_RANGE;
    *bits = object_bits[type];
    switch (type) {
    case OBJ_UNTYPED:
        low = UNTYPED_BITS_MIN, high = UNTYPED_BITS_MAX;
        break;
    case OBJ_CNODE:
        low = 1, high = CNODE_BITS_MAX;
        break;
    case OBJ_RANGE:
        low = PAGE_SHIFT, high = RANGE_BITS_MAX;
        break;
    case OBJ_FRAME:
        if (asked != FRAME_4K && asked != FRAME_2M)
            return ERR_RANGE;
        low = FRAME_4K, high = FRAME_2M;
        break;
    case OBJ_VM:
        return asked > VM_PAGING_NESTED ? ERR_RANGE : ERR_OK;
    default:
        return asked ? ERR_RANGE : ERR_OK;
    }
    if (asked < low || asked > high)
        return ERR_RANGE;
    *bits = type == OBJ_CNODE ? asked + BITS_SLOT : asked;
    return ERR_OK;
}

static err_t decode_retype(const struct invocation *v, struct retype *r)
{
    struct cap *u = v->cap, *cnode;
    uint64_t type, asked, size = 1ull << u->bits;

    if (v->words < 5)
        return ERR_SHORT_MESSAGE;
    type = arg(v, 0);
    asked = arg(v, 1);
    r->count = arg(v, 4);
    if (type >= OBJ_TYPES || r->count == 0 || r->count > RETYPE_MAX)
        return REFUSED(ERR_RANGE, "retype type %lu count %lu", type, r->count);
    r->type = type;
    err_t e = size_of(r->type, asked, &r->bits);
    if (e != ERR_OK)
        return REFUSED(e, "retype %s size %lu", object_name(type), asked);
    r->cap_bits = r->type == OBJ_CNODE ? r->bits - BITS_SLOT : r->bits;
    if ((u->flags & CAP_DEVICE) && type != OBJ_FRAME && type != OBJ_UNTYPED)
        return REFUSED(ERR_DEVICE_MEMORY, "retype device memory to %s", object_name(type));
    r->nested = type == OBJ_VM && asked == VM_PAGING_NESTED;
    if (((type == OBJ_VM || type == OBJ_VCPU) && !arch_vm_supported()) ||
        (r->nested && !arch_nested_supported()))
        return ERR_NO_SUPPORT;
    if (u->depth >= DERIVE_DEPTH_MAX)
        return REFUSED(ERR_TOO_DEEP, "retype at depth %u", u->depth);
    e = cspace_cap(v->caller, (cptr_t)arg(v, 2), OBJ_CNODE, RIGHT_WRITE, &cnode);
    if (e == ERR_OK)
        e = cnode_slots(cnode, arg(v, 3), r->count, &r->slots);
    if (e != ERR_OK)
        return e;
    r->stride = 1ull << r->bits;
    if (!retype_fit(size, u->d0, r->stride, r->count, &r->start))
        return REFUSED(ERR_NO_MEMORY, "untyped of %lx bytes, %lx used, %lu objects of %lx", size, u->d0,
                       r->count, r->stride);
    r->untyped = u;
    return ERR_OK;
}

/* Zero what the objects will cover and is not known to be zero. */
static err_t prepare_memory(const struct retype *r)
{
    struct cap *u = r->untyped;
    uint64_t end = r->start + r->count * r->stride;

    if (r->type == OBJ_UNTYPED || (u->flags & CAP_DEVICE))
        return ERR_OK;
    if (u->d0 <
        r->start) /* the gap before an aligned object is given up; there is none before a first child */
        u->d0 = r->start;
    if (u->d1 < u->d0)
        u->d1 = u->d0;
    while (u->d1 < end) {
        uint64_t n = end - u->d1 < ZERO_CHUNK ? end - u->d1 : ZERO_CHUNK;
        arch_zero(phys((hpa_t){ u->obj + u->d1 }), n);
        u->d1 += n;
        if (u->d1 < end && cpu_preempt_due())
            return PREEMPTED;
    }
    return ERR_OK;
}

static void init_object(const struct cap *c, bool nested)
{
    switch (c->type) {
    case OBJ_TCB: {
        struct tcb *t = cap_object(c);
        arch_regs_init(&t->regs);
        arch_fpu_init(t->fpu);
        t->cspace.holder = t->vspace.holder = t->ipc_buffer.holder = OBJ_TCB;
        t->fault.holder = t->sched.holder = t->notification.holder = OBJ_TCB;
        break;
    }
    case OBJ_SCHED:
        ((struct sched *)cap_object(c))->refill.kind = DEADLINE_REFILL;
        break;
    case OBJ_TIMER:
        ((struct timer *)cap_object(c))->notification.holder = OBJ_TIMER;
        break;
    case OBJ_VSPACE:
        arch_space_init(cap_object(c));
        *meta_of((hpa_t){ c->obj }) = (struct frame_meta){ META_VSPACE, unique_number() };
        break;
    case OBJ_GUESTSPACE: {
        struct guestspace *g = cap_object(c);
        g->epoch = unique_number();
        *meta_of((hpa_t){ c->obj }) = (struct frame_meta){ META_GUESTSPACE, unique_number() };
        break;
    }
    case OBJ_VM:
        ((struct vm *)cap_object(c))->guestspace.holder = OBJ_VM;
        ((struct vm *)cap_object(c))->nested = nested;
        *meta_of((hpa_t){ c->obj }) = (struct frame_meta){ META_VM, 0 };
        break;
    case OBJ_VCPU: {
        struct vcpu *vc = cap_object(c);
        vc->vm_slot.holder = vc->notification.holder = OBJ_VCPU;
        for (unsigned i = 0; i < ROOT_LIST_MAX; i++)
            vc->list_cr3[i] = NO_CR3;
        arch_vcpu_init(vc);
        break;
    }
    default:
        break;
    }
}

/* What of each new Untyped is known to be zero stays known. */
static void keep_zeroed(const struct retype *r, uint64_t zero_end)
{
    uint64_t offset = r->start;

    for (struct cap *c = r->slots; c < r->slots + r->count && offset < zero_end; c++, offset += r->stride)
        c->d1 = zero_end - offset < r->stride ? zero_end - offset : r->stride;
}

/* The slots are empty: all but what is set here is zero. */
static void fill_slots(const struct retype *r, const struct cap *model)
{
    uint64_t obj = r->untyped->obj + r->start, stride = r->stride;
    struct cap head = *model, *end = r->slots + r->count;

    for (struct cap *c = r->slots; c < end; c++, obj += stride) {
        ASSERT(!c->d0 && !c->d1);
        __builtin_memcpy(c, &head, offsetof(struct cap, obj));
        c->obj = obj;
    }
}

static void perform_retype(const struct retype *r)
{
    struct cap *u = r->untyped;
    bool large = r->type == OBJ_FRAME && r->bits == FRAME_2M;
    struct cap model = { .type = r->type,
                         .rights = RIGHT_ALL,
                         .flags = CAP_ORIGINAL | (u->flags & CAP_DEVICE) | (large ? CAP_LARGE : 0),
                         .bits = r->cap_bits };

    fill_slots(r, &model);
    cap_insert_row(r->slots, r->count, u);
    if (r->type == OBJ_UNTYPED)
        keep_zeroed(r, u->d1);
    for (uint64_t i = 0; i < r->count && r->type != OBJ_FRAME; i++)
        init_object(&r->slots[i], r->nested);
    u->d0 = r->start + r->count * r->stride;
    if (u->d1 < u->d0)
        u->d1 = u->d0;
}

/* Memory that objects have used is not zero any more: when the last child has gone, nothing is known of [0,
 * d0). */
static void forget_if_free(struct cap *u)
{
    if (!u->child && u->d0 && !(u->flags & CAP_CONDEMNED)) {
        u->d0 = 0;
        u->d1 = 0;
    }
}

err_t untyped_invoke(struct invocation *v)
{
    struct retype r;

    if (v->label != UNTYPED_RETYPE)
        return ERR_BAD_METHOD;
    forget_if_free(v->cap);
    err_t e = decode_retype(v, &r);
    if (e == ERR_OK)
        e = prepare_memory(&r);
    if (e != ERR_OK)
        return e;
    perform_retype(&r);
    return ERR_OK;
}
