/* SPDX-License-Identifier: BSD-2-Clause */
/* The capability that a short path uses. Pure; proved by WP (docs/assurance.md, kernel.lookup). */
#ifndef KERNEL_LOOKUP_H
#define KERNEL_LOOKUP_H

#include "objects.h"

/* A one-level CSpace lookup for the thread that runs. Slot 0 never holds what is used. */
/*@ requires \valid_read(t) && \valid(c) && \separated(t, c);
    requires its_slots: t->slot_count > 0 ==> \valid_read(t->slots + (0 .. t->slot_count - 1));
    assigns *c;
    ensures within: \result ==> p < t->slot_count && \valid_read(*c);
    ensures the_one_named: \result ==> *c == t->slots + p;
    ensures refused_only_outside: !\result ==> p >= t->slot_count; */
static inline bool quick_slot(const struct tcb *t, uint32_t p, struct cap **c)
{
    if (p >= t->slot_count)
        return false;
    *c = t->slots + p;
    return true;
}

#endif
