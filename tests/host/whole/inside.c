/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree with its private lists in the open. */
#include "kernel/obj/cap.c"
#undef CHECK
#include "whole.h"

static struct cap kept;
static struct cap *kept_boot;

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
    kept_boot = boot;
}

void cap_reset(void)
{
    orphans = kept;
    dying = &orphans;
    boot = kept_boot;
    cap_changes++;
}
