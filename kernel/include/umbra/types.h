/* SPDX-License-Identifier: BSD-2-Clause */
/* Types that kernel and user programs share.
 *
 * The five address types are one-member structs: mixing two does not compile, and the code is the same.
 * Shared by every component; nothing here knows the kernel's insides. */
#ifndef UMBRA_TYPES_H
#define UMBRA_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t v;
} gva_t; /* guest linear address, bytes */
typedef struct {
    uint64_t v;
} gpa_t; /* guest physical address, bytes */
typedef struct {
    uint64_t v;
} hpa_t; /* host physical address, bytes; never leaves the kernel (I4) */
typedef struct {
    uint64_t v;
} gfn_t; /* guest frame number, 4 KiB */
typedef struct {
    uint64_t v;
} hfn_t; /* host frame number, 4 KiB */

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096ul

static inline gfn_t gfn_of(gpa_t a)
{
    return (gfn_t){ a.v >> PAGE_SHIFT };
}
static inline gpa_t gpa_of(gfn_t f)
{
    return (gpa_t){ f.v << PAGE_SHIFT };
}
static inline hfn_t hfn_of(hpa_t a)
{
    return (hfn_t){ a.v >> PAGE_SHIFT };
}
static inline hpa_t hpa_of(hfn_t f)
{
    return (hpa_t){ f.v << PAGE_SHIFT };
}

/* A capability's address in a CSpace: bits 0..15 index the root CNode; bits 16..31, when not 0, are one more
 * than an index into the CNode found there. */
typedef uint32_t cptr_t;
#define CPTR_NULL      0u
#define CPTR_SUB(i, j) ((cptr_t)(i) | (((cptr_t)(j) + 1) << 16))

#define BUILD_ASSERT(x) _Static_assert(x, #x)
#define BIT(n)          (1ull << (n))

#endif
