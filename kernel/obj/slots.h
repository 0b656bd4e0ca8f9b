/* SPDX-License-Identifier: BSD-2-Clause */
/* Which slots a CNode has for others, and which one an index names. Pure; proved by WP (docs/assurance.md,
 * kernel.slot-bounds). */
#ifndef KERNEL_SLOTS_H
#define KERNEL_SLOTS_H

#include "cap.h"

/* Slot 0 is the kernel's. */
/*@ assigns \nothing;
    ensures bounds: \result <==> 0 < index < size; */
static inline bool slot_within(uint64_t size, uint64_t index)
{
    return index != 0 && index < size;
}

/* Slots first .. first + n - 1 are. */
/*@ assigns \nothing;
    ensures bounds: \result <==> 0 < first < size && first + n <= size; */
static inline bool slots_within(uint64_t size, uint64_t first, uint64_t n)
{
    return slot_within(size, first) && n <= size - first;
}

/* The slot that index names among the size of a CNode; NULL: none. */
/*@ requires \valid_read(slots + (0 .. size - 1));
    assigns \nothing;
    ensures the_one_named: 0 < index < size ==> \result == slots + index && \valid_read(\result);
    ensures no_other: index == 0 || index >= size ==> \result == \null; */
static inline struct cap *slot_at(struct cap *slots, uint64_t size, uint64_t index)
{
    return slot_within(size, index) ? slots + index : NULL;
}

#endif
