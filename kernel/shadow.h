/* SPDX-License-Identifier: BSD-2-Clause */
/* What both ways of a reply's operation check and compute: the complete one (obj/shadow.c) and the short one
 * (fastexit.c). */
#ifndef KERNEL_SHADOW_H
#define KERNEL_SHADOW_H

#include "arch/pte.h"
#include "objects.h"

#define LARGE_PAGES 512u

/* The metadata is of a shadow table of the VM. */
static inline bool shadow_is_of(uint64_t owner, const struct vm *vm)
{
    return (uint32_t)owner == (uint32_t)(META_SHADOW | phys_to_hpa(vm).v >> PAGE_SHIFT << 4);
}
static inline unsigned meta_level(uint64_t owner)
{
    return owner >> 32 & 15;
}
static inline unsigned meta_format(uint64_t owner)
{
    return owner >> 36 & 3;
}

static inline uint64_t entry_flags(unsigned rights)
{
    BUILD_ASSERT((unsigned)SH_WRITE == PTE_W && (unsigned)SH_USER == PTE_U && SH_DIRTY == PTE_D >> 2 &&
                 SH_EXEC == BIT(3));
    return PTE_P | PTE_A | (rights & (SH_WRITE | SH_USER)) | (rights & SH_DIRTY) << 2 |
           (uint64_t)(~rights & SH_EXEC) << 60;
}

/* The guest space's entry for a frame. */
static inline uint64_t *guest_leaf(struct guestspace *g, uint64_t gfn)
{
    uint64_t *table = g->table;

    if (gfn >= GUEST_FRAMES_MAX)
        return NULL;
    for (unsigned l = 3; l > 1; l--) {
        uint64_t *e = &table[pte_index(gfn << PAGE_SHIFT, l)];
        if (!(*e & PTE_P))
            return NULL;
        if (*e & PTE_PS)
            return e;
        table = phys(pte_hpa(*e));
    }
    uint64_t *e = &table[gfn % TABLE_ENTRIES];
    return *e & PTE_P ? e : NULL;
}

/* A leaf for the frame at gfn, which the guest space has as pte: what the VMM asks, no more than that gives.
 */
static inline uint64_t leaf_of(uint64_t pte, uint64_t gfn, uint64_t flags)
{
    uint64_t new = pte_hpa(pte).v | flags;

    if (pte & PTE_PS)
        new += gfn % LARGE_PAGES << PAGE_SHIFT;
    return pte & PTE_W ? new : new & ~(uint64_t)PTE_W;
}

/* The dirty log: the leaf may be written. */
static inline void log_writable(uint64_t *guest, uint64_t pte, uint64_t leaf)
{
    if ((leaf & PTE_W) && !(pte & PTE_D))
        *guest = pte | PTE_D;
}

/* A leaf, in place of what stood there, is less, or other. */
static inline bool leaf_takes(uint64_t old, uint64_t new)
{
    return ((old ^ new) & PTE_ADDRESS) | (old & ~new &(PTE_W | PTE_U | PTE_D)) | (new & ~old &PTE_NX);
}

#endif
