/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree with its private lists in the open. */
#include "kernel/obj/cap.c"
#undef CHECK
#include "whole.h"

static struct cap kept;

struct cap *next_dying(const struct cap *head, const struct cap *z)
{
    head = head ? head : &orphans;
    if (!z)
        return first_of(head);
    return at(z->d1) == head ? NULL : at(z->d1);
}

void cap_keep(void)
{
    kept = orphans;
}

void cap_reset(void)
{
    orphans = kept;
    dying = &orphans;
}
