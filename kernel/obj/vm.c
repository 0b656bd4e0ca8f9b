/* SPDX-License-Identifier: BSD-2-Clause */
/* VMs: what ties a GuestSpace, vCPUs and shadow tables together. */
#include "invoke.h"
#include "softtlb.h"

static err_t bind(struct invocation *v, struct vm *vm)
{
    struct cap *g;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_cap(v->caller, (cptr_t)arg(v, 0), OBJ_GUESTSPACE, RIGHT_READ | RIGHT_WRITE, &g);
    if (e != ERR_OK)
        return e;
    if (vm->space)
        return ERR_ALREADY_BOUND;
    if (g->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    cap_derive(&vm->guestspace, g, RIGHT_ALL, 0);
    vm->space = cap_object(g);
    return ERR_OK;
}

static err_t status(struct invocation *v, const struct vm *vm)
{
    result(v, vm->space ? vm->space->epoch : 0);
    result(v, vm->downgrades);
    result(v, vm->public.answered);
    return ERR_OK;
}

static err_t view(struct invocation *v, struct vm *vm)
{
    struct cap *slot;

    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    err_t e = cspace_empty(v->caller, arg(v, 0), &slot);
    if (e != ERR_OK)
        return e;
    if (v->cap->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    *slot = (struct cap){
        .type = OBJ_VIEW, .rights = RIGHT_READ, .kind = VIEW_PUBLIC, .obj = phys_to_hpa(&vm->public).v
    };
    cap_insert(slot, v->cap);
    return ERR_OK;
}

/* All shadow tables and roots become stale at once, and the guest enters on none before new ones are made. */
static err_t renew(struct invocation *v, struct vm *vm)
{
    if (!vm->space)
        return ERR_NOT_BOUND;
    guestspace_bump(vm->space);
    result(v, vm->space->epoch);
    return ERR_OK;
}

err_t vm_invoke(struct invocation *v)
{
    struct vm *vm = cap_object(v->cap);

    switch (v->label) {
    case VM_BIND:
        return bind(v, vm);
    case VM_STATUS:
        return status(v, vm);
    case VM_VIEW:
        return view(v, vm);
    case VM_RENEW:
        return renew(v, vm);
    default:
        return ERR_BAD_METHOD;
    }
}

/* Tables of this VM may go unseen from now on, while the GuestSpace lives on and another VM, or this one
 * again, is bound to it: what was current must not be current then (I2, I3). */
static void leave_space(struct vm *vm)
{
    vcpus_stop(vm);
    if (vm->space)
        guestspace_bump(vm->space);
    vm->space = NULL;
    softtlb_left(vm);
}

void vm_finalise(struct vm *vm)
{
    leave_space(vm);
    if (vm->guestspace.type != OBJ_NULL)
        cap_clear(&vm->guestspace);
    *meta_of(phys_to_hpa(vm)) = (struct frame_meta){ 0, 0 };
}

void vm_lost(struct cap *slot)
{
    leave_space((struct vm *)((uintptr_t)slot & ~((1ul << BITS_VM) - 1)));
}
