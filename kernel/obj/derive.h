/* SPDX-License-Identifier: BSD-2-Clause */
/* What may be derived from a capability, and what comes of it. Pure; proved by WP (docs/assurance.md,
 * kernel.derive-check, kernel.derive-rights). */
#ifndef KERNEL_DERIVE_H
#define KERNEL_DERIVE_H

#include "cap.h"

/* A child of src may be made in dest; badge 0: none. SLOT_OCCUPIED, NOT_DERIVABLE, TOO_DEEP, RANGE (badge on
 * a badged capability, or on a type without). */
/*@ requires \valid_read(dest) && \valid_read(src);
    assigns \nothing;
    ensures into_an_empty_slot: \result == ERR_OK ==> dest->type == OBJ_NULL;
    ensures no_second_of_one: \result == ERR_OK ==>
        src->type != OBJ_UNTYPED && src->type != OBJ_RANGE && src->type != OBJ_VIEW &&
        src->type != OBJ_PAGETABLE && src->type != OBJ_IRQCONTROL && src->type != OBJ_REPLY;
    ensures not_of_the_dying: \result == ERR_OK ==> (src->flags & CAP_ZOMBIE) == 0;
    ensures badge_of_a_type: \result == ERR_OK && badge != 0 ==>
        src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION;
    ensures badge_once: \result == ERR_OK && badge != 0 ==> (src->flags & CAP_BADGED) == 0;
    ensures not_too_deep: \result == ERR_OK ==> src->depth < DERIVE_DEPTH_MAX; */
static inline err_t cap_derive_check(const struct cap *dest, const struct cap *src, uint64_t badge)
{
    if (dest->type != OBJ_NULL)
        return ERR_SLOT_OCCUPIED;
    if (src->type == OBJ_UNTYPED || src->type == OBJ_RANGE || src->type == OBJ_VIEW ||
        src->type == OBJ_PAGETABLE || src->type == OBJ_IRQCONTROL || src->type == OBJ_REPLY ||
        (src->flags & CAP_ZOMBIE))
        return ERR_NOT_DERIVABLE;
    if (badge && ((src->type != OBJ_ENDPOINT && src->type != OBJ_NOTIFICATION) || (src->flags & CAP_BADGED)))
        return ERR_RANGE;
    if (src->depth >= DERIVE_DEPTH_MAX)
        return ERR_TOO_DEEP;
    return ERR_OK;
}

/* What a derived capability is, but for its place in the tree. */
/*@ requires \valid_read(src);
    assigns \nothing;
    ensures no_right_more: \result.rights == (src->rights & rights);
    ensures same_object: \result.type == src->type && \result.obj == src->obj && \result.bits == src->bits;
    ensures same_place: \result.holder == holder;
    ensures no_flag_more: \result.flags == (src->flags & (CAP_DEVICE | CAP_BADGED | CAP_LARGE)) ||
        (badge != 0 && (src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION));
    ensures badge_kept: (src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION) && badge == 0 ==>
        \result.d0 == src->d0;
    ensures badge_given: (src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION) && badge != 0 ==>
        \result.d0 == badge;
    ensures same_ports: src->type == OBJ_IOPORT ==> \result.d0 == src->d0;
    ensures mapped_nowhere: \result.d1 == 0; */
static inline struct cap derived(const struct cap *src, uint8_t holder, uint8_t rights, uint64_t badge)
{
    struct cap c = { .type = src->type,
                     .rights = src->rights & rights,
                     .flags = src->flags & (CAP_DEVICE | CAP_BADGED | CAP_LARGE),
                     .bits = src->bits,
                     .holder = holder,
                     .obj = src->obj };

    if (src->type == OBJ_ENDPOINT || src->type == OBJ_NOTIFICATION) {
        c.d0 = badge ? badge : src->d0;
        c.flags |= badge ? CAP_BADGED : 0;
    } else if (src->type == OBJ_IOPORT) {
        c.d0 = src->d0;
    }
    return c;
}

#endif
