/* SPDX-License-Identifier: BSD-2-Clause */
/* Which slots a CNode has for others. Pure; proved by WP (docs/assurance.md, kernel.slot-bounds). */
#ifndef KERNEL_SLOTS_H
#define KERNEL_SLOTS_H

#include <umbra/types.h>

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

#endif
