/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree with its private lists in the open. */
#include "kernel/obj/cap.c"
#undef CHECK
#include "whole.h"

static struct cap kept;
#if __has_include("kernel/obj/graph.c") /* there capabilities without a parent are a list */
static struct cap *kept_boot;
#endif

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
#if __has_include("kernel/obj/graph.c")
    kept_boot = boot;
#endif
}

void cap_reset(void)
{
    orphans = kept;
    dying = &orphans;
#if __has_include("kernel/obj/graph.c")
    boot = kept_boot;
    cap_changes++;
#endif
}
