/* SPDX-License-Identifier: BSD-2-Clause */
/* Which ASID a root's translations are kept under, and when one is given out again. Pure; proved by WP
 * (docs/assurance.md, kernel.asids). */
#ifndef KERNEL_ASID_H
#define KERNEL_ASID_H

#include <umbra/types.h>

#define ASIDS 65536u /* a root's ASID is kept with the generation that gave it out: a multiple of this */

struct asids {
    uint64_t floor; /* the present generation, ASID 0 of it, which is the host's */
    uint32_t next;
};

/*@ predicate asids_kept(struct asids *a, integer limit) = \valid(a) && 1 < limit <= ASIDS &&
        1 <= a->next <= limit && ASIDS <= a->floor && a->floor % ASIDS == 0; */

/* The next of limit ASIDS, which no root has. all: the TLB is to be emptied of every one before. */
/*@ requires asids_kept(a, limit) && \valid(all) && \separated(a, all);
    requires for_ever: a->floor <= UINT64_MAX - 2 * ASIDS;
    assigns *a, *all;
    ensures kept: asids_kept(a, limit);
    ensures of_the_processor: 0 < \result % ASIDS < limit;
    ensures never_before: \result >= \old(a->floor + a->next);
    ensures given_once: \result < a->floor + a->next;
    ensures present: \result >= a->floor >= \old(a->floor);
    ensures emptied: *all != 0 <==> a->floor != \old(a->floor); */
static inline uint64_t asid_take(struct asids *a, uint32_t limit, bool *all)
{
    *all = a->next >= limit;
    if (*all) {
        a->next = 1;
        a->floor += ASIDS;
    }
    return a->floor + a->next++;
}

/* What the TLB has under a root's ASID is that root's, and nothing of it has gone since. */
/*@ requires \valid_read(a);
    assigns \nothing;
    ensures of_this_generation: \result ==> asid >= a->floor;
    ensures nothing_owed: \result ==> seen == downgrades;
    ensures used_again: asid >= a->floor && seen == downgrades ==> \result; */
static inline bool asid_is_current(const struct asids *a, uint64_t asid, uint64_t seen, uint64_t downgrades)
{
    return asid >= a->floor && seen == downgrades;
}

#endif
