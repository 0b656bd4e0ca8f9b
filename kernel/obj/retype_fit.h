/* SPDX-License-Identifier: BSD-2-Clause */
/* Where Retype puts new objects in an Untyped, by offsets in bytes. Pure; proved by WP (docs/assurance.md,
 * kernel.retype-fit). */
#ifndef KERNEL_RETYPE_FIT_H
#define KERNEL_RETYPE_FIT_H

#include <umbra/types.h>

/* The first place behind `used`, at a multiple of stride, of count objects of stride bytes each (a power
 * of two or not): as each begins at a multiple of its size, they do not overlap. False: they do not fit. */
/*@ requires stride > 0 && count > 0 && \valid(start);
    assigns *start;
    ensures behind_what_is_used: \result ==> used <= *start < used + stride;
    ensures aligned: \result ==> *start % stride == 0;
    ensures within: \result ==> *start + count * stride <= size;
    ensures refused_only_if_full: !\result ==>
        \forall integer s; s >= used && s % stride == 0 ==> s + count * stride > size; */
static inline bool retype_fit(uint64_t size, uint64_t used, uint64_t stride, uint64_t count, uint64_t *start)
{
    if (stride > size || used > size - stride)
        return false;
    *start = (used + stride - 1) / stride * stride;
    return count <= (size - *start) / stride;
}

#endif
