/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt lines and I/O ports for driver processes. A line is masked from its interrupt until IRQ_ACK. */
#include "invoke.h"

static err_t get(struct invocation *v)
{
    struct cap *slot;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    uint64_t line = arg(v, 0);
    if (line >= IRQ_LINES || line == 2) /* 2 is the cascade */
        return ERR_RANGE;
    if (cpu.irq_taken[line])
        return ERR_IRQ_TAKEN;
    err_t e = cspace_empty(v->caller, arg(v, 1), &slot);
    if (e != ERR_OK)
        return e;
    if (v->cap->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    *slot = (struct cap){ .type = OBJ_IRQ, .rights = RIGHT_ALL, .flags = CAP_ORIGINAL, .obj = line };
    cap_insert(slot, v->cap);
    cpu.irq_taken[line] = true;
    return ERR_OK;
}

err_t irqcontrol_invoke(struct invocation *v)
{
    return v->label == IRQCONTROL_GET ? get(v) : ERR_BAD_METHOD;
}

static err_t bind(const struct invocation *v, unsigned line)
{
    struct cap *c, *slot = &cpu.irq[line];

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_NOTIFICATION, RIGHT_WRITE, &c);
    if (e != ERR_OK)
        return e;
    if (slot->type != OBJ_NULL)
        return ERR_ALREADY_BOUND;
    if (c->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    slot->holder = OBJ_IRQ;
    cap_derive(slot, c, RIGHT_ALL, 0);
    arch_irq_unmask(line);
    return ERR_OK;
}

err_t irq_invoke(struct invocation *v)
{
    unsigned line = v->cap->obj;

    switch (v->label) {
    case IRQ_BIND:
        return bind(v, line);
    case IRQ_ACK:
        if (cpu.irq[line].type == OBJ_NULL)
            return ERR_NOT_BOUND;
        arch_irq_unmask(line);
        return ERR_OK;
    default:
        return ERR_BAD_METHOD;
    }
}

void irq_finalise(struct cap *cap)
{
    unsigned line = cap->obj;

    arch_irq_mask(line);
    if (cpu.irq[line].type != OBJ_NULL)
        cap_clear(&cpu.irq[line]);
    cpu.irq_taken[line] = false;
}

void irq_lost(struct cap *slot)
{
    arch_irq_mask(slot - cpu.irq);
}

/* --- ports --- */

static err_t port_argument(const struct invocation *v, unsigned words, uint64_t *port, uint64_t *width)
{
    if (v->words < words)
        return ERR_SHORT_MESSAGE;
    *port = arg(v, 0);
    *width = arg(v, 1);
    if (*width != 1 && *width != 2 && *width != 4)
        return ERR_RANGE;
    if (*port < v->cap->obj || *port > v->cap->d0 || *width - 1 > v->cap->d0 - *port)
        return REFUSED(ERR_PORT, "port %lx outside %lx..%lx", *port, v->cap->obj, v->cap->d0);
    return ERR_OK;
}

static err_t narrow(struct invocation *v)
{
    struct cap *slot;

    if (v->words < 3)
        return ERR_SHORT_MESSAGE;
    uint64_t first = arg(v, 1), last = arg(v, 2);
    if (first < v->cap->obj || last > v->cap->d0 || first > last)
        return ERR_PORT;
    err_t e = cspace_empty(v->caller, arg(v, 0), &slot);
    if (e != ERR_OK)
        return e;
    if (v->cap->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    *slot = (struct cap){ .type = OBJ_IOPORT, .rights = v->cap->rights, .obj = first, .d0 = last };
    cap_insert(slot, v->cap);
    return ERR_OK;
}

err_t ioport_invoke(struct invocation *v)
{
    uint64_t port, width;
    err_t e;

    switch (v->label) {
    case IOPORT_IN:
        e = port_argument(v, 2, &port, &width);
        if (e == ERR_OK)
            result(v, arch_port_in(port, width));
        return e;
    case IOPORT_OUT:
        e = port_argument(v, 3, &port, &width);
        if (e == ERR_OK)
            arch_port_out(port, width, arg(v, 2));
        return e;
    case IOPORT_NARROW:
        return narrow(v);
    default:
        return ERR_BAD_METHOD;
    }
}
