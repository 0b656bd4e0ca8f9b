/* SPDX-License-Identifier: BSD-2-Clause */
/* The derivation tree with its private list in the open. */
#include "kernel/obj/cap.c"

struct cap *next_dying(const struct cap *head, const struct cap *z);
struct cap *next_dying(const struct cap *head, const struct cap *z)
{
    head = head ? head : &orphans;
    if (!z)
        return first_of(head);
    return at(z->d1) == head ? NULL : at(z->d1);
}
