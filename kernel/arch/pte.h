/* SPDX-License-Identifier: BSD-2-Clause */
/* Page-table entries of the processor (APM vol. 2, 5.3, 5.4): encoding only, pure. */
#ifndef KERNEL_PTE_H
#define KERNEL_PTE_H

#include <umbra/types.h>

enum {
    PTE_P = 1,
    PTE_W = 2,
    PTE_U = 4,
    PTE_PWT = 8,
    PTE_PCD = 16,
    PTE_A = 32,
    PTE_D = 64,
    PTE_PS = 128,
    PTE_G = 256,
};
#define PTE_NX        BIT(63)
#define PTE_ADDRESS   0x000ffffffffff000ul
#define PTE_FLAGS     (~PTE_ADDRESS)
#define TABLE_ENTRIES 512u

static inline hpa_t pte_hpa(uint64_t pte)
{
    return (hpa_t){ pte & PTE_ADDRESS };
}
static inline unsigned pte_shift(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}
static inline unsigned pte_index(uint64_t address, unsigned level)
{
    return address >> pte_shift(level) & (TABLE_ENTRIES - 1);
}
static inline uint64_t level_bytes(unsigned level)
{
    return 1ull << (PAGE_SHIFT + 9 * (level - 1));
}

#endif
